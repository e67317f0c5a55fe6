"""A home of the warehouse without a file, a path or a lock: what needs no more of it works with any."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import duckdb

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.warehouse.home import Description, Obstacle
from soundlink_pipeline.warehouse.tables import schema_statements


class MemoryHome:
    """A home without a file, a path or a lock."""

    exports: tuple[Export, ...] = EXPORTS

    def __init__(self) -> None:
        self._database = duckdb.connect(":memory:")
        self._database.execute("set global TimeZone = 'UTC'")
        self._written = False

    def describe(self) -> Description:
        return Description("memory", "this process", 0)

    def exists(self) -> bool:
        return self._written

    @contextmanager
    def read(self, wait_seconds: float | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        assert self._written
        with self._database.cursor() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._database.cursor() as connection:
            if not self._written:
                for statement in schema_statements(self.exports):
                    connection.execute(statement)
            self._written = True
            yield connection

    def prepare(self) -> list[str]:
        return []

    def pending(self, connection: duckdb.DuckDBPyConnection) -> list[str]:
        return []

    def turn(self) -> AbstractContextManager[None]:
        return nullcontext()

    def obstacle(self, wait_seconds: float) -> Obstacle | None:
        return None

    @contextmanager
    def closed_file(self, before: Callable[[duckdb.DuckDBPyConnection], None] = lambda _: None) -> Iterator[MemoryCopy]:
        with self.write() as connection:
            before(connection)
        yield MemoryCopy(self._database)

    def turn_covers(self, target: Path) -> bool:
        return True

    def is_kept_in(self, file: Path) -> bool:
        return False


class MemoryCopy:
    """Tables and views of a database in memory, to be copied by SQL."""

    bytes = 1 << 20
    mode = 0o640

    def __init__(self, database: duckdb.DuckDBPyConnection) -> None:
        self._database = database

    def copy_to(self, target: Path) -> None:
        target.unlink()
        with self._database.cursor() as connection:
            connection.execute(f"attach '{target}' as copied")
            connection.execute("copy from database memory to copied")
            connection.execute("detach copied")
