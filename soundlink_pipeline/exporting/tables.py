"""What of a published file is exported, and as which types: the tables and views of `main` and `marts`.

`raw` has the exports with their history, the ledger and what is listed; the fingerprint of a day is one of its rows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from urllib.parse import quote as escaped

import duckdb

from soundlink_pipeline.contracts.schema import DATE_COLUMN
from soundlink_pipeline.exporting.store import ExportFailed
from soundlink_pipeline.publishing.file_copy import PUBLICATION
from soundlink_pipeline.settings.export_target import Timestamps
from soundlink_pipeline.warehouse.sql import quote, quote_name

_FOLDERS = {"main": "raw", "marts": "marts"}
# What fixed names begin with.
FIXED = tuple(f"{folder}/" for folder in _FOLDERS.values())
# What every reader takes as it is.
_PLAIN = re.compile(r"BOOLEAN|TINYINT|SMALLINT|INTEGER|BIGINT|FLOAT|DOUBLE|DATE|VARCHAR|DECIMAL\(\d+,\d+\)")
# The type of null alone is that of a view's `null as x`.
_AS_TEXT = ("JSON", "UUID", "ENUM", "NULL", '"NULL"')
_AS_BIGINT = ("HUGEINT", "UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT", "UHUGEINT")
_MONEY_SCALE = 6
# Of the digits of a sum, 38, those that are left for as many rows as there may be.
_MOST_DIGITS_SUMMED = 18
_NO_FIT = (duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.NotImplementedException)
_SUMMED = re.compile(r"TINYINT|SMALLINT|INTEGER|BIGINT|DECIMAL\(\d+,\d+\)")
# Readers get other files once these change, and so all are written again.
_WRITTEN_AS = "zstd"
_ROWS_AT_ONCE = 50_000
# A disk's names have 255 bytes.
_LONGEST_NAME = 200


@dataclass(frozen=True)
class SourceColumn:
    """A column of the published file, and its type in Parquet, as DuckDB names it."""

    name: str
    type: str

    @property
    def written(self) -> str:
        """Its values as the export writes them. No others are compared or summed: an ENUM's hash is of its number."""
        return f"{quote_name(self.name)}::{self.type}"

    @property
    def compared(self) -> str:
        """The same, but that a moment has no zone: all are UTC, and a cast into one costs more than all the others."""
        return f"{quote_name(self.name)}::{self.type.replace(' WITH TIME ZONE', '')}"

    @property
    def as_sql(self) -> str:
        return f"{self.written} as {quote_name(self.name)}"


@dataclass(frozen=True)
class Part:
    """The rows of one day, or all of a table without days."""

    day: date | None
    rows: int
    fingerprint: str
    sums: dict[str, str | None]


@dataclass(frozen=True)
class SourceTable:
    """A table; `reads` is what to read it from, for a view is worked out once."""

    schema: str
    name: str
    reads: str
    columns: tuple[SourceColumn, ...]
    is_empty: bool = False

    @property
    def full_name(self) -> str:
        return f"{_FOLDERS[self.schema]}.{self.name}"

    @cached_property
    def folder(self) -> str:
        return f"{_FOLDERS[self.schema]}/{_folder_name(self.name)}"

    @cached_property
    def has_days(self) -> bool:
        return any(column == SourceColumn(DATE_COLUMN, "DATE") for column in self.columns)

    @property
    def columns_by_name(self) -> dict[str, str]:
        return {column.name: column.type for column in self.columns}

    def folder_of(self, day: date | None) -> str:
        """Of a partition, as Hive names it."""
        if not self.has_days:
            return self.folder
        return f"{self.folder}/{DATE_COLUMN}={day or '__HIVE_DEFAULT_PARTITION__'}"


def _folder_name(table: str) -> str:
    """As URLs write it, and so that it is no `..`, nor hidden, nor too long for a disk."""
    name = escaped(table, safe="")
    hidden = len(name) - len(name.lstrip("."))
    name = "%2E" * hidden + name[hidden:]
    if len(name) <= _LONGEST_NAME:
        return name
    kept = re.sub("%.?$", "", name[: _LONGEST_NAME - 17])  # no half of what was escaped
    return f"{kept}-{hashlib.sha256(table.encode()).hexdigest()[:16]}"


