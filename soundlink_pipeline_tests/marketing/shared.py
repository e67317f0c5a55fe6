"""Days of a campaign for the rules: settled ones, and provisional ones that were pulled the day after."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import duckdb

from soundlink_pipeline_tests.marts.shared import COUNTRY, Marts

FIRST = date(2026, 3, 1)


# The models that the rules read.
READ = ("marts.campaign_daily", "marts.settled_estimates", "marts.costs", "marts.campaign_pacing")


def built(marts: Marts) -> duckdb.DuckDBPyConnection:
    marts.build()
    return marts.with_models(*READ)


def day_of(number: int) -> date:
    return FIRST + timedelta(days=number)


def settled(marts: Marts, numbers: range, spend: float, **counts: Any) -> None:
    """Days of campaign c1, pulled when they were final."""
    path = counts.get("campaign_id", "c1")
    for number in numbers:
        marts.country(str(day_of(number)), spend_media=spend * 0.8, spend_total=spend, fees=spend * 0.2, **counts)
    marts.pulled(COUNTRY, str(day_of(numbers.start)), str(day_of(numbers.stop - 1)), path=path)


def provisional(marts: Marts, numbers: range, spend: float, *, age: int = 0, **counts: Any) -> None:
    """Days of campaign c1, each pulled so many days after the morning that followed it."""
    for number in numbers:
        day, at = day_of(number), f"{day_of(number + age + 1)} 07:00"
        marts.country(str(day), spend_media=spend * 0.8, spend_total=spend, fees=spend * 0.2, _valid_from=at, **counts)
        marts.pulled(COUNTRY, str(day), at=at, path=counts.get("campaign_id", "c1"))


def grew(marts: Marts, numbers: range, then: int, now: int, measure: str = "streams", **rest: Any) -> None:
    """Settled days whose value was `then` on the day after: what estimates are learned from."""
    for number in numbers:
        day = day_of(number)
        first, last = (f"{day_of(number + days)} 07:00" for days in (1, 8))
        for at in (first, last):
            marts.pulled(COUNTRY, str(day), at=at, path=rest.get("campaign_id", "c1"))
        past: dict[str, Any] = {measure: then, "_valid_from": first, "_valid_until": last}
        marts.country(str(day), table=f"{COUNTRY}_history", **past, **rest)
        settled: dict[str, Any] = {measure: now, "_valid_from": last}
        marts.country(str(day), **settled, **rest)
