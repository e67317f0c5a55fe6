"""Brings a landed listing, or landed details, into the table of their subject."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from soundlink_pipeline.contracts.subject import Subject, field_of
from soundlink_pipeline.contracts.table import MONEY, Column
from soundlink_pipeline.landing.deliveries import Listing
from soundlink_pipeline.landing.stored import DamagedFile
from soundlink_pipeline.loading.read_sql import SIX_DECIMALS_IN_DOUBLE
from soundlink_pipeline.warehouse.sql import naive, without_keys
from soundlink_pipeline.warehouse.tables import listing_table


def save_listing(connection: duckdb.DuckDBPyConnection, subject: Subject, listing: Listing) -> int:
    """Upsert a landed listing by account and listed id, in one transaction; an older one never overwrites a newer one.

    Returns how many it lists. Raises DamagedFile.
    """
    lines = listing.lines(subject)  # read here: of a compressed file that is cut DuckDB reads what it can, silently
    values = {column.name: _listed(column) for column in subject.listed} | {
        "account": "$account",
        "_listed_json": without_keys("item::varchar"),
        "_listed_at": "$listed_at::timestamp",
        "_run_id": "$run_id",
    }
    names = [name for name in listing_table(subject).column_names if name in values]
    own_id = subject.id_column
    updates = ", ".join(f"{name} = s.{name}" for name in names if name not in ("account", own_id))
    with _conversion_is_damage(listing):
        connection.execute(
            f"""
            merge into {subject.table} as t
            using (
                select {", ".join(f"{values[name]} as {name}" for name in names)}
                from (select unnest($lines::varchar[])::json as item)
            ) as s on t.account = s.account and t.{own_id} = s.{own_id}
            when matched and s._listed_at >= t._listed_at then update set {updates}
            when not matched then insert ({", ".join(names)}) values ({", ".join(f"s.{name}" for name in names)})
            """,
            {
                "lines": lines,
                "listed_at": naive(listing.listed_at),
                "run_id": listing.run_id,
                "account": listing.account,
            },
        )
    return len(lines)


def save_details(connection: duckdb.DuckDBPyConnection, subject: Subject, details: Listing) -> int:
    """Put landed details beside what is listed, in one transaction; older ones never overwrite newer ones.

    Returns how many there are. Raises DamagedFile.
    """
    lines = details.lines(subject)
    values = {column.name: _listed(column) for column in subject.details} | {
        "_detail_json": without_keys("item::varchar"),
        "_detail_listed_json": without_keys("listed::varchar"),
        "_detail_at": "$detail_at::timestamp",
    }
    with _conversion_is_damage(details):
        connection.execute(
            f"""
            update {subject.table} as t set {", ".join(f"{name} = s.{name}" for name in values)}
            from (
                select listed_id, {", ".join(f"{value} as {name}" for name, value in values.items())}
                from (
                    select line ->> '$.{subject.id_field}' as listed_id, line -> 'listed' as listed,
                        line -> 'detail' as item
                    from (select unnest($lines::varchar[])::json as line)
                )
            ) as s
            where t.account = $account and t.{subject.id_column} = s.listed_id
                and (t._detail_at is null or s._detail_at >= t._detail_at)
            """,
            {"lines": lines, "detail_at": naive(details.listed_at), "account": details.account},
        )
    return len(lines)


@contextmanager
def _conversion_is_damage(landed: Listing) -> Iterator[None]:
    try:
        yield
    except duckdb.ConversionException as error:  # half a surrogate pair, which Python's parser lets pass
        raise DamagedFile(landed.path, str(error).partition("  Input:")[0]) from None


def _listed(column: Column) -> str:
    """An SQL expression for the column in the listed `item`; null where the field cannot be read."""
    text = f"item ->> '$.{field_of(column.name)}'"
    if column.type == "TIMESTAMP":
        return f"try_cast({text} as timestamptz) at time zone 'UTC'"
    value = f"try_cast({text} as {column.type})"
    # Its text comes from a double: a larger amount may have lost its last digits. _listed_json has them.
    return f"case when abs({value}) < {SIX_DECIMALS_IN_DOUBLE} then {value} end" if column.type == MONEY else value
