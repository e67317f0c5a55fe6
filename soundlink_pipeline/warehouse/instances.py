"""Opens database files, each for a moment, in a DuckDB instance that is kept from one file to the next.

Making an instance takes a hundredth of a second of processor time, even one without a file; attaching a file to one
that is there takes a twentieth of that (`findings/duckdb-open-or-attach.sh`).

A process must not open and close a file that it has open already: closing drops every lock that the process has on it
(POSIX), DuckDB's too, and other processes could write to it. Hence a file that is open here is shared, never opened
again; nothing else in the process may open the warehouse.
"""

from __future__ import annotations

import atexit
import glob
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from soundlink_pipeline.warehouse.sql import is_locked, quote

# New files only. What clients of DuckDB 1.5 can open; 2.0's own format shuts them out.
_STORAGE_VERSION = "v1.5.0"
# DuckDB scans a table with a thread per row group (122,880 rows), and a file of this size has tables of one or two.
# More threads only wait for one another, which is a tenth of a refresh's processor time.
_BYTES_PER_THREAD = 64 << 20
# What no file can be attached as.
_RESERVED = ("main", "memory", "system", "temp")


class FileInUse(duckdb.Error):
    """This very process has the file open: for writing, or for reading while it was to be written to."""


@dataclass
class _OpenFile:
    """A file that is open in this process: attached as `name` to an instance that has no other."""

    instance: duckdb.DuckDBPyConnection
    name: str
    read_only: bool
    users: int = 0
    sound: bool = True

    def connect(self) -> duckdb.DuckDBPyConnection:
        connection = self.instance.cursor()
        connection.execute(f"use {self.name}")
        self.users += 1
        return connection


# Held while a file is opened and closed: what happens to one in between must not be seen.
_turn = threading.RLock()
_open: dict[str, _OpenFile] = {}
_idle: list[duckdb.DuckDBPyConnection] = []  # one at most
_default_threads: list[int] = []  # DuckDB's own, which knows what a container may use; looked up once


@contextmanager
def opened(
    path: Path, *, read_only: bool = False, temporary: Path | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a database file, made where it is missing unless `read_only`; the database bears the file's stem.

    Larger-than-memory work goes to the folder `temporary`; threads are as many as the file's size is worth. The file is
    closed, and its write-ahead log in it, when its last connection of this process is. What a user sets of
    `memory_limit` and `threads` holds until then.
    Raises FileInUse, and duckdb.Error for a file that is locked by another process, damaged or missing.
    """
    key = os.path.realpath(path)
    with _turn:
        file = _open.get(key)
        if file is None:
            file = _attach(key, _database_name(path), read_only, temporary)
            _open[key] = file
        elif file.read_only is not read_only:
            raise FileInUse(f"{path} is open in this very process")
        connection = file.connect()
    try:
        yield connection
    except BaseException:
        file.sound = False
        raise
    finally:
        with _turn:
            connection.close()
            file.users -= 1
            if not file.users:
                del _open[key]
                _give_back(file)


@contextmanager
def in_memory() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to an empty database without a file."""
    with _turn:
        file = _attach(":memory:", "empty", False, None)
        connection = file.connect()
    try:
        yield connection
    except BaseException:
        file.sound = False
        raise
    finally:
        with _turn:
            connection.close()
            _give_back(file)


def _attach(database: str, name: str, read_only: bool, temporary: Path | None) -> _OpenFile:
    instance = _idle.pop() if _idle else _new_instance()
    try:
        threads = _threads(instance, database)
        instance.execute(f"set threads = {threads}; set temp_directory = {quote(str(temporary) if temporary else '')}")
        instance.execute(f"attach {quote(database)} as {name} (type duckdb{', read_only' if read_only else ''})")
    except duckdb.Error as error:
        if is_locked(error):
            _idle[:] = [instance]  # sound, and soon asked for again
        else:
            instance.close()
        if "Unique file handle conflict" in str(error):
            raise FileInUse(str(error)) from None
        raise
    return _OpenFile(instance, name, read_only)


def _give_back(file: _OpenFile) -> None:
    """Keep the instance as a new one would be; after any error, or where it cannot be, end it."""
    if file.sound and not _idle:
        with suppress(duckdb.Error):
            file.instance.execute(f"detach {file.name}")
            # Refused once there was something in it: then the folder goes with the instance.
            file.instance.execute("reset memory_limit; set temp_directory = ''")
            attached = "select count(*) from duckdb_databases() where not internal"
            if file.instance.execute(attached).fetchall() == [(1,)]:  # its own, which is empty
                _idle.append(file.instance)
                return
    file.instance.close()


def _threads(instance: duckdb.DuckDBPyConnection, database: str) -> int:
    """How many are of use for a database file of this size; one for a file that is not there yet."""
    if not _default_threads:
        _default_threads.extend(instance.execute("select current_setting('threads')").fetchone() or ())
    try:
        size = Path(database).stat().st_size
    except OSError:
        size = 0
    return min(*_default_threads, 1 + size // _BYTES_PER_THREAD)


def _new_instance() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:", config={"storage_compatibility_version": _STORAGE_VERSION})


def _database_name(path: Path) -> str:
    """As an SQL identifier."""
    name = path.stem if path.stem.lower() not in _RESERVED else f"{path.stem}_"
    return '"' + name.replace('"', '""') + '"'


def _drop_idle() -> None:
    with _turn:
        while _idle:
            _idle.pop().close()


def _forget_all() -> None:
    """In a forked child: an instance's threads are the parent's."""
    global _turn  # noqa: PLW0603
    _turn = threading.RLock()
    _open.clear()


atexit.register(_drop_idle)
os.register_at_fork(before=_drop_idle, after_in_child=_forget_all)


def write_ahead_logs(database: Path) -> list[Path]:
    """DuckDB's logs beside a database: `.wal`, and while it makes a checkpoint `.wal.checkpoint`, `.wal.recovery`."""
    return list(database.parent.glob(f"{glob.escape(database.name)}.wal*"))
