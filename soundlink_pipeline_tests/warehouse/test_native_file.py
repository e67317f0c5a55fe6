"""The warehouse file: its schema, who may open it when, what is said when it cannot be, and what the ledger answers."""

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from filelock import FileLock

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import ExportColumn
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.warehouse.native_file import Warehouse
from soundlink_pipeline_tests.support.deliveries import APRIL, NOON, arrival, load, query, row

TABLE = CAMPAIGN_COUNTRY_DAILY.name


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """One with a row in it that does not wait for anybody."""
    warehouse = Warehouse(tmp_path, wait_seconds=0)
    load(warehouse, arrival(tmp_path / "in", [row()]))
    return warehouse


# The schema


def test_every_table_and_column_says_what_it_means(warehouse: Warehouse) -> None:
    tables = {TABLE, f"{TABLE}_history", "campaign_engagement_daily", "campaign_engagement_daily_history"}
    tables |= {"deliveries", "campaigns"}
    assert {
        name for (name,) in query(warehouse, "select table_name from duckdb_tables() where comment is not null")
    } == tables
    assert query(warehouse, "select table_name from duckdb_tables() where comment is null") == [("_schema_state",)]
    silent = "select table_name, column_name from duckdb_columns() where comment is null and not internal"
    assert query(warehouse, f"{silent} and table_name in {tuple(sorted(tables))}") == []


def test_table_has_the_columns_of_the_contract_then_ours_and_keys_are_not_null(warehouse: Warehouse) -> None:
    for export in EXPORTS:
        found = query(
            warehouse,
            f"select column_name, data_type, is_nullable from duckdb_columns() where table_name = '{export.name}'"
            " order by column_index",
        )
        contract = [(c.name, c.type, c.name not in export.primary_key) for c in export.columns]
        assert found[: len(contract)] == contract
        assert [name for name, _, _ in found[len(contract) :]] == [
            "_pulled_at",
            "_valid_from",
            "_delivery_id",
            "_last_seen_delivery_id",
        ]


def test_column_that_the_contract_gains_is_added_to_an_older_warehouse(warehouse: Warehouse, tmp_path: Path) -> None:
    gained = ExportColumn(name="saves", type="BIGINT", meaning="Saves of the track.", nullable=True)
    newer = replace(CAMPAIGN_COUNTRY_DAILY, columns=(*CAMPAIGN_COUNTRY_DAILY.columns, gained))
    later = Warehouse(tmp_path, exports=(newer,), wait_seconds=0)
    load(later, arrival(tmp_path / "in", [row(country_code="DE", saves=7)], pulled=NOON + timedelta(hours=1)))
    assert query(later, f"select country_code, saves from {TABLE} order by 1") == [("DE", 7), ("US", None)]
    assert query(later, f"select saves from {TABLE}_history") == []


def test_comment_tells_rule_and_place_in_the_key(warehouse: Warehouse) -> None:
    comments = dict(query(warehouse, f"select column_name, comment from duckdb_columns() where table_name = '{TABLE}'"))
    assert comments["country_code"].endswith(
        "NA is Namibia, not a missing value. Rule: two capital letters A to Z. Primary key, column 5 of 5."
    )


def test_file_can_be_opened_by_clients_of_duckdb_1_5(warehouse: Warehouse) -> None:
    ((tags,),) = query(warehouse, "select tags from duckdb_databases() where database_name = 'warehouse'")
    assert tags["storage_version"].startswith("v1.5.0")


def test_changed_contract_brings_its_comments_up_to_date(warehouse: Warehouse, tmp_path: Path) -> None:
    export = replace(CAMPAIGN_COUNTRY_DAILY, title="Told anew.")
    with Warehouse(tmp_path, exports=[export]).write() as connection:
        comment = f"select comment from duckdb_tables() where table_name = '{TABLE}'"
        assert connection.execute(comment).fetchall()[0][0].startswith("Told anew. Grain: ")
    assert query(warehouse, f"select count(*) from {TABLE}") == [(1,)]


def test_writing_connection_is_closed_and_rolled_back_after_an_error(warehouse: Warehouse) -> None:
    def fail() -> None:
        with warehouse.write() as connection:
            connection.execute("begin")
            connection.execute(f"delete from {TABLE}")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with warehouse.write() as connection:
        assert connection.execute(f"select count(*) from {TABLE}").fetchall() == [(1,)]


# Who may open it when


