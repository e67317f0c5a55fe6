"""Which accounts there are: those that the settings name, and those that something was pulled for."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date

import duckdb

from soundlink_pipeline.contracts.account import DEFAULT_ACCOUNT
from soundlink_pipeline.contracts.exports import subjects_of
from soundlink_pipeline.contracts.schema import ORGANIZATION_COLUMN, Export
from soundlink_pipeline.contracts.table import Column, Table
from soundlink_pipeline.warehouse.sql import insert_rows, quote

# The column of what belongs to an account. What was there before there were several is the first one's.
ACCOUNT = Column(
    "account",
    "VARCHAR",
    f"The account that it was pulled for, by its name in the settings: {DEFAULT_ACCOUNT} where they name none.",
    nullable=False,
    backfill=quote(DEFAULT_ACCOUNT),
)


@dataclass(frozen=True)
class ExpectedAccount:
    """An account that the settings name, with its organization id if they say it.

    `start_date` is the first report_date asked for, None for the first partition.
    """

    name: str
    organization_id: str | None = None
    start_date: date | None = None


EXPECTED_ACCOUNTS = Table(
    name="expected_accounts",
    meaning=(
        "The accounts that the settings named when a run last listed what there is. Others are not waited for; before"
        " the first such run all are. Grain: one row per account."
    ),
    grain=("account",),
    columns=(
        Column("account", "VARCHAR", "The account's name in the settings.", nullable=False),
        Column("organization_id", "VARCHAR", "The organization that the settings say it is; null where they do not."),
        Column("start_date", "DATE", "The first report_date asked for, where that is not the first partition."),
    ),
)
_IS_EXPECTED = "(account in (select account from expected_accounts) or not exists (from expected_accounts))"


def accounts_view(exports: Iterable[Export]) -> Table:
    """The view `accounts`."""
    exports = tuple(exports)
    subjects = subjects_of(exports)
    names = [EXPECTED_ACCOUNTS.name, "deliveries", *(subject.table for subject in subjects)]
    listed = "".join(
        f"""
left join (
    select account, count(*) as {subject.plural} from (
        select account from {subject.table} qualify _listed_at = max(_listed_at) over (partition by account)
    ) group by account
) using (account)"""
        for subject in subjects
    )
    query = f"""
select
    account as name,
    coalesce(organization_ids, []) as organization_ids,
    first_pulled_at,
    last_pulled_at,
    {"".join(f"coalesce({subject.plural}, 0) as {subject.plural},{chr(10)}    " for subject in subjects)}\
{_IS_EXPECTED} as is_expected
from ({" union ".join(f"select account from {name}" for name in names)})
left join (
    select account, min(pulled_at) as first_pulled_at, max(pulled_at) as last_pulled_at
    from deliveries group by account
) using (account)
left join (
    select account, list(distinct organization_id order by organization_id) as organization_ids from (
        select account, organization_id from ({_organizations(exports)}) as r
        join deliveries as d on d.delivery_id = r._delivery_id
        union
        select account, organization_id from {EXPECTED_ACCOUNTS.name} where organization_id is not null
    ) group by account
) using (account){listed}
"""
    return Table(
        name="accounts",
        kind="view",
        meaning="The accounts: whose campaigns and soundlinks are loaded. Grain: one row per account.",
        grain=("name",),
        columns=(
            _column("name", "VARCHAR", f"Its name in the settings; {DEFAULT_ACCOUNT} where they name none."),
            _column(
                "organization_ids", "VARCHAR[]", "The organizations of its rows (account_id), and of its settings."
            ),
            _column("first_pulled_at", "TIMESTAMP", "Moment of its first pull (UTC); null if there was none."),
            _column("last_pulled_at", "TIMESTAMP", "Moment of its newest pull (UTC)."),
            *(
                _column(subject.plural, "BIGINT", f"How many {subject.plural} its newest listing has.")
                for subject in subjects
            ),
            _column("is_expected", "BOOLEAN", "Whether the settings still name it: only then are its days waited for."),
        ),
        query=query,
    )


def _organizations(exports: Iterable[Export]) -> str:
    """The query for the organizations of rows (`organization_id`), with the deliveries that brought them."""
    of_exports = [
        f"select {ORGANIZATION_COLUMN} as organization_id, _delivery_id from {export.name}"
        for export in exports
        if ORGANIZATION_COLUMN in export.column_names
    ]
    return " union ".join(of_exports) or "select null::varchar as organization_id, null::varchar as _delivery_id"


def _column(name: str, type: str, meaning: str) -> Column:
    return Column(name, type, meaning, nullable=None)


def expect(connection: duckdb.DuckDBPyConnection, accounts: Iterable[ExpectedAccount]) -> None:
    """Keep which accounts the settings name, at least one."""
    connection.execute(f"delete from {EXPECTED_ACCOUNTS.name}")
    insert_rows(connection, EXPECTED_ACCOUNTS.name, [(of.name, of.organization_id, of.start_date) for of in accounts])


def known_organizations(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The organization ids that the settings say, by account: rows of no other are taken."""
    return dict(
        connection.execute(
            f"select account, organization_id from {EXPECTED_ACCOUNTS.name} where organization_id is not null"
        ).fetchall()
    )


@dataclass(frozen=True)
class MovedAccount:
    """An account whose rows name an organization for the first time; `before` are those they named until then."""

    account: str
    organization_id: str
    before: tuple[str, ...]


def moved_accounts(
    connection: duckdb.DuckDBPyConnection, exports: Iterable[Export], delivery_ids: Collection[str]
) -> list[MovedAccount]:
    """The accounts that have rows of a new organization in these deliveries, and had rows of another before."""
    found = connection.execute(
        f"""
        with seen as (
            select account, organization_id, bool_and(list_contains($ids, delivery_id)) as is_new
            from ({_organizations(exports)}) as r join deliveries as d on d.delivery_id = r._delivery_id group by all
        )
        select n.account, n.organization_id, list(o.organization_id order by o.organization_id)
        from seen as n join seen as o on o.account = n.account and not o.is_new
        where n.is_new group by all order by all
        """,
        {"ids": list(delivery_ids)},
    ).fetchall()
    return [MovedAccount(account, organization, tuple(before)) for account, organization, before in found]
