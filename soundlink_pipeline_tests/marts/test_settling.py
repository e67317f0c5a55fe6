"""What provisional values will have been: factors learned from settled days, and the estimates made with them."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline_tests.marts.shared import COUNTRY, ENGAGEMENT, Marts, one

FIRST = date(2026, 3, 1)
OF_STREAMS = "measure = 'streams' and grain = 'subject' and export = 'campaign_country_daily'"
RANGE = "settled_estimate, settled_low, settled_high"


def settled_day(marts: Marts, number: int, then: int, settled: int, *, pulled_on: int = 0, **of: Any) -> None:
    """Day `number` of campaign c1, pulled once while provisional and once as settled, with its streams at both."""
    day = FIRST + timedelta(days=number)
    first, last = (f"{day + timedelta(days=days)} 07:00" for days in (pulled_on + 1, 8))
    for at in (first, last):
        marts.pulled(COUNTRY, str(day), at=at, path=of.get("campaign_id", "c1"))
    marts.country(str(day), table=f"{COUNTRY}_history", streams=then, _valid_from=first, _valid_until=last, **of)
    marts.country(str(day), streams=settled, _valid_from=last, **of)


def new_day(marts: Marts, number: int, streams: int, *, pulled_on: int = 0, **of: Any) -> str:
    day = FIRST + timedelta(days=number)
    at = f"{day + timedelta(days=pulled_on + 1)} 07:00"
    marts.pulled(COUNTRY, str(day), at=at, path=of.get("campaign_id", "c1"))
    marts.country(str(day), streams=streams, _valid_from=at, **of)
    return str(day)


def test_estimate_is_the_median_growth_of_settled_days_and_its_range_holds_four_in_five(marts: Marts) -> None:
    # 19 days of 100 streams on the day after, which became 110, 120 … 290. Of 19, the 2nd, 10th and 18th are the
    # places 0.1, 0.5 and 0.9 of 20.
    for number in range(19):
        settled_day(marts, number, 100, 110 + 10 * number)
    new_day(marts, 30, 200)
    marts.build()
    where = f"{OF_STREAMS} and days_after_close = 0"
    columns = "values_from, report_dates, values_compared, low_factor, median_factor, high_factor"
    assert one(marts, "marts.settling_factors", columns, where) == (100, 19, 19, 1.2, 2.0, 2.8)
    columns = f"report_date, value_now, {RANGE}, report_dates"
    assert one(marts, "marts.settled_estimates", columns, where) == ("2026-03-31", 200, 400, 240, 560, 19)
    total = "measure = 'streams' and grain = 'account' and export = 'campaign_country_daily'"
    assert one(marts, "marts.settled_estimates", RANGE, total) == (400, 240, 560)


def test_few_settled_days_make_no_estimate(marts: Marts) -> None:
    for number in range(13):
        settled_day(marts, number, 100, 150)
    day = new_day(marts, 30, 200)
    marts.build()
    columns = f"value_now, {RANGE}, report_dates"
    assert one(marts, "marts.settled_estimates", columns, OF_STREAMS) == (200, None, None, None, None)
    settled_day(marts, 13, 100, 150)
    marts.build()
    assert one(marts, "marts.settled_estimates", columns, OF_STREAMS) == (200, 300, 300, 300, 14)
    assert marts.rows("marts.settled_estimates", "distinct report_date") == [(day,)]


def test_estimate_is_of_the_age_at_which_the_day_was_last_pulled(marts: Marts) -> None:
    for number in range(14):
        settled_day(marts, number, 100, 200, pulled_on=0)
        settled_day(marts, number + 14, 100, 120, pulled_on=3)
    # The second was pulled on day 3 last; nobody has learned yet what a value of day 5 becomes.
    days = [new_day(marts, 40 + pulled_on, 100, pulled_on=pulled_on) for pulled_on in (0, 3, 5)]
    marts.build()
    columns = "report_date, days_after_close, settled_estimate"
    found = marts.rows("marts.settled_estimates", columns, OF_STREAMS)
    assert found == [(days[0], 0, 200), (days[1], 3, 120), (days[2], 5, None)]


def test_values_grow_as_others_of_their_size_and_nothing_becomes_what_nothing_became(marts: Marts) -> None:
    for number in range(14):
        settled_day(marts, number, 0, 2, campaign_id="none")
        settled_day(marts, number, 4, 8, campaign_id="small")
        settled_day(marts, number, 2000, 2200, campaign_id="large")
    for campaign, streams in (("none", 0), ("small", 6), ("large", 3000), ("medium", 50)):
        new_day(marts, 30, streams, campaign_id=campaign)
    marts.build()
    found = marts.rows("marts.settled_estimates", "subject_id, settled_estimate", OF_STREAMS)
    assert found == [("large", 3300), ("medium", None), ("none", 2), ("small", 12)]


def test_money_is_of_its_currency_and_keeps_its_decimals(marts: Marts) -> None:
    for number in range(14):
        day = FIRST + timedelta(days=number)
        first, last = (f"{day + timedelta(days=days)} 07:00" for days in (1, 8))
        for at in (first, last):
            marts.pulled(COUNTRY, str(day), at=at)
        for code, currency, settled in (("US", "USD", 5), ("JP", "JPY", 8)):
            of: dict[str, Any] = {"country": code, "currency": currency}
            past = {"table": f"{COUNTRY}_history", "_valid_from": first, "_valid_until": last}
            marts.country(str(day), spend_total=4, **of, **past)
            marts.country(str(day), spend_total=settled, _valid_from=last, **of)
    new_day(marts, 30, 0, country="US", currency="USD", spend_total=Decimal("4.01"))
    marts.country("2026-03-31", "JP", currency="JPY", spend_total=4, _valid_from="2026-04-01 07:00")
    marts.build()
    where = "measure = 'spend_total' and grain = 'country'"
    found = marts.rows("marts.settled_estimates", "country_code, currency, settled_estimate", where)
    assert found == [("JP", "JPY", 8), ("US", "USD", Decimal("5.0125"))]


def test_country_whose_campaigns_were_last_pulled_on_different_days_has_no_age(marts: Marts) -> None:
    for campaign, pulled_on in (("c1", 0), ("c2", 0), ("c3", 2)):
        country = "DE" if campaign == "c1" else "US"
        new_day(marts, 30, 100, pulled_on=pulled_on, campaign_id=campaign, country=country)
    settled_day(marts, 29, 1, 2)  # settled: in no row
    marts.build()
    where = "measure = 'streams' and grain = 'country'"
    found = marts.rows("marts.settled_estimates", "country_code, value_now, days_after_close", where)
    assert found == [("DE", 100, 0), ("US", 200, None)]


def test_tracks_have_estimates_of_their_own(marts: Marts) -> None:
    for number in range(15):
        day = FIRST + timedelta(days=number)
        marts.pulled(ENGAGEMENT, str(day), at=f"{day + timedelta(days=1)} 07:00")
        if number < 14:
            marts.pulled(ENGAGEMENT, str(day), at=f"{day + timedelta(days=8)} 07:00")
        marts.engagement(str(day), new=(5, 7), _valid_from=f"{day + timedelta(days=1)} 07:00")
    marts.build()
    where = "measure = 'new_listeners' and grain = 'track'"
    columns = f"subject_id, engagement_context, report_date, value_now, {RANGE}"
    found = one(marts, "marts.settled_estimates", columns, where)
    assert found == ("c1", "catalog", "2026-03-15", 5, 5, 5, 5)


def test_days_built_one_by_one_are_those_of_a_build_in_full(marts: Marts) -> None:
    marts.build()
    for number in range(3):
        settled_day(marts, number, 100, 150)
        marts.build(DateRange(FIRST + timedelta(days=number), FIRST + timedelta(days=number)))
    names = ("settling_days", "settling_factors", "settled_estimates")
    by_days = {name: marts.rows(f"marts.{name}", "*") for name in names}
    assert len(by_days["settling_days"]) == 3 * 3  # of account, campaign and country
    marts.build()
    assert {name: marts.rows(f"marts.{name}", "*") for name in names} == by_days


def test_range_is_narrow_where_most_values_become_the_same(marts: Marts) -> None:
    # The tenth percentile of 30 lies at place 3.1, just above 1.8. But 26 of 30 are 2: more than four in five.
    for number, settled in enumerate([100, 150, 180, *[200] * 26, 300]):
        settled_day(marts, number, 100, settled)
    marts.build()
    columns = "values_compared, low_factor, median_factor, high_factor"
    found = one(marts, "marts.settling_factors", columns, f"{OF_STREAMS} and days_after_close = 0")
    assert found == (30, 2.0, 2.0, 2.0)
