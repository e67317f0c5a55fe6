"""The warehouse that both sides get, and the values that generated models and tests speak of."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any, Literal

import duckdb

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.table import Table
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline.warehouse.sql import quote
from soundlink_pipeline.warehouse.tables import is_guarded, listing_table, warehouse_tables

Type = Literal["text", "integer", "decimal", "double", "boolean", "date"]
# Few of each, so that tests find values twice, missing and unknown ones. The doubles are exact, so their sums are, too.
VALUES: dict[Type, Sequence[Any]] = {
    "text": ["US", "DE", "O'Hara", 'say "x"', "a--b", "{curly}", "Größe 🎧", "", "1", "true"],
    "integer": [0, 1, 2, 3, 7, -4],
    "decimal": ["0.2", "0.30", "12.5", "-1.25", "100"],
    "double": [0.5, 0.25, 1.0, 2.75],
    "boolean": [True, False],
    "date": [date(2026, 1, day) for day in (1, 2, 3, 31)],
}
SQL_TYPES: dict[Type, str] = {
    "text": "varchar",
    "integer": "bigint",
    "decimal": "decimal(18, 6)",
    "double": "double",
    "boolean": "boolean",
    "date": "date",
}
ODD_NAMES = ("Total Spend", "select", "größe", "UPPER", "with space and 'quote'", "order", "a.b", "2nd")


@dataclass(frozen=True)
class Column:
    """A column of a generated model; `sql` is how a query names it."""

    name: str
    type: Type

    @property
    def is_odd(self) -> bool:
        return self.name in ODD_NAMES

    @property
    def sql(self) -> str:
        return f'"{self.name}"' if self.is_odd else self.name


def literal(rng: Random, type: Type, *, nulls: float = 0.0) -> str:
    """A value as SQL."""
    if rng.random() < nulls:
        return f"null::{SQL_TYPES[type]}"
    value = rng.choice(VALUES[type])
    return f"{quote(str(value)) if type in ('text', 'date') else str(value).lower()}::{SQL_TYPES[type]}"


# Columns of the sources that models may read.
SOURCES: dict[str, tuple[Column, ...]] = {
    "campaigns": (
        Column("campaign_id", "text"),
        Column("status", "text"),
        Column("artist_name", "text"),
        Column("daily_budget", "decimal"),
        Column("generation", "integer"),
    ),
    "campaign_country_daily": (
        Column("report_date", "date"),
        Column("campaign_id", "text"),
        Column("country_code", "text"),
        Column("streams", "integer"),
        Column("ad_clicks", "integer"),
        Column("spend_media", "decimal"),
        Column("cpl", "double"),
    ),
}


def warehouse(folder: Path, rng: Random) -> Path:
    """A warehouse file in the folder, with a few random rows in the sources."""
    folder.mkdir(parents=True, exist_ok=True)
    path = Path(shutil.copy(_empty_warehouse(), folder))
    with duckdb.connect(str(path)) as connection:
        for number in range(rng.randint(3, 6)):
            values = {"campaign_id": quote(f"camp_{number}")}
            _insert(connection, listing_table(CAMPAIGN), values, rng)
        add_days(connection, rng, rng.randint(4, 10))
    return path


def add_days(connection: duckdb.DuckDBPyConnection, rng: Random, rows: int) -> None:
    """Further rows of campaign_country_daily."""
    table = next(table for table in warehouse_tables(EXPORTS) if table.name == "campaign_country_daily")
    for _ in range(rows):
        values = {
            "campaign_id": quote(f"camp_{rng.randint(0, 6)}"),
            "report_date": f"date '2026-01-0{rng.randint(1, 9)}'",
            "country_code": quote(rng.choice(("US", "DE", "O'"))),
        }
        _insert(connection, table, values, rng)


def _insert(connection: duckdb.DuckDBPyConnection, table: Table, values: dict[str, str], rng: Random) -> None:
    of = {column.name: column for column in SOURCES[table.name]}
    cells = {}
    for column in table.columns:
        if column.name in values:
            cells[column.name] = values[column.name]
        elif column.name in of:
            nulls = 0.0 if is_guarded(table, column) else 0.25
            cells[column.name] = literal(rng, of[column.name].type, nulls=nulls)
        elif is_guarded(table, column):
            cells[column.name] = {"DATE": "date '2026-01-01'", "TIMESTAMP": "now()::timestamp"}.get(column.type, "'0'")
    connection.execute(f"insert into {table.name} ({', '.join(cells)}) values ({', '.join(cells.values())})")


@cache
def _empty_warehouse() -> Path:
    file = NativeFile(Path(mkdtemp(prefix="warehouse-")))
    with file.write():
        pass
    return file.path
