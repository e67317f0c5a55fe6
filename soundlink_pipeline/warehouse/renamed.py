"""Keeps which accounts the settings name, and refuses one under another name.

The warehouse knows an account by its name alone: under a new one everything of it would be pulled and kept twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb

from soundlink_pipeline.contracts.subject import Item, Subject
from soundlink_pipeline.warehouse.accounts import ExpectedAccount, expect
from soundlink_pipeline.warehouse.sql import transaction


class AccountRenamed(Exception):
    """An account that is new lists what was pulled for one that the settings no longer name; says what to do."""

    def __init__(self, account: str, message: str) -> None:
        super().__init__(message)
        self.account = account


def keep_accounts(
    connection: duckdb.DuckDBPyConnection,
    listed: Iterable[tuple[str, Subject, Iterable[Item]]],
    accounts: Sequence[ExpectedAccount],
    subjects: Iterable[Subject],
) -> None:
    """Keep the accounts that the settings name, unless one has got another name: by what is `listed`, not yet saved.

    Raises AccountRenamed, duckdb.Error.
    """
    organizations = {account.name: account.organization_id for account in accounts}
    _refuse_renamed(connection, list(listed), organizations, subjects)
    with transaction(connection):
        expect(connection, accounts)


def _refuse_renamed(
    connection: duckdb.DuckDBPyConnection,
    listed: Iterable[tuple[str, Subject, Iterable[Item]]],
    organizations: Mapping[str, str | None],
    subjects: Iterable[Subject],
) -> None:
    # Not those that the settings named in an earlier run: perhaps nothing of it was listed then.
    known = _known(connection, subjects)
    gone = sorted(known - organizations.keys())
    new = [(account, subject, items) for account, subject, items in listed if account not in known]
    if not gone or not new:
        return
    of_gone = {name: of for name, of in _organizations(connection).items() if name in gone}
    for account, subject, items in new:
        rows = _rows(connection, subject, gone)
        ids = {subject.id_of(item) for item in items}
        own = {str(item.get("organizationId") or "") for item in items} | {organizations.get(account) or ""}
        for name in gone:
            if ids & {listed_id for of, listed_id in rows if of == name} or (own - {""}) & of_gone.get(name, set()):
                raise AccountRenamed(
                    account,
                    f"account {account} is new, and lists the {subject.plural} of account {name}, which the settings no"
                    f" longer name. The warehouse knows an account by its name: call it {name} again, as in"
                    f" [accounts.{name}]",
                )


def _known(connection: duckdb.DuckDBPyConnection, subjects: Iterable[Subject]) -> set[str]:
    """The accounts of which anything was listed or pulled."""
    tables = ["deliveries", *(subject.table for subject in subjects)]
    names = " union ".join(f"select account from {table}" for table in tables)
    return {name for (name,) in connection.execute(names).fetchall()}


def _rows(connection: duckdb.DuckDBPyConnection, subject: Subject, accounts: list[str]) -> list[Any]:
    return connection.execute(
        f"select account, {subject.id_column} from {subject.table} where list_contains($1, account)", [accounts]
    ).fetchall()


def _organizations(connection: duckdb.DuckDBPyConnection) -> dict[str, set[str]]:
    return {
        name: set(ids) for name, ids in connection.execute("select name, organization_ids from accounts").fetchall()
    }
