"""Brings the tables of schema `own` to the files as they are, within the pipeline's own connection.

A file whose size and time are those of its last reading is not read again. Each other one is read into a database of
its own first (`reading.py`), and then put in the place of its table in one transaction: a table is of one state of a
file, whole. Where that fails, the table that was there stays. A file that is no more takes its table with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from soundlink_pipeline.own_data.folder import FoundFile, found_files, version_of
from soundlink_pipeline.own_data.reading import TYPED, Unreadable, read_into
from soundlink_pipeline.own_data.statements import check_sums, is_statement, statement_rows
from soundlink_pipeline.warehouse.instances import opened, write_ahead_logs
from soundlink_pipeline.warehouse.own_tables import OWN_FILES, OWN_SCHEMA, STATEMENTS
from soundlink_pipeline.warehouse.sql import naive, quote, quote_name, transaction

_STAGED, _STATEMENT = "own_file", "statement"
_PREFIX = "own-"  # of the databases that files are read into
_LONGEST_PROBLEM = 300
# A table may take more room than its file, and is there twice: in the warehouse and in its copy.
_ROOM = 4
# What the copy may grow by while it is finished.
_SPARE_BYTES = 32 << 20


@dataclass(frozen=True)
class OwnFile:
    """What became of a file. `table` and `rows` are None if it never became a table; `problem` if there is none."""

    file: str
    table: str | None
    rows: int | None
    problem: str | None


def load_own_files(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    temporary: Path,
    *,
    now: datetime,
    statements_changed: Callable[[], None],
) -> list[OwnFile]:
    """Read what has changed in `folder`; what became of every file, by name.

    `temporary` is a folder for what is read; `statements_changed` is called within the transaction that changes the
    rows of statements. The caller has the writer's turn. No file's fault is raised. Raises duckdb.Error where the
    warehouse itself is to blame.
    """
    try:
        found = found_files(folder, now)
    except OSError as error:  # which files there are is not known: nothing goes
        return [OwnFile(folder.name, None, None, f"the folder cannot be read: {error.strerror}")]
    for left in temporary.glob(f"{_PREFIX}*"):  # by a process that was killed: nobody else is at work here now
        with contextlib.suppress(OSError):
            left.unlink()
    _forget_removed(connection, {file.name for file in found}, statements_changed)
    for file in found:
        try:
            problem = _loaded(connection, file, temporary, now, statements_changed)
        except (Unreadable, OSError, ValueError, OverflowError, duckdb.Error) as error:
            problem = _in_short(error)
        _note(connection, file, problem)  # fails where the warehouse itself cannot be written
    kept = connection.execute(f"select file, table_name, rows, problem from {OWN_FILES.name} order by file")
    return [OwnFile(*row) for row in kept.fetchall()]


def _loaded(
    connection: duckdb.DuckDBPyConnection,
    file: FoundFile,
    temporary: Path,
    now: datetime,
    statements_changed: Callable[[], None],
) -> str | None:
    """Read a file unless it was read as it is; its problem. Raises Unreadable, OSError, duckdb.Error."""
    if file.problem:
        return file.problem
    version = file.version
    known = connection.execute(
        f"select 1 from {OWN_FILES.name} where file = ? and bytes = ? and modified_at = ?",
        [file.name, version.bytes, version.modified_at],
    ).fetchone()
    if known and _is_there(connection, file.table):
        return None
    if _is_there(connection, file.table) and not _is_ours(connection, file.table):
        return f"there is a table own.{file.table} already that was not made of a file: rename one"
    _check_room(connection, temporary, _ROOM * version.bytes, held=0)
    with _staged(file, temporary) as staged:
        if version_of(file.path) != version:
            return "it was written to while it was read: the next publication reads it"
        size = staged.stat().st_size
        _check_room(connection, temporary, 2 * size, held=size)
        connection.execute(f"attach {quote(str(staged))} as {_STAGED} (read_only)")
        try:
            with transaction(connection):
                _replace(connection, file, now)
                if is_statement(file.table):
                    _replace_statement(connection, file)
                    statements_changed()
        finally:
            connection.execute(f"detach {_STAGED}")
    return None


def _check_room(connection: duckdb.DuckDBPyConnection, temporary: Path, needed: int, *, held: int) -> None:
    """Raises Unreadable where a file that takes `needed` bytes would leave no room to publish the warehouse with it.

    `held` are bytes of those in use that will be free again.
    """
    temporary.mkdir(exist_ok=True)
    ((path,),) = connection.execute(
        "select path from duckdb_databases() where database_name = current_database()"
    ).fetchall()
    needed += (Path(path).stat().st_size if path else 0) + _SPARE_BYTES
    free = shutil.disk_usage(temporary).free + held
    if free < needed:
        raise Unreadable(
            f"there is no room for it: {free / 1e6:,.0f} MB are free, and {needed / 1e6:,.0f} MB are needed to read it"
            " and to publish"
        )


@contextlib.contextmanager
def _staged(file: FoundFile, temporary: Path) -> Iterator[Path]:
    """A database with the file's rows as tables. Raises Unreadable, OSError."""
    staged = temporary / f"{_PREFIX}{os.urandom(4).hex()}.duckdb"
    try:
        try:
            with opened(staged, temporary=temporary) as reading:
                read_into(reading, file.path)
                if is_statement(file.table):
                    reading.execute(f"create table {_STATEMENT} as {statement_rows(reading)}")
        except duckdb.Error as error:
            raise Unreadable(_in_short(error)) from error
        yield staged
    finally:
        for left in (staged, *write_ahead_logs(staged)):
            left.unlink(missing_ok=True)


