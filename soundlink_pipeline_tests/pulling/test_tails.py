"""What is asked of campaigns that are over finds every row in time: tails, probes and what missed runs left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from itertools import pairwise
from random import Random

import duckdb
import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY as BREAKDOWN
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_ENGAGEMENT_DAILY as ENGAGEMENT
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.warehouse.ledger_views import REPORT_DATE_STATUS
from soundlink_pipeline.warehouse.tables import create, warehouse_tables
from soundlink_pipeline_tests.pulling.account import (
    START,
    Account,
    days,
    engagement_until,
    listed,
    of,
)
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """The tables a ledger reads, without their rules: rows are made of what the plan looks at."""
    with duckdb.connect(":memory:") as made:
        for table in warehouse_tables(CAMPAIGN_EXPORTS):
            if table.name in ("deliveries", "campaigns", "expected_accounts", BREAKDOWN.name, ENGAGEMENT.name):
                made.execute(f"create table {table.name} ({', '.join(f'{c.name} {c.type}' for c in table.columns)})")
        made.execute(create(REPORT_DATE_STATUS))
        yield made


@pytest.mark.parametrize("gap", [0, 12, 25], ids=["daily rows", "12 silent days a month", "25 silent days a month"])
def test_every_row_of_a_tail_of_150_days_is_known_30_days_after_its_day_was_final(
    gap: int,
) -> None:
    # Campaigns that end one after the other, so that each has another turn to be probed.
    ends = {f"c{number}": START + days(10 + number) for number in range(4)}
    campaigns = [listed(name, START, end) for name, end in ends.items()]

    def has_rows(export: str, name: str, day: date, now: date) -> bool:
        after = (day - ends[name]).days
        last = 7 if export == BREAKDOWN.name else 150
        return day < now and after <= last and (after <= 0 or after % 30 >= gap)

    account = Account(has_rows)
    for number in range(1, 10 + 150 + 8 + 31 + 4):
        today = START + days(number)
        running = [
            listed(item["campaignId"], START) if today < ends[item["campaignId"]] else item for item in campaigns
        ]
        account.refreshed(running, today)
    expected = {
        (export.name, name, START + days(number))
        for export in CAMPAIGN_EXPORTS
        for name in ends
        for number in range(200)
        if has_rows(export.name, name, START + days(number), date.max)
    }
    assert len(expected) >= 200
    assert account.known.keys() == expected
    late = {row: known for row, known in account.known.items() if known > row[2] + days(8 + 30)}
    assert late == {}


@pytest.mark.parametrize("seed", range(4))
def test_rows_that_come_and_go_are_known_in_time_though_runs_are_missed(seed: int) -> None:
    random = Random(seed)
    ends = {f"c{number}": START + days(random.randint(5, 40)) for number in range(4)}
    # A day has rows or not, and they stay: by the time it is final they are all there.
    with_rows = {
        (name, START + days(number))
        for name in ends
        for first in random.sample(range(200), 8)
        for number in range(first, first + random.choice([1, 1, 3]))
    }
    outages = {number + offset for number in random.sample(range(20, 225), 9) for offset in range(random.randint(1, 5))}

    def has_rows(export: str, name: str, day: date, now: date) -> bool:
        return export == ENGAGEMENT.name and day < now and (name, day) in with_rows

    account = Account(has_rows)
    healed_from: date | None = None
    for number in range(1, 245):
        today = START + days(number)
        if number in outages:
            # What was pulled on the last day of a run is not final yet: the next run heals from its oldest day on.
            healed_from = healed_from or today - days(8)
            continue
        running = [
            listed("live", START),
            *(listed(name, START, end if today > end else None) for name, end in ends.items()),
        ]
        account.refreshed(running, today, healed_from)
        healed_from = None
    rows = {(ENGAGEMENT.name, name, day) for name, day in with_rows}
    assert rows - account.known.keys() == set()
    assert {row: known for row, known in account.known.items() if known > row[2] + days(8 + 30)} == {}


def test_after_a_missed_run_no_day_between_the_last_probe_and_the_range_that_heals_is_left_out() -> None:
    # The probe of day 150 asks for all up to day 141, and its answer holds a row. The run of day 158 is missed. That of
    # day 159 heals from day 150 on, and finds a row of day 156.
    campaigns = [listed("c1", START, START + days(60)), listed("live", START)]
    with_rows = {START + days(100), START + days(156)}
    account = Account(
        lambda export, name, day, now: (export, name) == (ENGAGEMENT.name, "c1") and day in with_rows and day < now
    )

    def asked(number: int, healed_from: date | None = None) -> list[str]:
        requests = account.refreshed(campaigns, START + days(number), healed_from)
        return of(ENGAGEMENT, [request for request in requests if request.subject_id == "c1"])

    before = {number: found for number in range(60, 158) if (found := asked(number))}
    assert max(before) == 150
    assert before[150] == [f"{START + days(52)} to {START + days(141)}"]
    assert asked(159, START + days(150)) == [
        f"{START + days(150)} to {START + days(158)}",
        f"{START + days(142)} to {START + days(149)}",
    ]
    assert asked(160) == [f"{START + days(152)} to {START + days(159)}"]


def test_after_weeks_without_a_run_a_campaign_asked_for_the_range_that_heals_is_probed_too_where_that_is_due() -> None:
    # The probe of day 150 asks for all up to day 141, and its answer holds a row. From day 161 to 180 there is no run.
    # That of day 181 heals from day 153 on; the row of day 143, final on day 151, is known in time today, or never.
    campaigns = [listed("c1", START, START + days(10)), listed("live", START)]
    with_rows = {START + days(100), START + days(143)}
    account = Account(
        lambda export, name, day, now: (export, name) == (ENGAGEMENT.name, "c1") and day in with_rows and day < now
    )
    for number in (*range(1, 161), 181):
        healed_from = START + days(153) if number == 181 else None
        requests = account.refreshed(campaigns, START + days(number), healed_from)
    assert of(ENGAGEMENT, [request for request in requests if request.subject_id == "c1"]) == [
        f"{START + days(153)} to {START + days(180)}",
        f"{START + days(83)} to {START + days(172)}",
    ]
    assert account.known[ENGAGEMENT.name, "c1", START + days(143)] == START + days(181)


@pytest.mark.parametrize(
    ("missed", "listed_from"), [(range(61, 91), 0), (range(0), 95)], ids=["no runs", "listed when it is over"]
)
def test_a_campaign_that_came_and_went_while_no_run_saw_it_is_asked_for_what_it_has_cost(
    missed: range, listed_from: int
) -> None:
    # From day 65 to 70 its ads run, and until day 77 something may be attributed to them. What ran before is settled,
    # so that no day of it has the first run after that reach back.
    with_rows = {START + days(number) for number in range(65, 78)}
    account = Account(lambda export, name, day, now: name == "c2" and day in with_rows and day < now)
    asked = list[tuple[int, str]]()
    for number in range(1, 130):
        if number in missed:
            continue
        today = START + days(number)
        campaigns = [listed("c1", START, START + days(10) if number > 10 else None)]
        if number >= max(65, listed_from):
            campaigns.append(listed("c2", START + days(65), START + days(70) if number > 70 else None))
        requests = [request for request in account.refreshed(campaigns, today) if request.subject_id == "c2"]
        asked += [(number, dates) for dates in of(BREAKDOWN, requests)]
    first_seen = 91 if missed else listed_from
    assert asked == [(first_seen, f"{START + days(65)} to {START + days(77)}")]
    assert {day for export, _, day in account.known if export == BREAKDOWN.name} == with_rows


def test_a_tail_that_goes_on_is_asked_for_daily_until_14_days_pulled_have_none() -> None:
    end = START + days(20)
    account = Account(engagement_until(end + days(60)))
    campaigns = [listed("c1", START, end)]
    daily = []
    for number in range(1, 110):
        today = START + days(number)
        asked = account.refreshed(campaigns if today > end else [listed("c1", START)], today)
        assert of(BREAKDOWN, asked) == ([f"{max(START, today - days(8))} to {today - days(1)}"] if number <= 35 else [])
        if of(ENGAGEMENT, asked) == [f"{max(START, today - days(8))} to {today - days(1)}"]:
            daily.append(number)
    # Day 20 + 60 is the last with rows: on day 95 it is the oldest of the 14 days pulled before, 80 to 93.
    assert daily == list(range(1, 96))


def test_a_campaign_without_a_tail_is_probed_weekly_four_times_and_then_every_three_weeks() -> None:
    end = START + days(60)
    account = Account(lambda *_: False)
    probed: dict[str, list[int]] = {"c1": [], "c2": []}
    for number in range(60, 240):
        today = START + days(number)
        asked = account.refreshed([listed("c1", START, end), listed("c2", START, end)], today)
        if number > 60 + 38:
            assert of(BREAKDOWN, asked) == []
            for request in asked:
                assert request.dates == DateRange(max(START, today - days(98)), today - days(9))
                probed[request.subject_id].append(number - 98)
        else:
            assert {request.subject_id for request in asked if request.export == ENGAGEMENT} == {"c1", "c2"}
    after = {name: [b - a for a, b in pairwise(found)] for name, found in probed.items()}
    assert {found[0] <= 8 for found in probed.values()} == {True}
    assert {tuple(gaps[:3]) for gaps in after.values()} == {(7, 7, 7)}
    assert {tuple(gaps[4:]) for gaps in after.values()} == {(21,) * 5}
    assert all(gaps[3] <= 27 for gaps in after.values())
    assert probed["c1"] != probed["c2"]


def test_a_probe_that_finds_rows_is_followed_by_daily_requests_and_the_schedule_reaches_no_further_back() -> None:
    end, revived = START + days(20), START + days(80)
    account = Account(lambda export, _, day, now: export == ENGAGEMENT.name and revived <= day < now)
    found = None
    for number in range(20, 130):
        today = START + days(number)
        asked = of(ENGAGEMENT, account.refreshed([listed("c1", START, end)], today))
        if found is None and account.known:
            found = today
            # The same run asks for what the probe left out.
            assert asked == [
                f"{max(START, today - days(98))} to {today - days(9)}",
                f"{today - days(8)} to {today - days(1)}",
            ]
        elif found is not None:
            assert asked == [f"{today - days(8)} to {today - days(1)}"]
    assert found is not None
    assert found <= revived + days(8 + 30)
    assert {day for _, _, day in account.known} == {revived + days(number) for number in range(49)}


@pytest.mark.parametrize("status", ["active", "renewing", "restarting"])
def test_a_campaign_that_runs_again_is_asked_for_all_days_since_it_was_let_go(
    connection: duckdb.DuckDBPyConnection,
    status: str,
) -> None:
    end = START + days(10)
    account = Account(lambda export, *_: False)
    other = listed("other", START)
    for number in range(1, 150):
        account.refreshed([listed("c1", START, end), other], START + days(number))
    again = [listed("c1", START, START + days(149), status), other]
    asked = [request for request in account.refreshed(again, START + days(150)) if request.subject_id == "c1"]
    # Breakdown was asked for until the 7th day after the end was final, which is day 17: 132 days are two requests.
    assert of(BREAKDOWN, asked) == [
        f"{START + days(18)} to {START + days(107)}",
        f"{START + days(108)} to {START + days(149)}",
    ]
    (engagement,) = of(ENGAGEMENT, asked)
    assert engagement.endswith(f" to {START + days(149)}")
    now, ledger = datetime.combine(START + days(151), time(7), UTC), account.in_a_database(connection)
    assert ledger.oldest_unsettled(CAMPAIGN_EXPORTS, now, START) == START + days(143), "the trailing days, no more"
    for export in CAMPAIGN_EXPORTS:
        held = connection.execute(
            "select count(distinct report_date) from report_date_status where subject_id = 'c1' and export = ?",
            [export.name],
        ).fetchall()
        assert held == [(150,)]


def test_a_first_load_asks_past_the_end_until_a_slice_is_empty() -> None:
    year = DateRange(date(2025, 1, 1), date(2025, 12, 31))
    campaigns = [
        listed("short", date(2025, 1, 1), date(2025, 1, 10)),
        listed("long", date(2025, 1, 1), date(2025, 1, 9)),
    ]
    campaigns.append(listed("before", date(2024, 1, 1), date(2024, 2, 1)))
    last = {"short": date(2025, 1, 30), "long": date(2025, 8, 1), "before": date(2024, 3, 1)}
    account = Account(
        lambda export, name, day, _: export == ENGAGEMENT.name and day <= last[name],
        first_day=date(2024, 12, 1),
    )
    asked = account.run(campaigns, year, datetime(2026, 1, 20, 7, tzinfo=UTC))
    slices = [str(part) for part in year.slices()]
    by_campaign = {name: of(ENGAGEMENT, [r for r in asked if r.subject_id == name]) for name in last}
    assert by_campaign == {"short": slices[:2], "long": slices[:4], "before": slices[:1]}
    assert of(BREAKDOWN, asked) == slices[:1] * 2
    assert account.run(campaigns, year, datetime(2026, 1, 21, 7, tzinfo=UTC)) == [], "what is known is not asked again"


def test_a_first_load_in_several_runs_asks_as_one_does() -> None:
    campaigns = [listed("long", date(2025, 1, 1), date(2025, 1, 9))]
    account = Account(engagement_until(date(2025, 8, 1)), first_day=date(2025, 1, 1))
    now = datetime(2026, 1, 20, 7, tzinfo=UTC)
    runs = DateRange(date(2025, 1, 1), date(2025, 12, 31)).slices()
    assert [len(of(ENGAGEMENT, account.run(campaigns, part, now))) for part in runs] == [1, 1, 1, 1, 0]


def test_what_only_probes_pulled_neither_holds_a_day_back_nor_stretches_the_next_refresh(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    end = START + days(10)
    account = Account(lambda export, *_: False)
    campaigns = [listed("over", START, end), listed("live", START + days(40))]
    for number in range(1, 120):
        today = START + days(number)
        account.refreshed(campaigns, today)
        if number % 10 == 9:
            ledger, tomorrow = account.in_a_database(connection), datetime.combine(today + days(1), time(7), UTC)
            oldest = ledger.oldest_unsettled(CAMPAIGN_EXPORTS, tomorrow, START)
            assert oldest is None or oldest >= today - days(7)
    assert ledger.newest_settled_day(CAMPAIGN_EXPORTS) == START + days(119 - 8)
    (status,) = ledger.date_status(ENGAGEMENT, DateRange(START + days(100), START + days(100)))
    assert status.settled
    # The model of the ledger, by which the others of these tests go, says what the ledger says.
    for dates in (DateRange(START + days(20), START + days(119)), DateRange(START + days(100), START + days(119))):
        run_id = account.deliveries[-1].run_id
        assert ledger.pulled_so_far(CAMPAIGN_EXPORTS, dates, [run_id], settled=True) == account.so_far(dates, run_id)


def test_the_days_before_a_short_first_pull_are_made_up_for() -> None:
    today, first_day = START + days(150), START + days(20)
    live, over = listed("live", START), listed("over", START, START + days(40))
    account = Account(lambda export, name, day, _: name == "live" or export == ENGAGEMENT.name, first_day)
    yesterday = DateRange(today - days(1), today - days(1))
    for hour in (7, 8):  # what was asked for by hand, and no more
        asked = account.run([live, over], yesterday, datetime.combine(today, time(hour), UTC))
        assert {request.dates for request in asked} == {yesterday}
    asked = account.refreshed([live, over], today + days(1))
    reach = today + days(1 - 90)
    assert [r.dates for r in asked if r.subject_id == "live"] == [DateRange(reach, today)] * 2, "one request each"
    for number in range(2, 31):
        account.refreshed([live, over], today + days(number))
    known = {name: {day for _, of_it, day in account.known if of_it == name} for name in ("live", "over")}
    assert min(known["live"]) == reach
    assert len(known["live"]) == 90 + 29
    # Of what is over: the rows that a probe can see 30 days on.
    assert known["over"] >= {today + days(30 - 9 - number) for number in range(90 - 30)}
    assert min(known["over"]) >= first_day


def test_what_a_first_load_of_the_last_90_days_has_asked_for_is_not_probed_at_once() -> None:
    today = START + days(200)
    over = [listed(f"over-{number}", START, START + days(20)) for number in range(30)]
    account = Account(lambda *_: False)
    first = account.refreshed([*over, listed("live", START)], today, START)
    assert {request.dates for request in first} == {DateRange(today - days(90), today - days(1))}
    assert len({request.place for request in first}) == len(first)
    asked = account.refreshed([*over, listed("live", START)], today + days(1))
    assert {request.subject_id for request in asked} == {"live"}, "all days that are final were so the day before"


def test_days_that_are_final_are_not_asked_for_again_where_the_first_partition_is_within_the_last_90() -> None:
    first_day = START + days(100)
    account = Account(lambda *_: True, first_day)
    for number in range(1, 40):
        today = first_day + days(number)
        asked = account.refreshed([listed("c1", START)], today)
        assert {str(request.dates) for request in asked} == {f"{max(first_day, today - days(8))} to {today - days(1)}"}


def test_a_campaign_that_is_listed_no_more_holds_back_no_settled_day(connection: duckdb.DuckDBPyConnection) -> None:
    account = Account(lambda *_: True)
    for number in range(1, 40):
        campaigns = [listed("stays", START), *([listed("deleted", START)] if number < 15 else [])]
        account.refreshed(campaigns, START + days(number))
    ledger = account.in_a_database(connection)
    moment = account.now.replace(tzinfo=None) - days(25)
    connection.execute(
        "insert into campaigns (account, campaign_id, _listed_json, _listed_at) values ('default', 'deleted', ?, ?)",
        [json.dumps(listed("deleted", START)), moment],
    )
    assert ledger.newest_settled_day(CAMPAIGN_EXPORTS) == START + days(39 - 8)
