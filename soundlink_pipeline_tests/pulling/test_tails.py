"""What is asked of campaigns that are over: rows that come late are found, and those that never come cost little."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import duckdb
import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY as BREAKDOWN
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_ENGAGEMENT_DAILY as ENGAGEMENT
from soundlink_pipeline.contracts.days import DateRange, refresh_range, settled_at
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.pulling.planning import Plan, PullRequest
from soundlink_pipeline.pulling.tails import Probe, probes_of_the_day
from soundlink_pipeline.warehouse.ledger import Ledger, PulledSoFar
from soundlink_pipeline.warehouse.ledger_views import REPORT_DATE_STATUS
from soundlink_pipeline.warehouse.tables import create, warehouse_tables

START = date(2026, 1, 1)
# Whether an export of a campaign has rows on a day when asked on another.
HasRows = Callable[[str, str, date, date], bool]


def days(number: int) -> timedelta:
    return timedelta(days=number)


def listed(name: str, created: date, end: date | None = None, status: str = "ended") -> dict[str, Any]:
    """A campaign in the listing; without an end it runs."""
    moments = {"createdAt": f"{created}T00:00:00Z", "updatedAt": f"{end or created}T00:00:00Z"}
    return {"campaignId": name, "status": status if end else "active", "campaignDuration": 1, **moments}


@dataclass
class Delivered:
    """A delivery, as far as the plan looks at it."""

    request: PullRequest
    now: datetime
    run_id: str
    rows: int


class Account:
    """An account that is refreshed daily, by the real plan; what is delivered is made up, and the ledger a model of it.

    `known`: when a row of an export, a campaign and a day was first delivered. A database for each day would cost more
    than all else; `in_a_database` is for what only a database can tell, and that the model is true to it.
    """

    def __init__(self, has_rows: HasRows, first_day: date = START) -> None:
        self.has_rows, self.first_day = has_rows, first_day
        self.campaigns, self.now = list[dict[str, Any]](), datetime(2026, 1, 1, tzinfo=UTC)
        self.known: dict[tuple[str, str, date], date] = {}
        self.deliveries = list[Delivered]()
        self.final: dict[tuple[str, str], set[date]] = {}
        self.newest_row: dict[tuple[str, str], date] = {}

    def refreshed(
        self, campaigns: list[dict[str, Any]], today: date, oldest_unsettled: date | None = None
    ) -> list[PullRequest]:
        """The requests of the refresh in the morning of a day."""
        now = datetime.combine(today, time(7), UTC)
        dates = refresh_range(now, self.first_day, oldest_unsettled)
        assert dates is not None
        return self.run(campaigns, dates, now)

    def run(self, campaigns: list[dict[str, Any]], dates: DateRange, now: datetime) -> list[PullRequest]:
        asked, run_id = list[PullRequest](), f"run-{now}"
        self.campaigns, self.now = campaigns, now
        while True:
            so_far = self.so_far(dates, run_id)
            plan = Plan(EXPORTS, campaigns, dates, so_far, now=now, first_day=self.first_day)
            with_rows = {request.place for request in plan.missing if self.delivered(request, run_id)}
            asked += plan.missing
            if not plan.may_go_on(with_rows):
                return asked

    def delivered(self, request: PullRequest, run_id: str) -> int:
        """Take a delivery in; returns how many rows it holds."""
        held = [day for day in request.dates.dates() if self.has_rows(*request.place, day, self.now.date())]
        for day in held:
            self.known.setdefault((*request.place, day), self.now.date())
            self.newest_row[request.place] = max(day, self.newest_row.get(request.place, day))
        final = {day for day in request.dates.dates() if self.now >= settled_at(day)}
        self.final.setdefault(request.place, set()).update(final)
        self.deliveries.append(Delivered(request, self.now, run_id, len(held)))
        return len(held)

    def so_far(self, dates: DateRange, run_id: str) -> PulledSoFar:
        """What the ledger would say: see its own words in `PulledSoFar`."""
        done = {place: {day for day in days if dates.start <= day <= dates.end} for place, days in self.final.items()}
        before: dict[tuple[str, str, date], tuple[date, int]] = {}
        since: dict[str, date] = {}
        first: dict[str, date] = {}
        parts = [part for part in dates.slices() if part.start < self.now.date() - days(8)]
        for item in self.deliveries:
            export, asked = item.request.export.name, item.request.dates
            if item.run_id == run_id:
                done.setdefault(item.request.place, set()).update(asked.dates())
            for part in parts:
                key = (*item.request.place, part.start)
                if asked.end < part.start and asked.end >= before.get(key, (date.min, 0))[0]:
                    before[key] = asked.end, item.rows
            first[export] = min(first.get(export, asked.start), asked.start)
            if asked.end >= item.now.date() - days(1):
                since.setdefault(export, item.now.date())
        return PulledSoFar(
            probes_made=sum(
                item.request.dates.end == dates.end - days(8) and item.now.date() == dates.end + days(1)
                for item in self.deliveries
            ),
            done={place: found for place, found in done.items() if found},
            newest_row=self.newest_row,
            newest_final={place: max(found) for place, found in self.final.items() if found},
            final={
                place: within
                for place, found in self.final.items()
                if (within := {day for day in found if day >= dates.end - days(90 + 8 - 1)})
            },
            rows_before={key: rows for key, (_, rows) in before.items()},
            first_day=first,
            refreshed_since=since,
        )

    def in_a_database(self, connection: duckdb.DuckDBPyConnection) -> Ledger:
        """The account's ledger, listing and rows; a row carries the id that its campaign is listed by."""
        for table in ("deliveries", "campaigns", BREAKDOWN.name, ENGAGEMENT.name):
            connection.execute(f"delete from {table}")
        listings = [(item["campaignId"], json.dumps(item), self.now.replace(tzinfo=None)) for item in self.campaigns]
        connection.executemany(
            "insert into campaigns (campaign_id, _listed_json, _listed_at) values (?, ?, ?)", listings
        )
        for export, name, day in self.known:
            connection.execute(f"insert into {export} (campaign_id, report_date) values (?, ?)", [name, day])
        columns = "export, campaign_id, row_campaign_id, start_date, end_date, pulled_at, rows, run_id, delivery_id"
        connection.executemany(
            f"insert into deliveries ({columns}) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *place,
                    place[1] if item.rows else None,
                    dates.start,
                    dates.end,
                    moment,
                    item.rows,
                    item.run_id,
                    number,
                )
                for number, item in enumerate(self.deliveries)
                for place, dates in [(item.request.place, item.request.dates)]
                for moment in [item.now.replace(tzinfo=None)]
            ],
        )
        return Ledger(connection)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """The tables a ledger reads, without their rules: rows are made of what the plan looks at."""
    with duckdb.connect(":memory:") as made:
        for table in warehouse_tables(EXPORTS):
            if table.name in ("deliveries", "campaigns", BREAKDOWN.name, ENGAGEMENT.name):
                made.execute(f"create table {table.name} ({', '.join(f'{c.name} {c.type}' for c in table.columns)})")
        made.execute(create(REPORT_DATE_STATUS))
        yield made