def _in_short(error: Exception) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:  # without the folder: everybody reads this
        text = f"{error.strerror}: {Path(os.fsdecode(error.filename)).name}" if error.filename else error.strerror
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_PROBLEM else f"{text[:_LONGEST_PROBLEM]}…"


def _replace(connection: duckdb.DuckDBPyConnection, file: FoundFile, now: datetime) -> None:
    """Put the rows that were read in the place of the file's table, within the caller's transaction."""
    relation = f"{quote_name(OWN_SCHEMA)}.{quote_name(file.table)}"
    connection.execute(f"create schema if not exists {quote_name(OWN_SCHEMA)}")
    connection.execute(f"create or replace table {relation} as from {_STAGED}.{TYPED}")
    connection.execute(f"comment on table {relation} is {quote(f'From the file own/{file.name}.')}")
    ((rows,),) = connection.execute(f"select count(*) from {relation}").fetchall()
    _forget(connection, file.name)
    connection.execute(
        f"insert into {OWN_FILES.name} values (?, ?, ?, ?, ?, ?, null)",
        [file.name, file.table, rows, file.version.bytes, file.version.modified_at, naive(now)],
    )


def _replace_statement(connection: duckdb.DuckDBPyConnection, file: FoundFile) -> None:
    """The same for the rows of a statement. Raises Unreadable."""
    name = quote(file.name)
    connection.execute(f"delete from {STATEMENTS.name} where file = {name}")
    connection.execute(
        f"insert into {STATEMENTS.name} by name select {name} as file, * from {_STAGED}.{_STATEMENT} order by row"
    )
    check_sums(connection)


def _note(connection: duckdb.DuckDBPyConnection, file: FoundFile, problem: str | None) -> None:
    """Keep what is wrong with a file, or that nothing is; the rest of its row is of its last reading."""
    name = file.name
    if not connection.execute(f"select 1 from {OWN_FILES.name} where file = ?", [name]).fetchone():
        connection.execute(f"insert into {OWN_FILES.name} (file) values (?)", [name])
    connection.execute(f"update {OWN_FILES.name} set problem = ? where file = ?", [problem, name])


def _forget_removed(
    connection: duckdb.DuckDBPyConnection, there: set[str], statements_changed: Callable[[], None]
) -> None:
    """Drop the tables of files that are no more."""
    known = connection.execute(f"select file, table_name from {OWN_FILES.name}").fetchall()
    for file, table in known:
        if file in there:
            continue
        with transaction(connection):
            if table:
                connection.execute(f"drop table if exists {quote_name(OWN_SCHEMA)}.{quote_name(table)}")
                if is_statement(table):
                    connection.execute(f"delete from {STATEMENTS.name} where file = ?", [file])
                    statements_changed()
            _forget(connection, file)


def _forget(connection: duckdb.DuckDBPyConnection, file: str) -> None:
    connection.execute(f"delete from {OWN_FILES.name} where file = ?", [file])


def _is_there(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Whether the warehouse has a table or view of this name in schema own."""
    query = (
        "select 1 from information_schema.tables where table_catalog = current_database() and table_schema = ?"
        " and lower(table_name) = ?"
    )
    return connection.execute(query, [OWN_SCHEMA, table]).fetchone() is not None


def _is_ours(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    return connection.execute(f"select 1 from {OWN_FILES.name} where table_name = ?", [table]).fetchone() is not None
