"""What the ledger answers about days, deliveries and campaigns."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.contracts.account import DEFAULT_ACCOUNT, ListedId
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import APRIL, NOON, Row, arrival, ledger, load, query, row, save

TABLE = CAMPAIGN_COUNTRY_DAILY.name
LISTED = ListedId(DEFAULT_ACCOUNT, "camp_1")


def test_date_is_settled_by_a_pull_at_or_after_eight_days_by_the_servers_clock(tmp_path: Path) -> None:
    warehouse = NativeFile(tmp_path)
    midnight = datetime.fromisoformat("2026-04-09T00:00:00+00:00")
    days = DateRange(date(2026, 4, 1), date(2026, 4, 2))
    early = arrival(tmp_path / "in", b"", dates=days, pulled=midnight - timedelta(seconds=1))
    # Our clock says later than the server's, which counts.
    delivery = replace(early.delivery, requested_at=midnight + timedelta(hours=1))
    load(warehouse, replace(early, delivery=delivery))
    status = "select report_date::varchar, last_pulled_at::varchar, is_settled from report_date_status order by 1"
    assert query(warehouse, status) == [
        ("2026-04-01", "2026-04-08 23:59:59", False),
        ("2026-04-02", "2026-04-08 23:59:59", False),
    ]
    # Without the server's Date header our own counts.
    load(warehouse, arrival(tmp_path / "in", b"", dates=days, pulled=midnight, server=False))
    assert query(warehouse, status) == [
        ("2026-04-01", "2026-04-09 00:00:00", True),
        ("2026-04-02", "2026-04-09 00:00:00", False),
    ]
    # An older pull that is loaded later takes nothing back.
    load(warehouse, arrival(tmp_path / "in", b"", dates=days, pulled=midnight - timedelta(days=3)))
    assert [settled for _, _, settled in query(warehouse, status)] == [True, False]


def test_oldest_unsettled_date_is_that_of_a_campaign_still_listed(tmp_path: Path) -> None:
    warehouse, landing = NativeFile(tmp_path), Landing(tmp_path)
    now = NOON

    def oldest_unsettled(first_day: date = date(2026, 1, 1)) -> date | None:
        with ledger(warehouse) as asked:
            return asked.oldest_unsettled(EXPORTS, now, first_day)

    with warehouse.write():
        pass
    assert oldest_unsettled() is None

    def pulled(campaign: str, day: date, days_later: int) -> None:
        moment = datetime.fromisoformat(f"{day}T06:00:00+00:00") + timedelta(days=days_later)
        load(warehouse, arrival(tmp_path / "in", b"", campaign=campaign, dates=DateRange(day, day), pulled=moment))

    pulled("listed", date(2026, 5, 10), 2)
    pulled("listed", date(2026, 5, 2), 8)  # settled
    pulled("listed", date(2026, 2, 1), 1)  # longer ago than the schedule reaches
    pulled("gone", date(2026, 5, 1), 1)
    assert oldest_unsettled() is None, "nothing is listed yet"
    save(warehouse, landing.land_listing(CAMPAIGN, [b'{"campaignId":"gone"}'], now - timedelta(days=2), None, "r1"))
    assert oldest_unsettled() == date(2026, 5, 1)
    save(warehouse, landing.land_listing(CAMPAIGN, [b'{"campaignId":"listed"}'], now - timedelta(days=1), None, "r2"))
    assert oldest_unsettled() == date(2026, 5, 10)
    assert oldest_unsettled(first_day=date(2026, 5, 11)) is None, "before the first partition nothing is asked for"


def test_newest_rows_of_a_campaign_are_of_whichever_id_its_rows_bear(warehouse: NativeFile, tmp_path: Path) -> None:
    for campaign, bears, days in (
        ("camp_1", "an id", (4, 5)),
        ("camp_1", "a later id", (1, 2)),
        ("camp_2", "of another", (3,)),
        ("camp_3", "without rows", ()),
    ):
        rows = [row(campaign_id=bears, report_date=f"2026-04-0{day}") for day in days]
        dates = DateRange(date(2026, 4, min(days)), date(2026, 4, max(days))) if days else APRIL
        load(warehouse, arrival(tmp_path / "in", rows, campaign=campaign, dates=dates))
    with ledger(warehouse) as asked:
        newest = asked.newest_rows_of(CAMPAIGN_COUNTRY_DAILY)
    assert newest == {LISTED: date(2026, 4, 5), ListedId(DEFAULT_ACCOUNT, "camp_2"): date(2026, 4, 3)}


def test_days_of_a_range_are_told_with_rows_and_totals(warehouse: NativeFile, tmp_path: Path) -> None:
    other = row(country_code="NA", streams=7, spend_media=0.5)
    load(warehouse, arrival(tmp_path / "in", [row(), other], pulled=NOON + timedelta(hours=1)))
    with ledger(warehouse) as asked:
        first, second = asked.date_status(CAMPAIGN_COUNTRY_DAILY, DateRange(date(2026, 3, 31), date(2026, 4, 1)))
    assert (first.rows, first.last_pulled_at, first.settled) == (0, None, False)
    assert first.totals == {"streams": 0, "listeners": 0, "followers": 0}
    assert (second.rows, second.last_pulled_at, second.settled) == (2, NOON + timedelta(hours=1), True)
    assert second.totals == pytest.approx(
        {"streams": 210, "listeners": 290, "followers": 24, "spend_media, USD": 43, "spend_total, USD": 106.26}
    )


def test_money_of_a_day_has_a_total_for_each_currency(warehouse: NativeFile, tmp_path: Path) -> None:
    yen = [row(country_code=code, currency="JPY", spend_media=800, spend_total=1000) for code in ("JP", "KR")]
    load(warehouse, arrival(tmp_path / "in", [row(), *yen], pulled=NOON + timedelta(hours=1)))
    with ledger(warehouse) as asked:
        (day,) = asked.date_status(CAMPAIGN_COUNTRY_DAILY, DateRange(APRIL.start, APRIL.start))
        columns, rows = asked.newest_rows(CAMPAIGN_COUNTRY_DAILY, APRIL)
    money = {name: total for name, total in day.totals.items() if name.startswith("spend")}
    assert money == {
        "spend_media, JPY": 1600,
        "spend_media, USD": 42.5,
        "spend_total, JPY": 2000,
        "spend_total, USD": 53.13,
    }
    assert [shown[columns.index("currency")] for shown in rows] == ["JPY", "JPY", "USD"]


def test_name_of_a_campaign_is_that_of_its_newest_row(warehouse: NativeFile, tmp_path: Path) -> None:
    def named(name: str, code: str, **changes: Any) -> Row:
        return row(country_code=code, campaign_name=name, **changes)

    rows = [
        named("later day, older row", "DE", report_date="2026-04-02", exported_at="2026-05-19T03:00:00Z"),
        named("later day", "FR", report_date="2026-04-02", exported_at="2026-05-20T03:00:00Z"),
        named("earlier day", "IT", exported_at="2026-05-21T03:00:00Z"),
    ]
    load(warehouse, arrival(tmp_path / "in", rows, pulled=NOON + timedelta(hours=1)))
    # The same path has led to another campaign since.
    later = row(campaign_id="other", campaign_name="newest of all", report_date="2026-04-03")
    load(warehouse, arrival(tmp_path / "in", [later], campaign="camp_2"))
    with ledger(warehouse) as asked:
        assert asked.names(EXPORTS) == {LISTED: "later day", ListedId(DEFAULT_ACCOUNT, "camp_2"): "newest of all"}
    load(warehouse, arrival(tmp_path / "in", [later], pulled=NOON + timedelta(hours=2)))
    with ledger(warehouse) as asked:
        assert asked.names(EXPORTS)[LISTED] == "newest of all"


def test_days_are_done_that_a_run_has_pulled_or_that_are_final(warehouse: NativeFile, tmp_path: Path) -> None:
    first = DateRange(APRIL.start, APRIL.start)
    every = {(TABLE, "camp_1"): set(APRIL.dates())}
    with ledger(warehouse) as asked:
        assert asked.done_days(APRIL, ["run-1", "run-2"], settled=False) == every
        assert asked.done_days(first, ["run-1"], settled=False) == {(TABLE, "camp_1"): {APRIL.start}}
        assert asked.done_days(APRIL, ["run-2"], settled=False) == {}
        assert asked.done_days(APRIL, [], settled=True) == every
    may = DateRange(date(2026, 5, 10), date(2026, 5, 20))
    load(warehouse, arrival(tmp_path / "in", [], dates=may, campaign="camp_2"))
    final = {date(2026, 5, number) for number in range(10, 16)}  # NOON is the 23rd, 8 days after the 15th
    with ledger(warehouse) as asked:
        assert asked.done_days(may, [], settled=True) == {(TABLE, "camp_2"): final}
        assert asked.done_days(may, ["run-1"], settled=True) == {(TABLE, "camp_2"): set(may.dates())}
        assert asked.names(EXPORTS) == {LISTED: row()["campaign_name"]}


def test_where_each_delivery_stands(warehouse: NativeFile) -> None:
    ((identity,),) = query(warehouse, "select delivery_id from deliveries")
    with ledger(warehouse) as asked:
        assert asked.load_orders() == {identity: 1}


def test_a_warehouse_without_a_delivery_knows_nothing(tmp_path: Path) -> None:
    nothing = NativeFile(tmp_path / "nowhere")
    with nothing.write() as connection:
        asked = Ledger(connection)
        assert (asked.done_days(APRIL, ["run-1"], settled=True), asked.names(EXPORTS)) == ({}, {})
        assert asked.load_orders() == {}
        assert asked.row_count(CAMPAIGN_COUNTRY_DAILY) == 0
        assert asked.newest_rows(CAMPAIGN_COUNTRY_DAILY, APRIL)[1] == []