def made_by(connection: duckdb.DuckDBPyConnection) -> str:
    """What decides about bytes and fingerprints, beside columns: DuckDB's hash may differ between its versions."""
    ((version,),) = connection.execute("select library_version from pragma_version()").fetchall()
    return f"DuckDB {version}, {_WRITTEN_AS}"


def source_tables(connection: duckdb.DuckDBPyConnection, timestamps: Timestamps) -> Iterator[SourceTable]:
    """What is exported, in the order of names; views are worked out. Raises ExportFailed, duckdb.Error."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for schema, table, name, type in connection.execute(
        """
        select schema_name, table_name, column_name, data_type from duckdb_columns()
        where database_name = current_database() and not internal and schema_name in ('main', 'marts')
        order by schema_name, table_name, column_index
        """
    ).fetchall():
        if not (schema == "main" and (table.startswith("_") or table == PUBLICATION.name)):
            found.setdefault((schema, table), []).append((name, type))
    views = set(
        connection.execute(
            "select schema_name, view_name from duckdb_views() where database_name = current_database()"
        ).fetchall()
    )
    # What DuckDB says of a table's size counts deleted rows too, so that 0 is none.
    empty = set(
        connection.execute(
            "select schema_name, table_name from duckdb_tables()"
            " where database_name = current_database() and estimated_size = 0"
        ).fetchall()
    )
    for number, ((schema, table), columns) in enumerate(found.items()):
        typed = tuple(SourceColumn(name, _type(f"{schema}.{table}.{name}", of, timestamps)) for name, of in columns)
        reads = f"{quote_name(schema)}.{quote_name(table)}"
        if (schema, table) in views:
            try:
                connection.execute(f"create or replace temp table view_{number} as from {reads}")
            except (duckdb.BinderException, duckdb.CatalogException) as error:
                raise ExportFailed(
                    f"the view {schema}.{table} does not fit what it reads ({first_line(error)}): build the models"
                    " again (in the UI: the job models_and_publication), or drop the view"
                ) from None
            except duckdb.Error as error:
                raise _not_read(f"{schema}.{table}", error) from None
            reads = f"temp.view_{number}"
        yield SourceTable(schema, table, reads, typed, (schema, table) in empty)


def _type(column: str, type: str, timestamps: Timestamps) -> str:
    """What a column becomes. Raises ExportFailed for a type that Parquet's readers do not share."""
    if type.endswith("[]"):
        return f"{_type(column, type.removesuffix('[]'), timestamps)}[]"
    if type.startswith("TIMESTAMP"):  # all are UTC
        return "TIMESTAMP WITH TIME ZONE" if timestamps == "utc" else "TIMESTAMP"
    if type.startswith(_AS_TEXT):
        return "VARCHAR"
    if type in _AS_BIGINT:
        return "BIGINT"  # Parquet has nothing wider: DuckDB would write a double
    if re.fullmatch(rf"DECIMAL\(\d+,{_MONEY_SCALE}\)", type):
        return f"DECIMAL(18,{_MONEY_SCALE})"
    if _PLAIN.fullmatch(type):
        return type
    raise ExportFailed(
        f"{column} is of type {type}, which readers of Parquet do not share: cast it in the model, to a text say"
    )


def first_line(error: duckdb.Error) -> str:
    return str(error).partition("\n")[0]


def _not_read(name: str, error: duckdb.Error) -> ExportFailed:
    way_out = "; cast it in the model, to a text say" if isinstance(error, _NO_FIT) else ""
    return ExportFailed(f"{name} cannot be exported: {first_line(error)}{way_out}. The target is as it was")


def parts_of(connection: duckdb.DuckDBPyConnection, table: SourceTable) -> list[Part]:
    """The parts that have rows; a table without days is one part, also without rows. Raises ExportFailed.

    The fingerprint is the sum of the rows' hashes: rows in another order are the same rows. Each value is hashed as it
    is written, so that what a reader would find changed is found here.
    """
    values = ", ".join(column.compared for column in table.columns)
    summed = [c for c in table.columns if _SUMMED.fullmatch(c.type) and not c.name.startswith("_")]
    none: dict[str, str | None] = dict.fromkeys(column.name for column in summed)
    if table.is_empty:  # every third table of most accounts
        return [] if table.has_days else [Part(None, 0, "0", none)]
    day = f"{DATE_COLUMN}::varchar" if table.has_days else "null"
    group = "group by all order by 1" if table.has_days else ""

    def found(summed: Sequence[SourceColumn]) -> list[Part]:
        sums = "".join(f", sum({column.written})::varchar" for column in summed)
        query = f"select {day}, count(*), coalesce(sum(hash({values})), 0)::varchar{sums} from {table.reads} {group}"
        return [
            Part(_day(table, of), rows, fingerprint, none | dict(zip((c.name for c in summed), sums, strict=True)))
            for of, rows, fingerprint, *sums in connection.execute(query).fetchall()
        ]

    try:
        try:
            return found(summed)
        except duckdb.OutOfRangeException:  # of 38 digits, say: the files are whole, and the manifest has no such sum
            return found([column for column in summed if not _is_wide(column)])
    except duckdb.Error as error:
        raise _not_read(table.full_name, error) from None


