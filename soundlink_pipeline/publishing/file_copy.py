"""Publishes the warehouse: a consistent copy of it, a DuckDB file put in place of the last one in one step.

Analysts open the published file whenever and for as long as they like. A program that has the last one open continues
to read it; the next one to open the file sees the new one, complete. A crash at any moment leaves one of the two. For a
quarter of a second after each replacement the file is locked (`put_in_place` says why); `read_published` waits it out.

The bytes of `warehouse.duckdb` are copied, which is far faster than any way through SQL (`python -m
benchmarks.publishing`), while the pipeline holds the writer's turn and has no connection open: opening and closing a
file drops every lock that the same process has on it (POSIX), DuckDB's too.

Where the name is a symbolic link, the file it leads to is replaced, in that file's own folder. Who may read it is the
operator's to say: a new file gets the group and the read bits of the one it replaces.

The published file's mode is read-only. Opening it read-write would lock out every reader, and worse: all copies of one
warehouse have the same identifier, and DuckDB replays a write-ahead log into any file of that identifier and checkpoint
number. Writes of a privileged program to the last file could so appear in the new one, so a log found beside the file
is deleted. (A program that still has the last file open for writing may make another log after a checkpoint of its own;
until it closes, or until the next publication, readers then fail or see its writes.)
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from importlib.metadata import version
from pathlib import Path

import duckdb

from soundlink_pipeline.contracts.schema import DATE_COLUMN, VERSION_COLUMN, Export
from soundlink_pipeline.contracts.table import Column, Table
from soundlink_pipeline.durable import sync_path
from soundlink_pipeline.own_data.loading import OwnFile
from soundlink_pipeline.publishing.place import Access, BadLink, place_of
from soundlink_pipeline.warehouse.home import Copyable, Home, Publishable
from soundlink_pipeline.warehouse.instances import opened, write_ahead_logs
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.warehouse.sql import is_locked, naive, quote_name
from soundlink_pipeline.warehouse.tables import comments, create

# Rows of every table, sums and newest version of each export: by table and name of the figure.
Figures = dict[tuple[str, str], object]

# What the copy may grow by while it is finished: its catalog is written anew, and the table `publication`.
_SPARE_BYTES = 16 << 20

PUBLICATION = Table(
    name="publication",
    meaning="When and from what this file was published. Grain: one row.",
    columns=(
        Column("published_at", "TIMESTAMP", "When this file was published (UTC).", nullable=False),
        Column("run_id", "VARCHAR", "The Dagster run that published it.", nullable=False),
        Column("newest_report_date", "DATE", "The newest report_date with rows; null if there are none."),
        Column(
            "newest_settled_date",
            "DATE",
            "The newest report_date that is settled for every export, campaign and soundlink pulled; null if none is.",
        ),
        Column("pipeline_version", "VARCHAR", "Version of soundlink_pipeline that published it.", nullable=False),
        Column("duckdb_version", "VARCHAR", "Version of DuckDB that wrote it.", nullable=False),
    ),
)


class NotPublished(Exception):
    """Nothing was published; the message says why and what to do. The last published file is unchanged."""


# Longer than DuckDB needs between its second and its third opening of a file, on a busy machine too.
_OPENING_SECONDS = 0.25
_REPLACED_WITHIN_SECONDS = 2.0


@dataclass(frozen=True)
class Difference:
    """A figure that differs between the warehouse and the published file."""

    table: str
    figure: str
    warehouse: object
    published: object


@dataclass(frozen=True)
class Published:
    """A published file. `rows` per table: tables of schema `main` by name, others as `schema.table`.

    `differences` from the warehouse, by `compare`: none, unless another program wrote to one of the two. `lost_group`:
    the number of the last file's group, if this user may not give it to a file; its members cannot read this one.
    `own_files`: what became of each analyst's file, where they were read before (`gate.publish_tested`).
    """

    path: Path
    bytes: int
    seconds: float
    rows: dict[str, int]
    newest_report_date: date | None
    newest_settled_date: date | None
    differences: list[Difference]
    lost_group: int | None = None
    own_files: list[OwnFile] = field(default_factory=list)


def publish(
    warehouse: Publishable,
    target: Path,
    *,
    run_id: str,
    now: datetime,
    before: Callable[[duckdb.DuckDBPyConnection], None] = lambda _: None,
) -> Published:
    """Put a copy of the warehouse at `target`. `now` is aware.

    `before` gets the connection to the warehouse that is opened in any case; what it raises prevents the publication.
    `differences` are of what that connection sees: `warehouse.turn()` around the call excludes other runs' changes.
    Raises NotPublished, WarehouseLocked, WarehouseUnusable; ValueError for a target that the warehouse's turn does not
    cover, so that two publications would not be kept apart: of a file it covers those in its own folder.
    """
    if not warehouse.turn_covers(target):
        raise ValueError(f"{target} must lie beside {warehouse.describe().where}")
    started = time.monotonic()
    try:
        place = place_of(target, warehouse)
    except BadLink as error:
        raise NotPublished(f"{target} was not published: it is a symbolic link that {error}") from None
    temporary = place.with_name(f".{place.name}.part")
    ours: Figures = {}

    def asked(connection: duckdb.DuckDBPyConnection) -> None:
        before(connection)
        ours.update(_figures(connection, warehouse.exports))

    try:
        with warehouse.turn():
            try:
                # Left by a crash: no other process publishes while this one holds the turn.
                remove_all(temporary)
                with warehouse.closed_file(asked) as file:
                    _check_room(file, place)
                    temporary.touch(0o600)  # nobody reads it before it is in place
                    file.copy_to(temporary)
                    spill = target.parent / "tmp"
                    rows, newest, settled = finish(warehouse.exports, temporary, spill, run_id, now)
                    locked, lost_group = put_in_place(temporary, place, target, Access.of_next(place, file.mode))
            finally:
                with contextlib.suppress(OSError):
                    remove_all(temporary)
    except (OSError, duckdb.Error) as error:
        raise NotPublished(
            f"{target} was not published: {error}. Check whether the disk is full or the folder not writable, and"
            " run again; the file that was published last is unchanged"
        ) from error
    with locked:
        pass  # until its time is over
    differences = compare(ours, warehouse.exports, target)
    size, seconds = target.stat().st_size, time.monotonic() - started
    return Published(target, size, seconds, rows, newest, settled, differences, lost_group)


@contextlib.contextmanager
def read_published(target: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to the published file; waits while it is being replaced. Raises duckdb.Error."""
    deadline = time.monotonic() + _REPLACED_WITHIN_SECONDS
    with contextlib.ExitStack() as closing:
        while True:
            try:
                connection = closing.enter_context(opened(target, read_only=True))
                break
            except duckdb.IOException as error:
                if not is_locked(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_OPENING_SECONDS / 5)
        yield connection


