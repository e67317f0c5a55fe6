"""A published file of one account: made anew from the file of all, with the rows of that account and nothing else.

It is no copy from which rows are deleted: what is deleted stays in a database file's free blocks. The models are built
in it, from its own rows. It gets its name once every row of it has been compared with those of the file of all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import duckdb

from soundlink_pipeline.contracts.exports import subjects_of
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.models.build import build_models
from soundlink_pipeline.models.project import SqlProject
from soundlink_pipeline.models.verdicts import failed_tests
from soundlink_pipeline.publishing.file_copy import NotPublished, finish, put_in_place, read_published, remove_all
from soundlink_pipeline.publishing.place import Access
from soundlink_pipeline.warehouse.accounts import EXPECTED_ACCOUNTS
from soundlink_pipeline.warehouse.instances import opened
from soundlink_pipeline.warehouse.sql import quote
from soundlink_pipeline.warehouse.tables import (
    DELIVERIES,
    VANISHED_ROWS,
    export_tables,
    listing_table,
    schema_statements,
)
from soundlink_pipeline.wording import counted

_NEW = "one_account"


def publish_account(
    source: Path,
    target: Path,
    account: str,
    *,
    exports: Sequence[Export],
    project: SqlProject,
    run_id: str,
    now: datetime,
) -> dict[str, int]:
    """Put a file of one account's rows at `target`, from the published file `source`; returns rows per table.

    `now` is aware. A program that has the last file open continues to read it. Raises NotPublished, ModelError.
    """
    target.parent.mkdir(exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{os.urandom(4).hex()}.part")
    try:
        _take_rows(source, temporary, account, exports)
        with opened(temporary) as connection:
            build_models(connection, project)
            if failed := failed_tests(connection, project):
                raise NotPublished(
                    f"{target} was not published: {len(failed)} tests of its models failed: "
                    + "; ".join(f"{result.test.model}: {result}" for result in failed)
                )
        rows, _, _ = finish(exports, temporary, target.parent / "tmp", run_id, now)
        locked, _ = put_in_place(temporary, target, target, Access.of_next(target, source.stat().st_mode))
        with locked:
            return rows
    except (OSError, duckdb.Error) as error:
        raise NotPublished(f"{target} was not published: {error}. The file that was there is unchanged") from error
    finally:
        with contextlib.suppress(OSError):
            remove_all(temporary)


def _take_rows(source: Path, target: Path, account: str, exports: Sequence[Export]) -> None:
    """Make `target` with the account's rows of `source`, and compare all of them. Raises NotPublished, duckdb.Error."""
    with read_published(source) as connection:
        ((whole,),) = connection.execute("select current_database()").fetchall()
        known = [name for (name,) in connection.execute("select name from accounts order by name").fetchall()]
        if account not in known:
            raise NotPublished(f"{source} has no account {account}; it has {', '.join(known) or 'none'}")
        _check_that_none_is_shared(connection, account, exports)
        connection.execute(f"attach {quote(str(target))} as {_NEW}")
        try:
            connection.execute(f"use {_NEW}")
            for statement in schema_statements(exports):
                connection.execute(statement)
            own = dict(_own_rows(exports, whole, account))
            for table, query in own.items():
                connection.execute(f"insert into {table} {query}")
            for table, query in own.items():
                _compare(connection, table, query)
            _check_that_all_are_own(connection, account, exports)
        finally:
            connection.execute(f'use "{whole}"')
            connection.execute(f"detach {_NEW}")


def _check_that_none_is_shared(connection: duckdb.DuckDBPyConnection, account: str, exports: Sequence[Export]) -> None:
    """Raises NotPublished where another account has delivered, last, rows of what this one lists, too.

    Such a row is held once, as that one's: the file would lack it. What has moved away is listed no longer.
    """
    for export in exports:
        subject = export.subject
        found = connection.execute(
            f"""
            select d.account, count(distinct t.{export.id_column}), count(*)
            from {export.name} as t join deliveries as d on d.delivery_id = t._delivery_id
            where d.account <> $account and t.{export.id_column} in (
                select o.row_subject_id
                from deliveries as o
                join (
                    from {subject.table} where account = $account qualify _listed_at = max(_listed_at) over ()
                ) as s on s.{subject.id_column} = o.subject_id
                where o.export = $export and o.account = $account
            )
            group by all order by all
            """,
            {"account": account, "export": export.name},
        ).fetchall()
        for other, number, rows in found:
            raise NotPublished(
                f"no file of {account} was published: {counted(number, subject.name)} that it lists came from account"
                f" {other}, too, so that {counted(rows, 'row')} of {export.name} would be missing: a row is held once,"
                " as of the account that delivered it last. Take one of the two out of the settings, and pull these"
                " days again"
            )


def _own_rows(exports: Sequence[Export], whole: str, account: str) -> Iterator[tuple[str, str]]:
    """Each table with the query for the account's rows of it in the database `whole`, columns in their order.

    What another account's delivery has become of a row is not told: where a campaign has moved between two.
    """
    of, whose = f'"{whole}".main', quote(account)
    known = f"select delivery_id from {of}.deliveries where account = {whose}"
    for table in [DELIVERIES, EXPECTED_ACCOUNTS, *(listing_table(subject) for subject in subjects_of(exports))]:
        yield table.name, f"select {', '.join(table.column_names)} from {of}.{table.name} where account = {whose}"
    for export in exports:
        for table in export_tables(export):
            columns = [
                f"case when {name} in ({known}) then {name} end as {name}"
                if name in ("_last_seen_delivery_id", "_replaced_by_delivery_id")
                else name
                for name in table.column_names
            ]
            yield (
                table.name,
                f"select {', '.join(columns)} from {of}.{table.name} where _delivery_id in ({known})",
            )
    ids = ("delivery_id", "last_seen_delivery_id", "vanished_delivery_id")
    all_own = " and ".join(f"{name} in ({known})" for name in ids)
    yield (
        VANISHED_ROWS.name,
        f"select {', '.join(VANISHED_ROWS.column_names)} from {of}.vanished_rows where {all_own}",
    )


def _check_that_all_are_own(connection: duckdb.DuckDBPyConnection, account: str, exports: Sequence[Export]) -> None:
    """Raises NotPublished where a row of the new file names another account, or a delivery that is not its own."""
    of_account = [DELIVERIES, EXPECTED_ACCOUNTS, *(listing_table(subject) for subject in subjects_of(exports))]
    foreign = {table.name: f"account <> {quote(account)}" for table in of_account}
    for export in exports:
        for table in export_tables(export):
            names = [name for name in table.column_names if name.endswith("_delivery_id")]
            foreign[table.name] = " or ".join(f"{name} not in (select delivery_id from deliveries)" for name in names)
    for table_name, where in foreign.items():
        ((rows,),) = connection.execute(f"select count(*) from {table_name} where {where}").fetchall()
        if rows:
            raise NotPublished(f"nothing was published: {table_name} has {rows} rows that are another's")


def _compare(connection: duckdb.DuckDBPyConnection, table: str, query: str) -> None:
    """Raises NotPublished unless the new table holds just these rows, each as often."""
    ((more, fewer),) = connection.execute(
        f"""
        select (select count(*) from (from {table} except all {query})),
            (select count(*) from ({query} except all from {table}))
        """
    ).fetchall()
    if more or fewer:
        raise NotPublished(f"nothing was published: {table} has {more} rows that are another's, and lacks {fewer}")
