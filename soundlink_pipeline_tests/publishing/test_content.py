"""The published file holds what the warehouse holds, for whoever reads it."""

import os
import stat
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.publishing.file_copy import figures_of
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.publishing.processes import BOTH, CLIENT, ask, child, files, published
from soundlink_pipeline_tests.support.deliveries import NOON, arrival, load, query

TABLE = CAMPAIGN_COUNTRY_DAILY.name


def test_published_file_holds_all_that_is_not_private(warehouse: NativeFile, target: Path) -> None:
    result = published(warehouse)
    catalog = {
        "tables": "select schema_name, table_name, comment from duckdb_tables()",
        "views": "select schema_name, view_name as table_name, sql, comment from duckdb_views() where not internal",
        "columns": "select schema_name, table_name, column_index, column_name, data_type, is_nullable, comment"
        " from duckdb_columns() where not internal",
    }
    public = "where not starts_with(table_name, '_') and table_name <> 'publication' order by all"
    for what, sql in catalog.items():
        found = ask(target, f"from ({sql}) {public}")
        assert found == query(warehouse, f"from ({sql}) {public}"), what
        assert found, what
    names = query(warehouse, f"select schema_name || '.' || table_name from duckdb_tables() {public}")
    names += query(warehouse, "select schema_name || '.' || view_name from duckdb_views() where not internal")
    for (name,) in names:
        assert ask(target, f"from {name} order by all") == query(warehouse, f"from {name} order by all"), name
    assert ask(target, "select table_name from duckdb_tables() where starts_with(table_name, '_')") == []
    assert result.rows == {
        "campaign_country_daily": 1,
        "campaign_country_daily_history": 1,
        "campaign_engagement_daily": 1,
        "campaign_engagement_daily_history": 0,
        "campaigns": 1,
        "deliveries": 3,
        "distributor_statements": 0,
        "expected_accounts": 0,
        "marts.totals": 1,
        "own_files": 0,
        "soundlink_country_daily": 0,
        "soundlink_country_daily_history": 0,
        "soundlink_engagement_daily": 0,
        "soundlink_engagement_daily_history": 0,
        "soundlinks": 0,
        "vanished_rows": 0,
    }
    assert (result.path, result.bytes) == (target, target.stat().st_size)
    assert result.seconds > 0


def test_publication_tells_when_and_from_what(warehouse: NativeFile, target: Path) -> None:
    result = published(warehouse, "run-42")
    assert ask(target, "from publication") == [
        (
            NOON.replace(tzinfo=None),
            "run-42",
            date(2026, 4, 8),
            date(2026, 4, 30),  # pulled on May 23: settled, though no rows are that new
            version("soundlink-pipeline"),
            duckdb.__version__,
        )
    ]
    assert (result.newest_report_date, result.newest_settled_date) == (date(2026, 4, 8), date(2026, 4, 30))
    silent = "select column_name from duckdb_columns() where table_name = 'publication' and comment is null"
    assert ask(target, silent) == []
    assert ask(target, "select comment from duckdb_tables() where table_name = 'publication'")[0][0].endswith("row.")


def test_day_is_settled_only_once_every_export_and_campaign_is(tmp_path: Path) -> None:
    warehouse = NativeFile(tmp_path)
    settles = datetime.fromisoformat("2026-04-09T00:00:00+00:00")
    days = DateRange(date(2026, 4, 1), date(2026, 4, 2))

    def pulled(days_later: int, campaign: str, **options: Any) -> date | None:
        moment = settles + timedelta(days=days_later)
        load(warehouse, arrival(tmp_path / "in", b"", dates=days, campaign=campaign, pulled=moment, **options))
        return published(warehouse).newest_settled_date

    assert pulled(1, "camp_1") == date(2026, 4, 2)
    assert pulled(-1, "camp_2") is None
    assert pulled(0, "camp_2") == date(2026, 4, 1)
    assert pulled(1, "camp_2") == date(2026, 4, 2)
    assert pulled(0, "camp_1", export=CAMPAIGN_ENGAGEMENT_DAILY) == date(2026, 4, 1)


def test_empty_warehouse_is_published_empty(tmp_path: Path, target: Path) -> None:
    result = published(NativeFile(tmp_path))
    assert (set(result.rows.values()), result.newest_report_date, result.newest_settled_date) == ({0}, None, None)
    assert ask(target, f"from {TABLE}") == []


def test_dropping_private_tables_does_not_inflate_the_file(warehouse: NativeFile) -> None:
    with warehouse.write() as connection:
        connection.execute("create table big as select md5(range::varchar) as x from range(200000)")
        connection.execute("insert into _model_state select md5(range::varchar) from range(20000)")
    assert published(warehouse).bytes <= warehouse.path.stat().st_size + (2 << 20) < 20e6


def test_views_work_where_the_file_is_attached_under_another_name(warehouse: NativeFile, target: Path) -> None:
    published(warehouse)
    with duckdb.connect() as connection:
        connection.execute(f"attach '{target}' as other (read_only)")
        assert connection.execute("from other.marts.summary").fetchall() == [(9, "x")]
        assert connection.execute("select streams from other.staging.stg_streams").fetchall() == [(9,)]
        assert connection.execute("select bool_and(is_settled) from other.report_date_status").fetchall() == [(True,)]
        assert connection.execute("from other.vanished_rows").fetchall() == []


def test_published_file_cannot_be_written_but_clients_of_duckdb_1_5_read_it(
    warehouse: NativeFile, target: Path
) -> None:
    warehouse.path.chmod(0o640)
    published(warehouse)
    assert stat.S_IMODE(target.stat().st_mode) == 0o440
    ((tags,),) = ask(target, "select tags from duckdb_databases() where database_name = 'soundlink'")
    assert tags["storage_version"].startswith("v1.5.0")
    if os.geteuid() != 0:
        with pytest.raises(duckdb.IOException, match="Permission denied"):
            duckdb.connect(str(target))


def test_a_second_database_that_is_attached_is_not_compared(
    warehouse: NativeFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.duckdb"
    with duckdb.connect(str(other)) as connection:
        connection.execute("create table more as select 1 as x")
    connect = warehouse._connect

    def with_another(closing: ExitStack, read_only: bool, wait_seconds: float) -> duckdb.DuckDBPyConnection:
        connection = connect(closing, read_only, wait_seconds)
        connection.execute(f"attach '{other}' as other (read_only)")
        return connection

    monkeypatch.setattr(warehouse, "_connect", with_another)
    result = published(warehouse)
    assert result.differences == []
    assert ("main.more", "rows") not in figures_of(warehouse)


def test_committed_work_of_a_killed_writer_is_published(warehouse: NativeFile, tmp_path: Path, target: Path) -> None:
    with child(CLIENT, warehouse.path, False, f"update {TABLE} set streams = 1234"):
        pass  # killed
    assert "warehouse.duckdb.wal" in files(tmp_path)
    published(warehouse)
    assert ask(target, f"select streams from {TABLE}") == [(1234,)]
    assert files(tmp_path) == BOTH