def figures_of(warehouse: Home) -> Figures:
    """The figures that must be equal in the published file. Raises WarehouseLocked, WarehouseUnusable."""
    with warehouse.read() as connection:
        return _figures(connection, warehouse.exports)


def compare(ours: Figures, exports: Sequence[Export], target: Path) -> list[Difference]:
    """The figures of the published file that differ from `ours`, those of the warehouse.

    Raises NotPublished if the file cannot be opened.
    """
    try:
        with read_published(target) as connection:
            theirs = _figures(connection, exports)
    except duckdb.Error as error:
        raise NotPublished(
            f"{target} cannot be opened: {error}. Materialize published_database to publish it anew"
        ) from error
    return [
        Difference(*figure, ours.get(figure), theirs.get(figure))
        for figure in sorted(ours.keys() | theirs.keys())
        if ours.get(figure) != theirs.get(figure)
    ]


def _figures(connection: duckdb.DuckDBPyConnection, exports: Sequence[Export]) -> Figures:
    """Without the private tables of the pipeline, and without `publication`."""
    figures: Figures = {}
    for schema, table in connection.execute(
        "select schema_name, table_name from duckdb_tables() where not temporary and database_name = current_database()"
    ).fetchall():
        if not _is_private(schema, table) and (schema, table) != ("main", PUBLICATION.name):
            ((count,),) = connection.execute(
                f"select count(*) from {quote_name(schema)}.{quote_name(table)}"
            ).fetchall()
            figures[f"{schema}.{table}", "rows"] = count
    for export in exports:
        sums = ", ".join(f"sum({name})" for name in export.measures)
        query = f"select max({VERSION_COLUMN}), max(_delivery_id), {sums} from {export.name}"
        names = (f"newest {VERSION_COLUMN}", "newest delivery", *(f"sum of {name}" for name in export.measures))
        for name, value in zip(names, connection.execute(query).fetchall()[0], strict=True):
            figures[f"main.{export.name}", name] = value
    return figures


