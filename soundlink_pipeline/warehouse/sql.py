"""One transaction: all of it is kept, or nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import duckdb


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
