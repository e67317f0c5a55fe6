"""Reads one file into a database of its own, so that no fault of it, and no size, touches the warehouse.

Of a CSV file every row counts, not a sample: all values are read as text first, and a column gets the narrowest type
that holds each of them as it stands. A text such as 007 stays one, since a number would lose its zeros.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

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
_FIRST_ROWS = 1000
_SHOWN = 120
_WHOLE = "-?(0|[1-9][0-9]*)"
_DECIMAL = rf"{_WHOLE}([.][0-9]+)?"
# Year 0000 is one before Christ, and 24:00 is the next day: as dates they would be shown as others than are written.
_DATE = "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-[0-9]{2}-[0-9]{2}"
_TIME = f"{_DATE}[ T]([01][0-9]|2[0-3]):[0-9]{{2}}(:[0-9]{{2}}([.][0-9]{{1,6}})?)?"
# SQL: what a text may be, and the digits of a number before and after its point. ! stands for the column.
_KINDS = {
    "whole": f"regexp_full_match(!, {quote(_WHOLE)})",
    "number": f"regexp_full_match(!, {quote(_DECIMAL)})",
    "truth": "lower(!) in ('true', 'false')",
    "date": f"regexp_full_match(!, {quote(_DATE)}) and try_cast(! as date) is not null",
    "time": f"regexp_full_match(!, {quote(_TIME)}) and try_cast(! as timestamp) is not null",
}
_LENGTHS = ["length(split_part(ltrim(!, '-'), '.', 1))", "length(split_part(!, '.', 2))"]


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
    """The type of each column, by all of its values; of a column without any value VARCHAR.

    What the first rows are not no column can be, so all rows are asked only about the rest: most are texts.
    """
    kinds = {name: list(_KINDS) for name in names}
    first_rows = f"(from {TEXT} limit {_FIRST_ROWS})"
    for rows in (first_rows, TEXT):
        asked = {name: [_KINDS[kind] for kind in kinds[name]] for name in names if kinds[name]}
        for name, answers in _asked(connection, rows, "bool_and", asked).items():
            # Of first rows without a value nothing is known yet; a column without any is a text.
            unknown = rows is first_rows
            kinds[name] = [
                kind for kind, fits in zip(kinds[name], answers, strict=True) if fits or (fits is None and unknown)
            ]
    digits = _asked(connection, TEXT, "max", {name: _LENGTHS for name in names if "number" in kinds[name]})
    return {name: _type(kinds[name], *digits.get(name, (0, 0))) for name in names}


def _asked(
    connection: duckdb.DuckDBPyConnection, rows: str, aggregate: str, asked: dict[str, list[str]]
) -> dict[str, list[Any]]:
    """Of each column the aggregates over `rows` of what is asked about its values."""
    found: dict[str, list[Any]] = {}
    for start in range(0, len(asked), _ASKED_AT_ONCE):
        names = list(asked)[start : start + _ASKED_AT_ONCE]
        lists = []
        for name in names:
            column = quote_name(name)
            values = (f"{aggregate}({of.replace('!', column)}) filter ({column} is not null)" for of in asked[name])
            lists.append(f"[{', '.join(values)}]")
        (answers,) = connection.execute(f"select {', '.join(lists)} from {rows}").fetchall()
        found |= zip(names, answers, strict=True)
    return found


def _type(kinds: list[str], digits: int, decimals: int) -> str:
    if "whole" in kinds and digits <= 18:
        return "BIGINT"
    if "number" in kinds and "whole" not in kinds and digits + decimals <= 38:
        return f"DECIMAL({18 if digits + decimals <= 18 else 38}, {decimals})"
    for kind, type_name in (("truth", "BOOLEAN"), ("date", "DATE"), ("time", "TIMESTAMP")):
        if kind in kinds:
            return type_name
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