def _is_private(schema: str, table: str) -> bool:
    """Whether a table is the pipeline's own affair: of its own schema, and its name begins with _."""
    return schema == "main" and table.startswith("_")


def _check_room(source: Copyable, target: Path) -> None:
    needed, free = source.bytes + _SPARE_BYTES, shutil.disk_usage(target.parent).free
    if free < needed:
        raise NotPublished(
            f"{target} was not published: a copy of the warehouse needs {needed / 1e6:,.0f} MB, and {target.parent} has"
            f" {free / 1e6:,.0f} MB free. Free {(needed - free) / 1e6:,.0f} MB or more and run again (programs that"
            " have an earlier publication open keep its space until they close it); the file that was published last"
            " is unchanged"
        )


def finish(
    exports: Sequence[Export], copy: Path, spill: Path, run_id: str, now: datetime
) -> tuple[dict[str, int], date | None, date | None]:
    """Drop the pipeline's private tables, add `publication`; returns rows per table and newest dates."""
    with opened(copy, temporary=spill) as connection:
        connection.execute("begin")
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables()"
            " where not temporary and database_name = current_database() order by all"
        ).fetchall()
        rows = {}
        for schema, table in tables:
            if _is_private(schema, table):
                connection.execute(f"drop table {quote_name(schema)}.{quote_name(table)}")
            else:
                ((count,),) = connection.execute(
                    f"select count(*) from {quote_name(schema)}.{quote_name(table)}"
                ).fetchall()
                rows[table if schema == "main" else f"{schema}.{table}"] = count
        newest_of_each = " union all ".join(f"select max({DATE_COLUMN}) as day from {e.name}" for e in exports)
        ((newest,),) = connection.execute(f"select max(day) from ({newest_of_each})").fetchall()
        settled = Ledger(connection).newest_settled_day(exports)
        for statement in (create(PUBLICATION), *comments(PUBLICATION)):
            connection.execute(statement)
        connection.execute(
            "insert into publication values (?, ?, ?, ?, ?, ?)",
            [
                naive(now),
                run_id,
                newest,
                settled,
                version("soundlink-pipeline"),
                duckdb.__version__,
            ],
        )
        connection.execute("commit")
        connection.execute("checkpoint")
    return rows, newest, settled


def put_in_place(copy: Path, place: Path, target: Path, access: Access) -> tuple[contextlib.ExitStack, int | None]:
    """Replace the file at `place`; `target` is its name for readers. Returns `Access.give_to`'s answer, too.

    A program that opens it at that moment gets a lock error, and the new file on its next try: DuckDB opens a file's
    name three times: it reads from the second where the tables are, and the tables from the third, which it locks. A
    replacement in between would mix two files. Hence the lock, for `_OPENING_SECONDS` and the block of the returned
    stack; within it this process must not open the target, either.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(copy.open("r+b"))  # while its mode still lets us; closing it ends the lock
        fcntl.lockf(file, fcntl.LOCK_EX)
        lost_group = access.give_to(file.fileno())
        os.fsync(file.fileno())
        # Before, so that the new file never stands beside another's log; and after, for one made in between.
        _remove_write_ahead_logs(place, target)
        copy.replace(place)
        until = time.monotonic() + _OPENING_SECONDS
        _remove_write_ahead_logs(place, target)
        sync_path(place.parent)
        stack.callback(lambda: time.sleep(max(0.0, until - time.monotonic())))
        return stack.pop_all(), lost_group


def _remove_write_ahead_logs(*names: Path) -> None:
    """Of a database that is opened by any of these names: DuckDB puts the log beside the name."""
    for log in {log for name in names for log in write_ahead_logs(name)}:
        log.unlink(missing_ok=True)


def remove_all(database: Path) -> None:
    """Delete a database file and its logs, if they are there."""
    database.unlink(missing_ok=True)
    _remove_write_ahead_logs(database)
