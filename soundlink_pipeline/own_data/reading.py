"""Reads one file into a database of its own, so that no fault of it, and no size, touches the warehouse.

Of a CSV file every row counts, not a sample: all values are read as text first, and a column gets the narrowest type
that holds each of them as it stands. A text such as 007 stays one, since a number would lose its zeros.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import duckdb

from soundlink_pipeline.own_data.folder import LARGEST_BYTES
from soundlink_pipeline.warehouse.sql import quote, quote_name

# The tables of the database that a file is read into: as text (of CSV) or as it is, and with its types.
TEXT, TYPED = "as_text", "typed"
# What a file may take of memory while it is read; the rest goes to disk.
_MEMORY_LIMIT = "512MiB"
_SEPARATORS = ",;\t|"
_LONGEST_HEADER = 1 << 20
_MOST_COLUMNS = 1000
# Columns that one query asks about: with all of a thousand it takes minutes to plan.
_ASKED_AT_ONCE = 10
_SHOWN = 120
_WHOLE = "-?(0|[1-9][0-9]*)"
_DECIMAL = rf"{_WHOLE}([.][0-9]+)?"
# Year 0000 is one before Christ, and 24:00 is the next day: as dates they would be shown as others than are written.
_DATE = "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-[0-9]{2}-[0-9]{2}"
_TIME = f"{_DATE}[ T]([01][0-9]|2[0-3]):[0-9]{{2}}(:[0-9]{{2}}([.][0-9]{{1,6}})?)?"


class Unreadable(Exception):
    """A file cannot become a table; the message says where and why."""


def read_into(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the tables `TEXT` and `TYPED` of a file, in an empty database. Raises Unreadable, duckdb.Error."""
    connection.execute(f"set memory_limit = {quote(_MEMORY_LIMIT)}")
    if path.suffix.lower() == ".csv":
        _read_csv(connection, path)
    else:
        _read_parquet(connection, path)


