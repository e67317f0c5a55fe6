"""Rows that came after a final pull of their day had not held them: found by probes, or by a refetch."""

from __future__ import annotations

from soundlink_pipeline.contracts.days import SETTLED_AFTER_DAYS
from soundlink_pipeline.contracts.schema import DATE_COLUMN, Export
from soundlink_pipeline.warehouse.sql import quote
from soundlink_pipeline.warehouse.tables import history_table


def late_rows(export: Export) -> str:
    """A query for the late rows that came since `$since`, of report dates from `$first` to `$last`, the newest first.

    A row whose values have changed is not late, it is in the history; nor is one of a day whose
    rows stand under other keys since, which `settled_values_final` tells.
    """
    key = ", ".join(f"t.{name}" for name in export.row_key)
    measures = "".join(f", t.{name}" for name in export.measures)
    settled = f"interval {SETTLED_AFTER_DAYS} days"
    return f"""
        with paths as (
            -- an empty delivery names no campaign of its own: what its path delivered before or after tells
            select distinct account, subject_id, row_subject_id from deliveries
            where export = {quote(export.name)} and row_subject_id is not null
        ),
        pulls as (
            select p.row_subject_id, d.pulled_at, d.load_order,
                unnest(generate_series(d.start_date, d.end_date, interval 1 day))::date as day
            from deliveries as d join paths as p using (account, subject_id)
            where d.export = {quote(export.name)}
                and d.end_date >= $first and d.start_date <= $last
        ),
        followed as (
            -- What was loaded after the pull that brought a row may have held it, too, though it was made before.
            select row_subject_id, day, came.pulled_at as came_at, min(final.pulled_at) as final_since
            from pulls as came join pulls as final using (row_subject_id, day)
            where final.pulled_at >= day + {settled}
                and final.pulled_at < came.pulled_at and final.load_order < came.load_order
            group by all
        )
        select {key}, f.final_since, f.came_at{measures}
        from {export.name} as t
        join followed as f
            on f.row_subject_id = t.{export.id_column} and f.day = t.{DATE_COLUMN} and f.came_at = t._valid_from
        anti join {history_table(export)} as h using ({", ".join(export.primary_key)})
        anti join (from vanished_rows where export = {quote(export.name)}) as v
            on v.subject_id = t.{export.id_column} and v.report_date = t.{DATE_COLUMN} and v.vanished_at = f.came_at
        where t.{DATE_COLUMN} between $first and $last and t._valid_from >= $since
        order by came_at desc, {key}
    """
