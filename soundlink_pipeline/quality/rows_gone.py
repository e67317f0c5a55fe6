"""How many rows each day has lost: those that a newer delivery of the day no longer held."""

from __future__ import annotations

from soundlink_pipeline.contracts.schema import DATE_COLUMN, Export
from soundlink_pipeline.quality.moved_rows import gone_for_good
from soundlink_pipeline.warehouse.sql import quote


def rows_gone(export: Export) -> str:
    """The query for the `$days` that have lost rows; what has come back is not counted.

    And for days from `$first` to `$last` that have lost rows since `$since`: a probe may have found them gone.

    One row per report_date: rows_gone, rows_left (in the table, new ones too), campaigns or soundlinks (those that
    lost any) and last_gone_at, the moment of the newest pull that lost any.
    """
    return f"""
        with gone as (
            select {DATE_COLUMN}, count(*) as rows_gone, count(distinct subject_id) as {export.subject.plural},
                max(vanished_at) as last_gone_at
            from vanished_rows as v
            where export = {quote(export.name)} and {DATE_COLUMN} between $first and $last
                and ({DATE_COLUMN} in (select unnest($days)) or vanished_at >= $since)
                and {gone_for_good(export)}
            group by all
        ),
        held as (
            select {DATE_COLUMN}, count(*) as rows_left from {export.name}
            where {DATE_COLUMN} in (select {DATE_COLUMN} from gone) group by all
        )
        select {DATE_COLUMN}, rows_gone, coalesce(rows_left, 0) as rows_left, {export.subject.plural}, last_gone_at
        from gone left join held using ({DATE_COLUMN})
        order by {DATE_COLUMN}
        """