def _read_csv(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    separator, names = _header(path)
    columns = ", ".join(f"{quote(name)}: 'VARCHAR'" for name in names)
    # Nothing is guessed: a guess may pass over a line, or take # for a comment.
    options = (
        f"columns = {{{columns}}}, auto_detect = false, header = true, delim = {quote(separator)}, quote = '\"',"
        " escape = '\"', comment = '', strict_mode = true, null_padding = false"
    )
    try:
        connection.execute(f"create table {TEXT} as from read_csv({quote(str(path))}, {options})")
    except duckdb.InvalidInputException as error:
        raise Unreadable(_reason(_said(error, path))) from error
    typed = ", ".join(
        f"{quote_name(name)}::{kind} as {quote_name(name)}" for name, kind in _types(connection, names).items()
    )
    connection.execute(f"create table {TYPED} as select {typed} from {TEXT}")


def _header(path: Path) -> tuple[str, list[str]]:
    """The separator, which is the one that the first line has most often, and the columns' names."""
    with path.open("rb") as file:
        start = re.split(rb"[\r\n]", file.read(_LONGEST_HEADER), maxsplit=1)[0]
    try:
        first = start.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("line 1: it is not UTF-8: save it as CSV UTF-8") from None
    separator = max(_SEPARATORS, key=first.count)
    try:
        names = next(csv.reader([first], delimiter=separator, strict=True), [])
    except csv.Error as error:
        raise Unreadable(f"line 1: {error}") from None
    if len(start) == _LONGEST_HEADER or len(names) > _MOST_COLUMNS:
        raise Unreadable(f"line 1 is no line of column names: over {_MOST_COLUMNS} of them, or too long")
    if not all(name.strip() for name in names) or not names or "\0" in first:
        raise Unreadable("line 1: a column has no name")
    if fault := _taken_name(names):
        raise Unreadable(f"line 1: {fault}")
    if twice := _twice(names):
        raise Unreadable(f"line 1: two columns have the name {_shown(twice)}")
    return separator, names


def _taken_name(names: list[str]) -> str | None:
    return "no column can have the name rowid, which is DuckDB's own" if "rowid" in map(str.lower, names) else None


def _twice(names: list[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            return name
        seen.add(name.lower())
    return None


def _reason(message: str) -> str:
    """The line, and what is wrong with it, of what DuckDB says about a CSV file."""
    line = re.search(r"CSV Error on Line: (\d+)", message)
    where = f"line {line[1]}: " if line else ""
    if found := re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message):
        return f"{where}it has {found[2]} columns, and the first line names {found[1]}"
    if "unterminated quote" in message:
        return f"{where}a quote is not closed, or text follows it"
    if "not utf-8" in message:
        return f"{where}it is not UTF-8: save it as CSV UTF-8"
    if "Maximum line size" in message:
        return f"{where}it is too long"
    if "invalid state" in message:
        return "its lines end in different ways (CRLF and LF), or it is no CSV"
    return f"{where}{_shown(message)}"


def _types(connection: duckdb.DuckDBPyConnection, names: list[str]) -> dict[str, str]:
    """The type of each column, by all of its values; of a column without any value VARCHAR."""
    facts = []
    for start in range(0, len(names), _ASKED_AT_ONCE):
        asked = ", ".join(_facts(quote_name(name)) for name in names[start : start + _ASKED_AT_ONCE])
        ((*found,),) = connection.execute(f"select {asked} from {TEXT}").fetchall()
        facts += found
    return {name: _type(**found) for name, found in zip(names, facts, strict=True)}


def _facts(column: str) -> str:
    """SQL: what `_type` asks about a column's values, as a struct."""

    def every(condition: str) -> str:
        return f"coalesce(bool_and({condition}), false)"

    def matches(pattern: str) -> str:
        return every(f"regexp_full_match({column}, {quote(pattern)})")

    of_date = every(f"regexp_full_match({column}, {quote(_DATE)}) and try_cast({column} as date) is not null")
    of_time = every(f"regexp_full_match({column}, {quote(_TIME)}) and try_cast({column} as timestamp) is not null")
    truth = every(f"lower({column}) in ('true', 'false')")
    digits = f"coalesce(max(length(split_part(ltrim({column}, '-'), '.', 1))), 0)"
    decimals = f"coalesce(max(length(split_part({column}, '.', 2))), 0)"
    return (
        f"struct_pack(whole := {matches(_WHOLE)}, number := {matches(_DECIMAL)}, date := {of_date}, time := {of_time},"
        f" truth := {truth}, digits := {digits}, decimals := {decimals})"
    )


def _type(*, whole: bool, number: bool, date: bool, time: bool, truth: bool, digits: int, decimals: int) -> str:
    if whole and digits <= 18:
        return "BIGINT"
    if number and not whole and digits + decimals <= 38:
        return f"DECIMAL({18 if digits + decimals <= 18 else 38}, {decimals})"
    for fits, kind in ((truth, "BOOLEAN"), (date, "DATE"), (time, "TIMESTAMP")):
        if fits:
            return kind
    return "VARCHAR"


def _read_parquet(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    try:
        ((size,),) = connection.execute(
            f"select sum(total_uncompressed_size) from parquet_metadata({quote(str(path))})"
        ).fetchall()
        if size and size > LARGEST_BYTES:
            raise Unreadable(f"it has {size / 1e6:,.0f} MB uncompressed, and {LARGEST_BYTES / 1e6:,.0f} are the most")
        connection.execute(f"create table {TYPED} as from read_parquet({quote(str(path))}, hive_partitioning = false)")
    except duckdb.Error as error:
        raise Unreadable(f"it cannot be read as Parquet: {_shown(_said(error, path))}") from error
    names = [name for name, *_ in connection.execute(f"describe {TYPED}").fetchall()]
    if fault := _taken_name(names):
        raise Unreadable(fault)
    texts = ", ".join(f"{quote_name(name)}::varchar as {quote_name(name)}" for name in names)
    connection.execute(f"create view {TEXT} as select rowid, {texts} from {TYPED}")


def _said(error: Exception, path: Path) -> str:
    """What DuckDB says, with the file's name and not its folder: everybody who has the published file reads it."""
    return str(error).replace(str(path), path.name)


def _shown(text: str) -> str:
    """On one line, and no more than a reader wants of it."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
