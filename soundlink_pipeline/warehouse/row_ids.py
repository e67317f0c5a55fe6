"""Of each listed campaign or soundlink the id that its rows bear: the API may list it under another one."""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from soundlink_pipeline.contracts.exports import subjects_of
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.subject import Subject
from soundlink_pipeline.warehouse.sql import quote


def row_id_column(subject: Subject) -> str:
    """The column of the subject's table: `row_campaign_id`."""
    return f"row_{subject.id_column}"


def note_row_ids(connection: duckdb.DuckDBPyConnection, exports: Iterable[Export]) -> None:
    """Fill the column from the ledger: the id in the rows of a listed id's newest delivery that has any, by account.

    Of two listed ids with the same rows the one that delivered them last has it, so that no join doubles a row.
    """
    exports = tuple(exports)
    for subject in subjects_of(exports):
        names = ", ".join(quote(export.name) for export in exports if export.subject == subject)
        column = row_id_column(subject)
        connection.execute(
            f"""
            update {subject.table} as t set {column} = found.row_id
            from (
                with delivered as (
                    select account, subject_id, row_subject_id as row_id, max(delivery_id) as newest
                    from deliveries where export in ({names}) and row_subject_id is not null group by all
                ),
                of_paths as (from delivered qualify newest = max(newest) over (partition by account, subject_id)),
                of_rows as (from delivered qualify newest = max(newest) over (partition by row_id))
                select p.account, p.subject_id, r.row_id
                from of_paths as p left join of_rows as r using (account, subject_id, row_id)
            ) as found
            where t.account = found.account and t.{subject.id_column} = found.subject_id
                and t.{column} is distinct from found.row_id
            """
        )
