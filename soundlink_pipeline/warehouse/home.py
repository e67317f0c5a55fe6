"""A home of the warehouse: where its tables are kept, and what every such place offers.

`native_file.NativeFile` is the one there is. A second one (a catalog with an object store) needs no more than `Home`,
and `Publishable` to be published: nobody outside this room knows of paths, locks, log files or the database's error
texts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb

from soundlink_pipeline.contracts.schema import Export


class WarehouseLocked(Exception):
    """Another process has the warehouse open; the message says which."""


class WarehouseUnusable(Exception):
    """The warehouse cannot be opened, read or written; the message says why and what to do."""


@dataclass(frozen=True)
class Description:
    """A home in words: a short `name`, `where` it is, and how many bytes a copy takes (0 before the first run)."""

    name: str
    where: str
    bytes: int


@dataclass(frozen=True)
class Obstacle:
    """What keeps a run from writing to a warehouse that can be read, and what to do about it."""

    reason: str
    fix: str


class Home(Protocol):
    """A place that keeps the tables of `exports`. It holds no connection: `read` and `write` open one each.

    Opening is the expensive part, and shuts others out: ask all questions of a phase over one connection (`Ledger`),
    and hold none while waiting for the API.
    """

    @property
    def exports(self) -> tuple[Export, ...]: ...

    def describe(self) -> Description: ...

    def exists(self) -> bool:
        """Whether anything was ever written: only then can it be read."""
        ...

    def prepare(self) -> list[str]:
        """Bring tables that exist to the present contract before a run's first request; what changed, in words.

        Raises WarehouseUnusable with what to do if that cannot be done without loss; WarehouseLocked.
        """
        ...

    def pending(self, connection: duckdb.DuckDBPyConnection) -> list[str]:
        """What `prepare` would change, in words. Raises WarehouseUnusable if it could not."""
        ...

    def read(self, wait_seconds: float | None = None) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A read-only connection, in UTC. Raises WarehouseLocked after `wait_seconds`, WarehouseUnusable."""
        ...

    def write(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """The one connection that may write, in UTC; every table exists. Raises WarehouseLocked, WarehouseUnusable."""
        ...

    def turn(self) -> AbstractContextManager[None]:
        """The writer's turn without a connection; `write` may be used within it. Raises WarehouseLocked."""
        ...

    def obstacle(self, wait_seconds: float) -> Obstacle | None:
        """What would keep a run from writing, looked for during `wait_seconds` at most. Writes nothing."""
        ...


class Copyable(Protocol):
    """The warehouse while nobody writes to it: all that was committed is in it."""

    @property
    def bytes(self) -> int:
        """How much room a copy needs."""
        ...

    @property
    def mode(self) -> int:
        """Who may read the warehouse: permissions, as `chmod` takes them."""
        ...

    def copy_to(self, target: Path) -> None:
        """Make `target`, which is empty, a DuckDB file with the same tables and views. Raises WarehouseLocked."""
        ...


class Publishable(Home, Protocol):
    """A home that a file for analysts can be made from."""

    def closed_file(
        self, before: Callable[[duckdb.DuckDBPyConnection], None] = lambda _: None
    ) -> AbstractContextManager[Copyable]:
        """The writer's turn with no connection open: what can be copied. No connection may be opened within the block.

        `before` gets the last connection before that, and may raise to prevent it all. Raises WarehouseLocked,
        WarehouseUnusable.
        """
        ...

    def turn_covers(self, target: Path) -> bool:
        """Whether its turn keeps two processes apart that replace the file `target`, which is none of its own."""
        ...

    def is_kept_in(self, file: Path) -> bool:
        """Whether that file, by its real path, holds its tables."""
        ...
