"""What the SQL of all rooms shares: transactions, literals, values, and what DuckDB's errors are about."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import duckdb

from soundlink_pipeline.contracts.account import HIDDEN_KEY, KEY_IN_TEXT

# DuckDB raises these as errors of several kinds; only the text tells.
_CANNOT_WRITE = ("Could not write", "No space left on device", "Disk quota exceeded", "Read-only file system")
_DAMAGED = ("Corrupt database file", "not a valid DuckDB database file", "Could not read enough bytes")


@contextlib.contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit at the end, roll back and raise on any error, a cancel too."""
    connection.execute("begin")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        # A commit that fails, as on a full disk, has ended the transaction itself; what it says must not be hidden.
        with contextlib.suppress(duckdb.Error):
            connection.execute("rollback")
        raise


def quote(text: str) -> str:
    """`text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def without_keys(text: str) -> str:
    """SQL: `text` without anything that looks like a key of the API; what was JSON still is.

    An answer may say the key back in a field that no contract describes.
    """
    return f"regexp_replace({text}, {quote(KEY_IN_TEXT)}, {quote(HIDDEN_KEY)}, 'g')"


def quote_name(name: str) -> str:
    """A name as SQL has to write it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def insert_rows(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Sequence[object]]) -> None:
    """Insert all rows, one at least, with one statement: each of its own costs a millisecond."""
    places = ", ".join(f"({', '.join('?' * len(row))})" for row in rows)
    connection.execute(f"insert into {table} values {places}", [value for row in rows for value in row])


def naive(moment: datetime) -> datetime:
    """An aware moment as a TIMESTAMP keeps it: in UTC, without saying so."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def cannot_write(error: duckdb.Error) -> bool:
    """Whether the disk is to blame: full, or not to be written to."""
    return any(words in str(error) for words in _CANNOT_WRITE)


def is_damaged(error: duckdb.Error) -> bool:
    """Whether the database file is to blame. DuckDB reads its blocks when it needs them: any statement may show it."""
    return any(words in str(error) for words in _DAMAGED)


def is_of_the_file(error: duckdb.Error) -> bool:
    """Whether the file or its disk is to blame, and no statement: the warehouse's own error says what to do."""
    return cannot_write(error) or is_damaged(error)


def is_of_the_engine(error: Exception) -> bool:
    """Whether DuckDB failed. Where the file is to blame, its home has raised an error of its own."""
    return isinstance(error, duckdb.Error)


def is_locked(error: duckdb.Error) -> bool:
    """Whether another process has the file open in a way that shuts this one out."""
    return "Could not set lock" in str(error)
