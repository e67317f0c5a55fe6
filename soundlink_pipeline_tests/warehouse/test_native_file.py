"""The warehouse file: its schema, who may open it when, and what the error says when it cannot be opened."""

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from filelock import FileLock

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import ExportColumn
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import NOON, arrival, load, query, row

TABLE = CAMPAIGN_COUNTRY_DAILY.name


# The schema


def test_every_table_and_column_says_what_it_means(warehouse: NativeFile) -> None:
    tables = {name for export in EXPORTS for name in (export.name, f"{export.name}_history")}
    tables |= {"deliveries", "campaigns", "soundlinks", "expected_accounts", "vanished_rows"}
    tables |= {"own_files", "distributor_statements"}
    assert {
        name for (name,) in query(warehouse, "select table_name from duckdb_tables() where comment is not null")
    } == tables
    assert query(warehouse, "select table_name from duckdb_tables() where comment is null") == [("_schema_state",)]
    silent = "select table_name, column_name from duckdb_columns() where comment is null and not internal"
    assert query(warehouse, f"{silent} and table_name in {tuple(sorted(tables))}") == []


def test_table_has_the_columns_of_the_contract_then_ours_and_keys_are_not_null(warehouse: NativeFile) -> None:
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
            "_unknown_fields",
        ]


def test_column_that_the_contract_gains_is_added_to_an_older_warehouse(warehouse: NativeFile, tmp_path: Path) -> None:
    gained = ExportColumn(name="saves", type="BIGINT", meaning="Saves of the track.", nullable=True)
    newer = replace(CAMPAIGN_COUNTRY_DAILY, columns=(*CAMPAIGN_COUNTRY_DAILY.columns, gained))
    later = NativeFile(tmp_path, exports=(newer,), wait_seconds=0)
    load(later, arrival(tmp_path / "in", [row(country_code="DE", saves=7), row()], pulled=NOON + timedelta(hours=1)))
    assert query(later, f"select country_code, saves from {TABLE} order by 1") == [("DE", 7), ("US", None)]
    assert query(later, f"select saves from {TABLE}_history") == []


def test_comment_tells_rule_and_place_in_the_key(warehouse: NativeFile) -> None:
    comments = dict(query(warehouse, f"select column_name, comment from duckdb_columns() where table_name = '{TABLE}'"))
    assert comments["country_code"].endswith(
        "NA is Namibia, not a missing value. Rule: two characters, a capital letter and a capital letter or digit."
        " Primary key, column 5 of 5."
    )


def test_file_can_be_opened_by_clients_of_duckdb_1_5(warehouse: NativeFile) -> None:
    ((tags,),) = query(warehouse, "select tags from duckdb_databases() where database_name = 'warehouse'")
    assert tags["storage_version"].startswith("v1.5.0")


def test_changed_contract_brings_its_comments_up_to_date(warehouse: NativeFile, tmp_path: Path) -> None:
    export = replace(CAMPAIGN_COUNTRY_DAILY, title="Told anew.")
    with NativeFile(tmp_path, exports=[export]).write() as connection:
        comment = f"select comment from duckdb_tables() where table_name = '{TABLE}'"
        assert connection.execute(comment).fetchall()[0][0].startswith("Told anew. Grain: ")
    assert query(warehouse, f"select count(*) from {TABLE}") == [(1,)]


def test_writing_connection_is_closed_and_rolled_back_after_an_error(warehouse: NativeFile) -> None:
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
def holder(warehouse: NativeFile, *, read_only: bool = False) -> Iterator[subprocess.Popen[str]]:
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
def test_locked_warehouse_names_the_process_that_holds_it(warehouse: NativeFile, mode: str) -> None:
    with (
        holder(warehouse) as process,
        pytest.raises(WarehouseLocked, match=f"is open in process {process.pid}: close it there"),
        getattr(warehouse, mode)(),
    ):
        pass
    assert query(warehouse, f"select count(*) from {TABLE}") == [(1,)]


def test_reader_elsewhere_keeps_a_writer_out_but_not_a_reader(warehouse: NativeFile) -> None:
    with holder(warehouse, read_only=True) as process:
        assert query(warehouse, f"select count(*) from {TABLE}") == [(1,)]
        with pytest.raises(WarehouseLocked, match=f"process {process.pid}"), warehouse.write():
            pass


def test_holder_that_goes_away_in_time_is_waited_for(warehouse: NativeFile, tmp_path: Path) -> None:
    with holder(warehouse) as process:
        assert process.stdin is not None
        # It lets go only after this process has begun to try.
        release = threading.Timer(0.3, process.stdin.close)
        release.start()
        with NativeFile(tmp_path, wait_seconds=60).write() as connection:
            assert connection.execute(f"select count(*) from {TABLE}").fetchall() == [(1,)]
        release.join()
        process.stdin = None


def test_two_writers_of_ours_take_turns(warehouse: NativeFile) -> None:
    with (
        FileLock(warehouse.path.with_suffix(".lock")),
        pytest.raises(WarehouseLocked, match="being written by another run for over 0 s"),
        warehouse.write(),
    ):
        pass


@pytest.mark.parametrize(("first", "second"), [("write", "read"), ("read", "write")])
def test_second_opening_in_this_process_is_told_from_damage(warehouse: NativeFile, first: str, second: str) -> None:
    with (
        getattr(warehouse, first)(),
        pytest.raises(WarehouseLocked, match="this very process"),
        getattr(warehouse, second)(),
    ):
        pass


def test_several_may_read_at_once_and_none_of_them_write(warehouse: NativeFile) -> None:
    with warehouse.read() as one, warehouse.read() as other:
        assert one.execute(f"select count(*) from {TABLE}").fetchall() == [(1,)]
        with pytest.raises(duckdb.Error, match="read-only"):
            other.execute(f"delete from {TABLE}")


# What is said when it cannot be opened

WHAT_TO_DO = r"is damaged: .*Move it away, with warehouse\.duckdb\.wal if there is one, and run .*the job rebuild_from"


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
def test_damaged_file_is_reported_with_what_to_do(warehouse: NativeFile, mode: str, damage: object) -> None:
    warehouse.path.write_bytes(damage(warehouse.path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(WarehouseUnusable, match=WHAT_TO_DO), getattr(warehouse, mode)() as connection:
        connection.execute(f"from {TABLE}").fetchall()


def test_damage_that_shows_only_when_rows_are_read_is_reported_too(warehouse: NativeFile) -> None:
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
    warehouse = NativeFile(tmp_path, wait_seconds=0)
    assert not warehouse.exists()
    with pytest.raises(WarehouseUnusable, match=r"cannot be opened: .*does not exist"), warehouse.read():
        pass
    warehouse.path.mkdir()
    with pytest.raises(WarehouseUnusable, match=r"cannot be opened: .*Is a directory"), warehouse.read():
        pass


def test_error_of_a_query_stays_what_it_is(warehouse: NativeFile) -> None:
    with pytest.raises(duckdb.CatalogException), warehouse.read() as connection:
        connection.execute("from nowhere")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits the size of files for one child process")
def test_disk_that_is_full_is_reported_and_nothing_is_kept(warehouse: NativeFile, tmp_path: Path) -> None:
    code = f"""
        import resource
        from pathlib import Path
        from soundlink_pipeline.warehouse.home import WarehouseUnusable
        from soundlink_pipeline.warehouse.native_file import NativeFile
        warehouse = NativeFile(Path({str(tmp_path)!r}), wait_seconds=0)
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