@contextmanager
def holder(warehouse: Warehouse, *, read_only: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Another real process that has the file open until its standard input ends."""
    code = f"""
        import duckdb, sys
        connection = duckdb.connect({str(warehouse.path)!r}, read_only={read_only})
        print("open", flush=True)
        sys.stdin.read()
        connection.close()
        del connection
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            yield process
        finally:
            process.communicate()


@pytest.mark.parametrize("mode", ["write", "read"])
def test_locked_warehouse_names_the_process_that_holds_it(warehouse: Warehouse, mode: str) -> None:
    with (
        holder(warehouse) as process,
        pytest.raises(WarehouseLocked, match=f"is open in process {process.pid}: close it there"),
        getattr(warehouse, mode)(),
    ):
        pass
    assert query(warehouse, f"select count(*) from {TABLE}") == [(1,)]


def test_reader_elsewhere_keeps_a_writer_out_but_not_a_reader(warehouse: Warehouse) -> None:
    with holder(warehouse, read_only=True) as process:
        assert query(warehouse, f"select count(*) from {TABLE}") == [(1,)]
        with pytest.raises(WarehouseLocked, match=f"process {process.pid}"), warehouse.write():
            pass


def test_holder_that_goes_away_in_time_is_waited_for(warehouse: Warehouse, tmp_path: Path) -> None:
    with holder(warehouse) as process:
        assert process.stdin is not None
        # It lets go only after this process has begun to try.
        release = threading.Timer(0.3, process.stdin.close)
        release.start()
        with Warehouse(tmp_path, wait_seconds=60).write() as connection:
            assert connection.execute(f"select count(*) from {TABLE}").fetchall() == [(1,)]
        release.join()
        process.stdin = None


def test_two_writers_of_ours_take_turns(warehouse: Warehouse) -> None:
    with (
        FileLock(warehouse.path.with_suffix(".lock")),
        pytest.raises(WarehouseLocked, match="being written by another run for over 0 s"),
        warehouse.write(),
    ):
        pass


@pytest.mark.parametrize(("first", "second"), [("write", "read"), ("read", "write")])
def test_second_opening_in_this_process_is_told_from_damage(warehouse: Warehouse, first: str, second: str) -> None:
    with (
        getattr(warehouse, first)(),
        pytest.raises(WarehouseLocked, match="this very process"),
        getattr(warehouse, second)(),
    ):
        pass


def test_several_may_read_at_once_and_none_of_them_write(warehouse: Warehouse) -> None:
    with warehouse.read() as one, warehouse.read() as other:
        assert one.execute(f"select count(*) from {TABLE}").fetchall() == [(1,)]
        with pytest.raises(duckdb.Error, match="read-only"):
            other.execute(f"delete from {TABLE}")


# What is said when it cannot be opened

WHAT_TO_DO = r"is damaged: .*Move it away, with warehouse\.duckdb\.wal if there is one, and run the job rebuild_from"


@pytest.mark.parametrize("mode", ["write", "read"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"not a database " * 1000,
        lambda data: data[: len(data) // 2],
        lambda data: data[:4096] + b"\xff" * 8192 + data[12288:],
    ],
    ids=["empty", "something else", "cut off", "header"],
)
def test_damaged_file_is_reported_with_what_to_do(warehouse: Warehouse, mode: str, damage: object) -> None:
    warehouse.path.write_bytes(damage(warehouse.path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(WarehouseUnusable, match=WHAT_TO_DO), getattr(warehouse, mode)() as connection:
        connection.execute(f"from {TABLE}").fetchall()


def test_damage_that_shows_only_when_rows_are_read_is_reported_too(warehouse: Warehouse) -> None:
    with warehouse.write() as connection:
        connection.execute("create table big as select md5(range::varchar) as x from range(60000)")
    data = bytearray(warehouse.path.read_bytes())
    # Blocks of 256 KiB follow three headers of 4 KiB; the first blocks are of rows.
    for position in range(3 * 4096 + 100_000, len(data), 1 << 18):
        data[position] ^= 0xFF
    warehouse.path.write_bytes(data)
    with pytest.raises(WarehouseUnusable, match=WHAT_TO_DO), warehouse.read() as connection:
        connection.execute("select max(x) from big").fetchall()


def test_missing_file_or_a_folder_in_its_place_is_not_called_damaged(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path, wait_seconds=0)
    assert not warehouse.exists()
    with pytest.raises(WarehouseUnusable, match=r"cannot be opened: .*does not exist"), warehouse.read():
        pass
    warehouse.path.mkdir()
    with pytest.raises(WarehouseUnusable, match=r"cannot be opened: .*Is a directory"), warehouse.read():
        pass


def test_error_of_a_query_stays_what_it_is(warehouse: Warehouse) -> None:
    with pytest.raises(duckdb.CatalogException), warehouse.read() as connection:
        connection.execute("from nowhere")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits the size of files for one child process")
def test_disk_that_is_full_is_reported_and_nothing_is_kept(warehouse: Warehouse, tmp_path: Path) -> None:
    code = f"""
        import resource
        from pathlib import Path
        from soundlink_pipeline.warehouse.home import WarehouseUnusable
        from soundlink_pipeline.warehouse.native_file import Warehouse
        warehouse = Warehouse(Path({str(tmp_path)!r}), wait_seconds=0)
        size = warehouse.path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, size + 100_000))
        try:
            with warehouse.write() as connection:
                connection.execute("begin")
                connection.execute("delete from {TABLE}")
                connection.execute("create table big as select md5(range::varchar) as x from range(500000)")
                connection.execute("commit")
        except WarehouseUnusable as error:
            print(error)
    """
    child = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "cannot be written, is the disk full?" in child.stdout, child
    assert "Free space and run again" in child.stdout
    assert query(warehouse, f"select count(*) from {TABLE}") == [(1,)]
    assert query(warehouse, "select * from duckdb_tables() where table_name = 'big'") == []


# What the ledger answers


def test_date_is_settled_by_a_pull_at_or_after_eight_days_by_the_servers_clock(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
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
    warehouse, landing = Warehouse(tmp_path), Landing(tmp_path)
    now = NOON
    assert warehouse.oldest_unsettled(now) is None

    def pulled(campaign: str, day: date, days_later: int) -> None:
        moment = datetime.fromisoformat(f"{day}T06:00:00+00:00") + timedelta(days=days_later)
        load(warehouse, arrival(tmp_path / "in", b"", campaign=campaign, dates=DateRange(day, day), pulled=moment))

    pulled("listed", date(2026, 5, 10), 2)
    pulled("listed", date(2026, 5, 2), 8)  # settled
    pulled("listed", date(2026, 2, 1), 1)  # longer ago than the schedule reaches
    pulled("gone", date(2026, 5, 1), 1)
    assert warehouse.oldest_unsettled(now) is None, "nothing is listed yet"
    warehouse.save_listing(landing.land_listing([b'{"campaignId":"gone"}'], now - timedelta(days=2), None, "r1"))
    assert warehouse.oldest_unsettled(now) == date(2026, 5, 1)
    warehouse.save_listing(landing.land_listing([b'{"campaignId":"listed"}'], now - timedelta(days=1), None, "r2"))
    assert warehouse.oldest_unsettled(now) == date(2026, 5, 10)


def test_days_of_a_range_are_told_with_rows_and_totals(warehouse: Warehouse, tmp_path: Path) -> None:
    other = row(country_code="NA", streams=7, spend_media=0.5)
    load(warehouse, arrival(tmp_path / "in", [other], pulled=NOON + timedelta(hours=1)))
    first, second = warehouse.date_status(CAMPAIGN_COUNTRY_DAILY, DateRange(date(2026, 3, 31), date(2026, 4, 1)))
    assert (first.rows, first.last_pulled_at, first.settled) == (0, None, False)
    assert first.totals == dict.fromkeys(CAMPAIGN_COUNTRY_DAILY.measures, 0.0)
    assert (second.rows, second.last_pulled_at, second.settled) == (2, NOON + timedelta(hours=1), True)
    assert second.totals == pytest.approx(
        {"streams": 210, "listeners": 290, "followers": 24, "spend_media": 43, "spend_total": 106.26}
    )


def test_days_are_done_that_a_run_has_pulled_or_that_are_final(warehouse: Warehouse, tmp_path: Path) -> None:
    first = DateRange(APRIL.start, APRIL.start)
    every = {(TABLE, "camp_1"): set(APRIL.dates())}
    assert warehouse.done_days(APRIL, ["run-1", "run-2"], settled=False) == every
    assert warehouse.done_days(first, ["run-1"], settled=False) == {(TABLE, "camp_1"): {APRIL.start}}
    assert warehouse.done_days(APRIL, ["run-2"], settled=False) == {}
    assert warehouse.done_days(APRIL, [], settled=True) == every
    may = DateRange(date(2026, 5, 10), date(2026, 5, 20))
    load(warehouse, arrival(tmp_path / "in", [], dates=may, campaign="camp_2"))
    final = {date(2026, 5, number) for number in range(10, 16)}  # NOON is the 23rd, 8 days after the 15th
    assert warehouse.done_days(may, [], settled=True) == {(TABLE, "camp_2"): final}
    assert warehouse.done_days(may, ["run-1"], settled=True) == {(TABLE, "camp_2"): set(may.dates())}
    assert warehouse.campaign_names() == {"camp_1": row()["campaign_name"]}


def test_where_each_delivery_stands(warehouse: Warehouse, tmp_path: Path) -> None:
    ((identity,),) = query(warehouse, "select delivery_id from deliveries")
    assert warehouse.load_orders() == {identity: 1}
    nothing = Warehouse(tmp_path / "nowhere")
    assert (nothing.done_days(APRIL, ["run-1"], settled=True), nothing.campaign_names()) == ({}, {})
    assert nothing.load_orders() == {}
