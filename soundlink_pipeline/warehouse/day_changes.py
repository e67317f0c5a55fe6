"""What deliveries did to each day, as the rows and their history tell it: for a partition's page."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

import duckdb

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import DATE_COLUMN, Export
from soundlink_pipeline.warehouse.tables import history_table


@dataclass(frozen=True)
class DayChanges:
    """What some deliveries did to one report_date.

    `requests`: how many of them asked for that day, among others. Of the rows they brought, and that are believed:
    `inserted` were not there before, `updated` had other values before, `unchanged` the same.
    """

    requests: int
    inserted: int
    updated: int
    unchanged: int


def changes_by_day(
    connection: duckdb.DuckDBPyConnection, export: Export, dates: DateRange, delivery_ids: Collection[str]
) -> dict[date, DayChanges]:
    """Every day of `dates` with what the deliveries changed on it. Raises duckdb.Error."""
    same_row = " and ".join(f"h.{name} = t.{name}" for name in export.primary_key)
    rows = connection.execute(
        f"""
        with ids as (select unnest($ids::varchar[]) as delivery_id),
        days as (select unnest(generate_series($start, $end, interval 1 day))::date as day),
        asked as (
            select day, count(*) as requests
            from days join (from deliveries semi join ids using (delivery_id)) as d
                on d.export = $export and day between d.start_date and d.end_date
            group by day
        ),
        brought as (
            select t.{DATE_COLUMN} as day, t._valid_from < t._pulled_at as is_same,
                h._replaced_by_delivery_id is not null as is_updated
            from (select * from {export.name} where {DATE_COLUMN} between $start and $end) as t
            join ids on ids.delivery_id = t._delivery_id
            left join (
                select * from {history_table(export)}
                where {DATE_COLUMN} between $start and $end and not _vanished
            ) as h on h._replaced_by_delivery_id = t._delivery_id and {same_row}
        ),
        counted as (
            select day, count(*) filter (is_same) as unchanged,
                count(*) filter (not is_same and is_updated) as updated,
                count(*) filter (not is_same and not is_updated) as inserted
            from brought group by day
        )
        select day, coalesce(requests, 0), coalesce(inserted, 0), coalesce(updated, 0), coalesce(unchanged, 0)
        from days left join asked using (day) left join counted using (day) order by day
        """,
        {"ids": list(delivery_ids), "start": dates.start, "end": dates.end, "export": export.name},
    ).fetchall()
    return {day: DayChanges(*counts) for day, *counts in rows}