def engagement_until(last: date) -> HasRows:
    return lambda export, _, day, now: export == ENGAGEMENT.name and day < now and day <= last


def of(export: Any, requests: list[PullRequest]) -> list[str]:
    return [str(request.dates) for request in requests if request.export == export]


# The promise


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
        for export in EXPORTS
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
        return of(ENGAGEMENT, [request for request in requests if request.campaign_id == "c1"])

    before = {number: found for number in range(60, 158) if (found := asked(number))}
    assert max(before) == 150
    assert before[150] == [f"{START + days(52)} to {START + days(141)}"]
    assert asked(159, START + days(150)) == [
        f"{START + days(150)} to {START + days(158)}",
        f"{START + days(142)} to {START + days(149)}",
    ]
    assert asked(160) == [f"{START + days(152)} to {START + days(159)}"]


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
                probed[request.campaign_id].append(number - 98)
        else:
            assert {request.campaign_id for request in asked if request.export == ENGAGEMENT} == {"c1", "c2"}
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
    asked = [request for request in account.refreshed(again, START + days(150)) if request.campaign_id == "c1"]
    # Breakdown was asked for until the 7th day after the end was final, which is day 17: 132 days are two requests.
    assert of(BREAKDOWN, asked) == [
        f"{START + days(18)} to {START + days(107)}",
        f"{START + days(108)} to {START + days(149)}",
    ]
    (engagement,) = of(ENGAGEMENT, asked)
    assert engagement.endswith(f" to {START + days(149)}")
    now, ledger = datetime.combine(START + days(151), time(7), UTC), account.in_a_database(connection)
    assert ledger.oldest_unsettled(EXPORTS, now, START) == START + days(143), "the trailing days, no more"
    for export in EXPORTS:
        held = connection.execute(
            "select count(distinct report_date) from report_date_status where campaign_id = 'c1' and export = ?",
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
    by_campaign = {name: of(ENGAGEMENT, [r for r in asked if r.campaign_id == name]) for name in last}
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
            oldest = ledger.oldest_unsettled(EXPORTS, tomorrow, START)
            assert oldest is None or oldest >= today - days(7)
    assert ledger.newest_settled_day(EXPORTS) == START + days(119 - 8)
    (status,) = ledger.date_status(ENGAGEMENT, DateRange(START + days(100), START + days(100)))
    assert status.settled
    # The model of the ledger, by which the others of these tests go, says what the ledger says.
    for dates in (DateRange(START + days(20), START + days(119)), DateRange(START + days(100), START + days(119))):
        run_id = account.deliveries[-1].run_id
        assert ledger.pulled_so_far(EXPORTS, dates, [run_id], settled=True) == account.so_far(dates, run_id)


# What it costs


def requests_before(campaigns: list[dict[str, Any]], today: date) -> int:
    """What was asked before there were probes: both exports, for all but those over for 38 days before the range."""
    over = ("ended", "stopped")
    return 2 * sum(
        item["status"] not in over or date.fromisoformat(item["updatedAt"][:10]) >= today - days(8 + 38)
        for item in campaigns
    )


@pytest.mark.parametrize(
    ("stuck", "ended_days_ago", "counts"),
    [
        # Past the attribution of their last clicks: 400 for those that run, 100 for listening, a turn in 21 for 200.
        (0, (16, 37), {509, 510}),
        # Spread over the days on which they were asked for; of the 200 ten never began, or failed to run again.
        (10, (1, 46), {508, 509, 510}),
    ],
    ids=["past attribution", "evenly spread, and some stuck"],
)
def test_a_refresh_of_500_campaigns_makes_at_most_85_percent_of_the_requests_it_made(
    stuck: int, ended_days_ago: tuple[int, int], counts: set[int]
) -> None:
    today, (first, last) = date(2026, 9, 1), ended_days_ago
    campaigns = [listed(f"live-{number:03}", today - days(20)) for number in range(200 - stuck)]
    campaigns += [
        listed(f"stuck-{number}", today - days(150), today - days(150), ("creating", "restart_failed")[number % 2])
        for number in range(stuck)
    ]
    campaigns += [
        listed(f"lately-{number:03}", today - days(90), today - days(first + number * (last - first + 1) // 100))
        for number in range(100)
    ]
    campaigns += [
        listed(f"long-{number:03}", today - days(400 - number // 2), today - days(200)) for number in range(200)
    ]
    account = Account(lambda *_: False)
    account.refreshed(campaigns, today - days(1))
    asked = account.refreshed(campaigns, today)
    assert len(asked) == len({request.place for request in asked})
    assert requests_before(campaigns, today) == 600
    assert len(asked) in counts
    assert len(asked) <= 0.85 * 600


def ended_long_ago(number: int, today: date) -> list[dict[str, Any]]:
    return [listed(f"long-{n:03}", today - days(700 - n), today - days(300)) for n in range(number)]


def probes_of(account: Account, campaigns: list[dict[str, Any]], today: date) -> list[str]:
    asked = account.refreshed(campaigns, today)
    return [request.campaign_id for request in asked if request.dates.end == today - days(9)]


def pulled_without_probes(campaigns: list[dict[str, Any]], first: date, last: date) -> Account:
    """An account whose live campaign was refreshed from one day to another by a version that probed nobody."""
    account = Account(lambda *_: False)
    for number in range(0, (last - first).days + 1, 7):
        account.refreshed([listed("live", first)], first + days(number))
    return account


def test_after_an_upgrade_campaigns_that_nobody_has_probed_are_probed_over_21_days() -> None:
    upgrade = date(2026, 9, 1)
    long_ended = ended_long_ago(200, upgrade)
    campaigns = [listed("live", START), *long_ended]
    account = pulled_without_probes(campaigns, upgrade - days(200), upgrade - days(1))
    probed = [probes_of(account, campaigns, upgrade + days(number)) for number in range(42)]
    assert {len(names) for names in probed} == {9, 10}
    for first in (0, 21):
        in_a_round = {name for names in probed[first : first + 21] for name in names}
        assert in_a_round == {item["campaignId"] for item in long_ended}


@pytest.mark.parametrize("outage", [9, 60])
def test_after_days_without_a_run_no_day_has_more_probes_than_others_and_the_promise_holds(outage: int) -> None:
    today = date(2026, 9, 1)
    campaigns = [listed("live", START), *ended_long_ago(126, today)]
    account = Account(lambda *_: False)
    for number in range(22):
        account.refreshed(campaigns, today + days(number))
    back = today + days(22 + outage)
    assert {len(probes_of(account, campaigns, back + days(number))) for number in range(32)} == {6}
    for campaign in campaigns[1:]:
        pulls = [item.now.date() for item in account.deliveries if item.request.campaign_id == campaign["campaignId"]]
        # A day that is final on the day after a probe is known 30 days after that, or in the round after the outage.
        for before, after in pairwise([*pulls, back + days(31)]):
            assert (after - before).days <= 30 or (before < back and after < back + days(30))


def test_campaigns_that_ended_on_one_day_are_not_probed_on_one_day() -> None:
    end = START + days(60)
    campaigns = [listed(f"c{number:02}", START - days(100 - number), end) for number in range(42)]
    account = Account(lambda *_: False)
    counts = [len(probes_of(account, campaigns, end + days(38 + number))) for number in range(1, 120)]
    assert max(counts) == 42 / 7
    assert max(counts[40:]) <= 5


def test_probes_whose_turns_are_on_one_day_are_spread_while_the_promise_holds() -> None:
    dates = DateRange(START, START + days(89))

    def made(waited: int, before: int = 0) -> int:
        due = [Probe(ENGAGEMENT.name, f"c{number}", dates, waited, 0) for number in range(42)]
        return len(probes_of_the_day(due, [21] * 210, before))

    assert [made(waited) for waited in (21, 27, 29, 30, 31, 90)] == [10, 10, 10, 42, 10, 10]
    assert [made(21, before) for before in (4, 10, 11)] == [6, 0, 0]


def test_probes_that_fail_for_ever_bar_no_other() -> None:
    today = date(2026, 9, 1)
    campaigns = ended_long_ago(200, today)
    failing = {item["campaignId"] for item in campaigns[::10]}
    account = pulled_without_probes(campaigns, today - days(200), today - days(1))
    probed = set[str]()
    for number in range(31):
        moment = datetime.combine(today + days(number), time(7), UTC)
        dates = refresh_range(moment, START)
        assert dates is not None
        account.now = moment
        plan = Plan(EXPORTS, campaigns, dates, account.so_far(dates, str(number)), now=moment, first_day=START)
        assert len(plan.probes) <= 10
        for request in plan.missing:
            if request.campaign_id not in failing:
                account.delivered(request, str(number))
                probed.add(request.campaign_id)
    assert probed == {item["campaignId"] for item in campaigns} - failing
