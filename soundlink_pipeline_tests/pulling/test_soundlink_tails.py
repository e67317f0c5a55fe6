"""Which soundlinks are asked for: nothing tells an end, so the rows that came decide, and probes look for others."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time
from random import Random
from typing import Any

import pytest

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.soundlinks import SOUNDLINK
from soundlink_pipeline_tests.pulling.account import START, Account, days

FIRST_REFRESH = START + days(200)


def listed(name: str, created: date, status: str = "active") -> dict[str, Any]:
    return {"soundlinkId": name, "createdAt": f"{created}T09:00:00Z", "status": status}


def loaded(account: Account, items: list[dict[str, Any]]) -> Account:
    """After a first load of all days."""
    dates = DateRange(START, FIRST_REFRESH - days(1))
    account.run(items, dates, datetime.combine(FIRST_REFRESH, time(7), UTC))
    return account


def test_a_first_load_asks_for_every_range_whatever_the_one_before_held() -> None:
    asleep = {START + days(2), START + days(150)}
    account = Account(lambda _, __, day, now: day in asleep and day < now, subject=SOUNDLINK)
    loaded(account, [listed("s1", START)])
    assert {day for _, _, day in account.known} == asleep
    # Silent now: a refresh does not ask for it, whatever it was asked for once.
    assert account.refreshed([listed("s1", START)], FIRST_REFRESH + days(1)) == []


def test_a_new_soundlink_is_asked_for_daily_and_one_that_is_seen_for_the_first_time_at_once() -> None:
    account = loaded(Account(lambda *_: False, subject=SOUNDLINK), [])
    items = [listed("new", FIRST_REFRESH), listed("never seen", START, "archived")]
    asked = Counter[str]()
    for number in range(1, 22):
        asked.update(request.subject_id for request in account.refreshed(items, FIRST_REFRESH + days(number)))
    assert asked["new"] >= 2 * 14
    assert 2 <= asked["never seen"] <= 2 * 9, "until a pull was final, and then by probes"


@pytest.mark.parametrize("seed", range(2))
def test_no_row_is_found_later_than_a_month_after_it_appeared_and_silence_costs_little(seed: int) -> None:
    rng, last = Random(seed), FIRST_REFRESH + days(100)
    span = (last - START).days
    played: dict[str, set[date]] = {}
    for number in range(28):
        kind = number % 4
        if kind < 2:  # played daily, the second kind until some day
            until = span if kind == 0 else rng.randrange(20, span)
            played[f"s{number}"] = {START + days(at) for at in range(until)}
        else:  # silent, but for a day now and then, the last kind all its life
            often = rng.randrange(0, 4) if kind == 2 else 0
            played[f"s{number}"] = {START + days(rng.randrange(span)) for _ in range(often)}
    items = [listed(name, START, rng.choice(["active", "archived"])) for name in played]
    account = loaded(Account(lambda _, name, day, now: day in played[name] and day < now, subject=SOUNDLINK), items)
    requests, live = Counter[str](), 0
    for number in range(1, 101):
        today = FIRST_REFRESH + days(number)
        asked = account.refreshed(items, today)
        if number > 30:  # as the first weeks' probes are done
            requests.update(request.export.name for request in asked)
            live += sum(any(day < today and day >= today - days(30) for day in of_it) for of_it in played.values())
    late = [
        (name, day, found)
        for (_, name, day), found in account.known.items()
        if day >= FIRST_REFRESH and (found - (day + days(1))).days > 31
    ]
    assert late == []
    due = {(name, day) for name, of_it in played.items() for day in of_it if day < last - days(32)}
    assert due <= {(name, day) for _, name, day in account.known}
    assert all(number <= 1.2 * live for number in requests.values()), (requests, live)
