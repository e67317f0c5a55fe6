"""The native home: one DuckDB file, `warehouse.duckdb`; one process writes to it, or many read.

DuckDB turns the other side away at once. So every use is short (open, one transaction, close), and waits its turn:
behind a lock file of our own, and then for DuckDB's lock with jitter.
"""

from __future__ import annotations

import contextlib
import fcntl
import random
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb
from filelock import FileLock, Timeout

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.typed import rebuilding, typed
from soundlink_pipeline.warehouse.home import Description, Obstacle, WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.warehouse.instances import FileInUse, opened, write_ahead_logs
from soundlink_pipeline.warehouse.migration import MigrationRefused, migrate, plan
from soundlink_pipeline.warehouse.sql import cannot_write, is_damaged, is_locked
from soundlink_pipeline.warehouse.stored_contract import declared_contract, stored_fingerprint

_WAIT_SECONDS = 120.0


@dataclass(frozen=True)
class ClosedFile:
    """The warehouse's file while none of our connections is open: all that was committed is in it."""

    path: Path

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size

    @property
    def mode(self) -> int:
        """Its permissions, as `chmod` takes them."""
        return stat.S_IMODE(self.path.stat().st_mode)

    def copy_to(self, target: Path) -> None:
        """Copy the bytes while nobody can write to them. Raises WarehouseLocked where another program is writing."""
        with self.path.open("rb") as file:
            try:
                # The lock DuckDB itself takes: readers may come, a program that is not ours may not write meanwhile.
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                undisturbed = not write_ahead_logs(self.path)
            except (BlockingIOError, PermissionError):
                undisturbed = False
            if not undisturbed:
                raise WarehouseLocked(
                    f"{self.path} was opened for writing by another program just as it was to be published: close it"
                    " there and run again; nothing was lost"
                )
            shutil.copyfile(self.path, target)