def _is_wide(column: SourceColumn) -> bool:
    """Whether a sum of it may have more digits than a type has."""
    digits = re.match(r"DECIMAL\((\d+)", column.type)
    return digits is not None and int(digits[1]) > _MOST_DIGITS_SUMMED


def _day(table: SourceTable, found: str | None) -> date | None:
    """Raises ExportFailed for one that no calendar of a reader has: `infinity`, before year 1 or after 9999."""
    try:
        return None if found is None else date.fromisoformat(found)
    except ValueError:
        raise ExportFailed(
            f"{table.full_name} has rows of the {DATE_COLUMN} {found}, and readers' days are of the years 1 to 9999:"
            " leave them out in the model"
        ) from None


def batches_of(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Days that are worth writing with one statement: many small ones cost a third less so, and large ones more."""
    batch: list[Part] = []
    for part in parts:
        if batch and sum(each.rows for each in batch) + part.rows > _ROWS_AT_ONCE:
            yield batch
            batch = []
        batch.append(part)
    if batch:
        yield batch


def write_parts(
    connection: duckdb.DuckDBPyConnection, table: SourceTable, parts: Sequence[Part], folder: Path
) -> list[Path]:
    """Write each part as one file below a folder that is not there yet; the files in the order of the parts.

    Raises ExportFailed, also if they lack rows.
    """
    folder.mkdir()
    selected = ", ".join(column.as_sql for column in table.columns)
    options, place, files = "", folder / "0.parquet", [folder / "0.parquet"]
    if len(parts) > 1:
        options, place = f", partition_by ({DATE_COLUMN}), write_partition_columns true", folder / "days"
        files = [place / Path(table.folder_of(part.day)).name / "data_0.parquet" for part in parts]
    try:
        ((rows,),) = connection.execute(
            f"copy (select {selected} from {table.reads} {_where(table, parts)})"
            f" to {quote(str(place))} (format parquet, compression zstd{options})"
        ).fetchall()
    except duckdb.Error as error:
        raise _not_read(table.full_name, error) from None
    expected = sum(part.rows for part in parts)
    if rows != expected or {*files} != {*folder.rglob("*.parquet")}:
        raise ExportFailed(f"{table.full_name} was written with {rows:,} rows of {expected:,}: run the export again")
    return files


def _where(table: SourceTable, parts: Sequence[Part]) -> str:
    if not table.has_days:
        return ""
    days = ", ".join(f"date '{part.day}'" for part in parts if part.day is not None)
    conditions = [f"{DATE_COLUMN} in ({days})"] if days else []
    conditions += [f"{DATE_COLUMN} is null" for part in parts if part.day is None]
    return f"where {' or '.join(conditions)}"


def published_head(connection: duckdb.DuckDBPyConnection) -> tuple[str, str]:
    """When the file was published (UTC), and by which run. Raises duckdb.Error for a file that was not published."""
    ((moment, run_id),) = connection.execute(f"select published_at, run_id from {PUBLICATION.name}").fetchall()
    return f"{moment.isoformat(timespec='seconds')}Z", run_id


def organizations_in(connection: duckdb.DuckDBPyConnection, tables: Sequence[SourceTable]) -> list[str]:
    """The organizations whose rows the file has, or that its settings name."""
    for table in tables:
        if (table.schema, table.name) == ("main", "accounts"):
            query = (
                f"select id from (select distinct unnest(organization_ids) as id from {table.reads})"
                " where id is not null order by id"
            )
            return [id for (id,) in connection.execute(query).fetchall()]
    return []
