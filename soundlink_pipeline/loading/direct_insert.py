"""Days of subjects that the warehouse does not have yet: straight from the landed bytes into the export's table.

One pass over the bytes, which every rule is part of, and nothing is staged: what a first load or a long backfill is
made of takes half the time. It is all or nothing. Whatever is not plain (a row that breaks a rule, a key that is there
already, a text that may not have been one) raises `NotPlain`; the caller rolls back, and the staged way decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from soundlink_pipeline.contracts.schema import DATE_COLUMN, ORGANIZATION_COLUMN, Export
from soundlink_pipeline.landing.deliveries import HashedDelivery
from soundlink_pipeline.loading import merge_sql, read_sql
from soundlink_pipeline.loading.json_lines import BAD_BYTES, LONGEST_LINE_BYTES, suspects, unknown_fields
from soundlink_pipeline.loading.unknown_fields import count_unknown
from soundlink_pipeline.loading.validation import ValidDelivery, own_organization


class NotPlain(Exception):
    """These deliveries need the staged way. The transaction must be rolled back."""


def is_first(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether no other delivery, loaded or in `batch`, is of the same subject and days, as far as ids tell."""
    others = connection.execute("""
        select count(*) from (
            select delivery_id, export, subject_id, start_date, end_date from deliveries
            union all select delivery_id, export, subject_id, start_date, end_date from batch
        ) as other join batch using (export, subject_id)
        where other.delivery_id <> batch.delivery_id
            and other.start_date <= batch.end_date and other.end_date >= batch.start_date
    """).fetchall()
    return others == [(0,)]


def insert(
    connection: duckdb.DuckDBPyConnection,
    export: Export,
    deliveries: Sequence[HashedDelivery],
    organizations: Mapping[str, str] | None = None,
) -> list[ValidDelivery]:
    """Insert all rows of the deliveries, which are in `batch`, within the caller's transaction, or raise NotPlain.

    `organizations` as in `Staging`.
    """
    files = [str(item.delivery.path) for item in deliveries]
    try:
        suspect = suspects(connection, export, deliveries)
        odd = {str(i.delivery.path): unknown_fields(export, i) for i in deliveries if str(i.delivery.path) in suspect}
        beyond = any(names for names, _ in odd.values())
        connection.execute(read_sql.insert_directly(export, files, LONGEST_LINE_BYTES, unknown=beyond))
    except (*BAD_BYTES, duckdb.ConstraintException) as error:
        raise NotPlain(str(error)) from None
    first = min(item.delivery.dates.start for item in deliveries)
    last = max(item.delivery.dates.end for item in deliveries)
    # Dates are literals (they are ours), so that DuckDB can skip the blocks of all other days.
    days = f"{DATE_COLUMN} between date '{first}' and date '{last}'"
    of_batch = f"{days} and _delivery_id in (select delivery_id from batch)"
    organization = f"min({ORGANIZATION_COLUMN})" if ORGANIZATION_COLUMN in export.column_names else "null"
    singles = [column.name for column in export.columns if column.one_per_delivery or column.one_per_row]
    mixed = " or ".join(f"min({name}) <> max({name})" for name in singles)
    found = {
        delivery_id: tuple(of_delivery)
        for delivery_id, *of_delivery in connection.execute(
            f"select _delivery_id, count(*), min({export.id_column}), {organization}, {mixed}"
            f" from {export.name} where {of_batch} group by _delivery_id"
        ).fetchall()
    }
    if connection.execute(merge_sql.repeated_keys(export, export.name, days)).fetchall() != [(0,)]:
        raise NotPlain("a key is there already, or twice")
    if connection.execute(read_sql.doubtful_texts(export, export.name, of_batch)).fetchall() == [(True,)]:
        raise NotPlain("a text may not have come as text")
    large = f"select exists(from {export.name} where {of_batch} and ({read_sql.large_money(export)}))"
    if connection.execute(large).fetchall() == [(True,)]:
        raise NotPlain("an amount is so large that it must be read exactly")
    unknown = count_unknown(connection, export.name, "_delivery_id", of_batch) if beyond else {}
    valid = []
    for item in deliveries:
        rows, subject, organization, is_mixed = found.get(item.delivery.delivery_id, (0, None, None, False))
        known = own_organization(item.delivery, organizations or {})
        is_foreign = None not in (known, organization) and organization.lower() != known
        _, reason = odd.get(str(item.delivery.path), ((), None))
        if is_mixed or is_foreign or reason or item.delivery.declared_rows not in (None, rows):
            raise NotPlain(item.delivery.describe())
        valid.append(ValidDelivery(item, rows, subject, unknown.get(item.delivery.delivery_id, ())))
    return valid