class NativeFile:
    """The `Publishable` home that is the file `warehouse.duckdb` below `data_dir`."""

    def __init__(
        self, data_dir: Path, *, exports: Sequence[Export] = EXPORTS, wait_seconds: float = _WAIT_SECONDS
    ) -> None:
        self.path = data_dir / "warehouse.duckdb"
        self.exports = tuple(exports)
        self._wait_seconds = wait_seconds
        self._turn = FileLock(self.path.with_suffix(".lock"))  # a thread that has it may take it again
        self._temporary = data_dir / "tmp"
        # What `prepare` spares itself the opening by.
        self._marker = self.path.with_suffix(".contract")

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The writer's turn with no connection open; `write` may be used within it. Raises WarehouseLocked."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._turn.acquire(timeout=self._wait_seconds)
        except Timeout:
            raise WarehouseLocked(
                f"{self.path} is being written by another run for over {self._wait_seconds:.0f} s"
            ) from None
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The one connection that may write; tables exist. Raises WarehouseLocked, WarehouseUnusable."""
        with self.turn():
            with self._connected(read_only=False) as connection:
                self._ensure_tables(connection)
                yield connection
            self._mark_prepared()

    def prepare(self) -> list[str]:
        """Bring a warehouse that exists to the present contract, before a run's first request.

        Opens it only if that may be needed. Returns what changed, in words. Raises WarehouseLocked, WarehouseUnusable.
        """
        if not self.exists() or self._is_prepared():
            return []
        with self.turn():
            with self._connected(read_only=False) as connection:
                changes = self._ensure_tables(connection)
            self._mark_prepared()
        return changes

    def pending(self, connection: duckdb.DuckDBPyConnection) -> list[str]:
        """What the next writer will change to reach the present contract. Raises WarehouseUnusable if it cannot."""
        if stored_fingerprint(connection) == self._fingerprint:
            return []
        with self._told():
            return plan(connection, self.exports).changes

    @contextmanager
    def read(self, wait_seconds: float | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection; the file must exist (`exists`). Raises WarehouseLocked, WarehouseUnusable.

        The tables may still be of an earlier contract; a query that fails for it raises WarehouseUnusable, too.
        """
        with self._connected(read_only=True, wait_seconds=wait_seconds) as connection:
            try:
                yield connection
            except (duckdb.CatalogException, duckdb.BinderException) as error:
                if stored_fingerprint(connection) in ("", self._fingerprint):
                    raise
                raise WarehouseUnusable(
                    f"{self.path} was made with another contract: the next run brings it to the present one"
                    f" ({typed('doctor')} says how). {error}"
                ) from error

    def exists(self) -> bool:
        return self.path.exists()

    def describe(self) -> Description:
        return Description(self.path.name, str(self.path), self.path.stat().st_size if self.exists() else 0)

    def obstacle(self, wait_seconds: float) -> Obstacle | None:
        try:
            if self._comes_free(wait_seconds):
                return None
            return Obstacle(
                f"is open for reading in another program: a run waits {_WAIT_SECONDS:.0f} s for it, then fails",
                f"close it there (a notebook, a DuckDB shell, a BI tool? lsof {self.path} names it):"
                " soundlink.duckdb is for reading",
            )
        except PermissionError:
            return Obstacle(
                f"{self.path} cannot be written to (Permission denied)",
                "give the user that runs the pipeline the right to write to it",
            )

    def _comes_free(self, wait_seconds: float) -> bool:
        """Whether nobody has the file open within a while: by taking the lock that DuckDB takes, and giving it back."""
        deadline = time.monotonic() + wait_seconds
        with self.path.open("r+b") as file:
            while True:
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        return False
                    time.sleep(0.1)
                else:
                    return True

    @contextmanager
    def closed_file(self, before: Callable[[duckdb.DuckDBPyConnection], None] = lambda _: None) -> Iterator[ClosedFile]:
        """The writer's turn with the file closed and its write-ahead log in it: what can be copied byte by byte.

        No connection may be opened within the block: opening and closing a file drops every lock that this process has
        on it (POSIX), DuckDB's too. `before` gets the connection that closes the file, and may raise to prevent it all.
        Raises WarehouseLocked, WarehouseUnusable.
        """
        with self.turn():
            with self.write() as connection:
                before(connection)
                connection.execute("checkpoint")
            yield ClosedFile(self.path)

    def turn_covers(self, target: Path) -> bool:
        return target.parent.resolve() == self.path.parent.resolve() and target.name != self.path.name

    def is_kept_in(self, file: Path) -> bool:
        return file == self.path.resolve()

    @contextmanager
    def _connected(self, *, read_only: bool, wait_seconds: float | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        with ExitStack() as closing:
            connection = self._connect(closing, read_only, self._wait_seconds if wait_seconds is None else wait_seconds)
            try:
                yield connection
            except duckdb.Error as error:
                # Damage and a full disk may show only now: DuckDB reads a file's blocks when it needs them.
                unusable = self._unusable(error)
                if unusable is None:
                    raise
                raise unusable from error

    def _connect(self, closing: ExitStack, read_only: bool, wait_seconds: float) -> duckdb.DuckDBPyConnection:
        """A connection that `closing` ends."""
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                connection = closing.enter_context(opened(self.path, read_only=read_only, temporary=self._temporary))
            except duckdb.Error as error:
                who = _holder(error)
                if who is None:
                    raise (
                        self._unusable(error) or WarehouseUnusable(f"{self.path} cannot be opened: {error}")
                    ) from None
                if time.monotonic() > deadline:
                    raise WarehouseLocked(
                        f"{self.path} is open in {who}: close it there (a notebook, a DuckDB shell, a BI tool?) and run"
                        " again; nothing was lost"
                    ) from None
                time.sleep(random.uniform(0.03, 0.15))  # noqa: S311
            else:
                connection.execute("set TimeZone = 'UTC'")
                return connection

    def _unusable(self, error: duckdb.Error) -> WarehouseUnusable | None:
        """What to do about an error that is the file's or the disk's; None for any other."""
        if is_damaged(error):
            return WarehouseUnusable(
                f"{self.path} is damaged: {error}. Move it away, with {self.path.name}.wal if there is one, and run"
                f" {rebuilding()}"
            )
        if isinstance(error, duckdb.ConstraintException):
            return WarehouseUnusable(
                f"{self.path} has a constraint that forbids these rows: {error}. The pipeline's own hold for rows that"
                " are checked already, so it is an analyst's: take it from the column (alter table … alter … drop not"
                " null), or drop the index, and run again; of this transaction nothing was kept"
            )
        if cannot_write(error):
            return WarehouseUnusable(
                f"{self.path} cannot be written, is the disk full? {error}. Free space and run again; what was"
                " committed before is safe, of this transaction nothing was kept"
            )
        return None

    @cached_property
    def _fingerprint(self) -> str:
        return declared_contract(self.exports).fingerprint

    def _ensure_tables(self, connection: duckdb.DuckDBPyConnection) -> list[str]:
        """Bring the tables to the present contract; what that changed, in words."""
        if stored_fingerprint(connection) == self._fingerprint:
            return []
        with self._told():
            return migrate(connection, self.exports)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say of which file a refusal is, and what to do."""
        try:
            yield
        except MigrationRefused as refused:
            fix = ". ".join(refused.fixes) or (
                f"Move it away, with {self.path.name}.wal if there is one, and run {rebuilding()}: it"
                " loads the landed deliveries again, without a request"
            )
            raise WarehouseUnusable(
                f"{self.path} cannot be brought to the present contract, and nothing was changed: {refused}. {fix}"
            ) from None

    def _mark(self) -> str:
        """Tells the file as it is, with this contract, from any other."""
        file = self.path.stat()
        return f"{self._fingerprint} {file.st_size} {file.st_mtime_ns}"

    def _mark_prepared(self) -> None:
        if not self._is_prepared():
            with contextlib.suppress(OSError):  # then the next run looks again
                self._marker.parent.mkdir(exist_ok=True)
                self._marker.write_text(self._mark(), encoding="utf-8")

    def _is_prepared(self) -> bool:
        try:
            return self._marker.read_text(encoding="utf-8") == self._mark()
        except (OSError, ValueError):
            return False


def _holder(error: duckdb.Error) -> str | None:
    """Who holds the file that could not be opened; None if that is not why."""
    if is_locked(error):
        process = re.search(r"\(PID (\d+)\)", str(error))
        return f"process {process[1]}" if process else "another process"
    # Within one process a file is open for reading or for writing, not both.
    return "this very process" if isinstance(error, FileInUse) else None
