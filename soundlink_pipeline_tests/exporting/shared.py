"""What the tests of exports share: a data folder that is loaded, published and exported, and readers of a target."""

from __future__ import annotations

import atexit
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
import pytest

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.exporting.export import Exported, export
from soundlink_pipeline.exporting.store import ExportFailed, Store, open_store
from soundlink_pipeline.publishing.file_copy import publish
from soundlink_pipeline.settings.export_target import Timestamps
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import arrival, load, row
from soundlink_pipeline_tests.support.report_database import LOUD, LOUD_ID, build

NOW = datetime(2026, 4, 23, 8, tzinfo=UTC)
# Of each table its rows, as texts.
Rows = dict[str, list[tuple[Any, ...]]]
EXPORT = "campaign_country_daily"


@dataclass
class Source:
    """The data folder of the report's tests: 1 to 20 April 2026, two campaigns, published."""

    folder: Path

    @property
    def warehouse(self) -> NativeFile:
        return NativeFile(self.folder, wait_seconds=0)

    @property
    def published(self) -> Path:
        return self.folder / "soundlink.duckdb"

    def pull(self, *days: str, streams: int, name: str = LOUD, models: bool = True) -> None:
        """A campaign's days are pulled with other streams, the models built and the file published."""
        for day in days:
            number = len(list(self.folder.glob("landed-*")))
            moment = NOW + timedelta(hours=number)
            values: dict[str, Any] = {"campaign_id": LOUD_ID, "campaign_name": name, "report_date": day}
            values |= {"currency": "USD", "country_code": "US", "streams": streams}
            values |= {"exported_at": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}
            values |= {"spend_media": 80, "spend_total": 1234.5, "fees": 1154.5}
            dates = DateRange(date.fromisoformat(day), date.fromisoformat(day))
            folder = self.folder / f"landed-{number}"
            load(self.warehouse, arrival(folder, [row(**values)], campaign="camp_loud", dates=dates, pulled=moment))
        if models:
            build(self.warehouse)
        self.publish()

    def publish(self, run_id: str = "run-8") -> None:
        publish(self.warehouse, self.published, run_id=run_id, now=NOW)

    def change(self, *statements: str) -> None:
        """Statements on the warehouse, then a publication."""
        with self.warehouse.write() as connection:
            for statement in statements:
                connection.execute(statement)
        self.publish()

    def export(
        self,
        target: Path | str,
        timestamps: Timestamps = "utc",
        longest: float | None = None,
        opened: Callable[[str], Store] = open_store,
    ) -> Exported:
        return export(self.published, str(target), timestamps=timestamps, now=NOW, longest=longest, opened=opened)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.published), read_only=True) as connection:
            return connection.execute(sql).fetchall()


def manifest(target: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((target / "manifest.json").read_bytes())
    return found


def by_manifest(target: Path) -> Rows:
    """The rows of every table, as a reader by the manifest has them; every file is what the manifest says of it."""
    rows = {}
    for table in manifest(target)["tables"]:
        for file in table["files"]:
            content = (target / file["file"]).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
        rows[table["name"]] = read([target / file["file"] for file in table["files"]])
    return rows


def by_pattern(target: Path) -> Rows:
    """The rows of the tables that have some, as a reader of the fixed names has them, who knows of no manifest."""
    folders = [folder for part in ("raw", "marts") for folder in sorted((target / part).glob("*"))]
    found = {
        f"{folder.parent.name}.{unquote(folder.name)}": read(sorted(folder.rglob("*.parquet"))) for folder in folders
    }
    return with_rows(found)


def with_rows(tables: Rows) -> Rows:
    return {name: rows for name, rows in tables.items() if rows}


@cache
def _reader() -> duckdb.DuckDBPyConnection:
    """One for all: an instance takes longer to make than a table to read."""
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    atexit.register(connection.close)
    return connection


def read(files: list[Path]) -> list[tuple[Any, ...]]:
    if not files:
        return []
    query = "select columns(*)::varchar from read_parquet(?, hive_partitioning = false) order by all"
    return _reader().execute(query, [[str(file) for file in files]]).fetchall()


def exported(source: Source, timestamps: Timestamps = "utc") -> Rows:
    """The rows of every table that an export of the published file must hold."""
    zone = "timestamptz" if timestamps == "utc" else "timestamp"
    tables = source.query(
        f"""
        select schema_name, table_name, string_agg(
            printf('"%s"%s::varchar', column_name, case data_type when 'TIMESTAMP' then '::{zone}' else '' end), ', '
            order by column_index
        )
        from duckdb_columns()
        where not internal and schema_name in ('main', 'marts') and table_name <> 'publication'
            and not (schema_name = 'main' and table_name[1] = '_')
        group by all order by all
        """
    )
    with duckdb.connect(str(source.published), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        return {
            f"{'raw' if schema == 'main' else schema}.{table}": connection.execute(
                f'select {columns} from {schema}."{table}" order by all'
            ).fetchall()
            for schema, table, columns in tables
        }


def fixed_files(target: Path) -> dict[str, tuple[int, int]]:
    """Every fixed name with what tells whether its file is another one."""
    return {
        str(path.relative_to(target)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for part in ("raw", "marts")
        for path in (target / part).rglob("*.parquet")
    }


def refusal(source: Source, target: Path) -> str:
    """The one line that an export fails with."""
    with pytest.raises(ExportFailed) as caught:
        source.export(target)
    said = str(caught.value)
    assert "\n" not in said
    return said
