"""The views over the ledger: `report_date_status` (what is final) and `vanished_rows` (what a newer pull lacks)."""

from __future__ import annotations

from collections.abc import Iterable

from soundlink_pipeline.contracts.days import SETTLED_AFTER_DAYS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.table import Column, Table
from soundlink_pipeline.warehouse.sql import quote


def _column(name: str, type: str, meaning: str) -> Column:
    """A column of a view, which forbids no null."""
    return Column(name, type, meaning, nullable=None)


REPORT_DATE_STATUS = Table(
    name="report_date_status",
    kind="view",
    meaning=(
        "When each day of each campaign was last pulled, and whether it is final. A day that was never pulled"
        " has no row. One row per export, campaign_id and report_date."
    ),
    grain=("export", "campaign_id", "report_date"),
    columns=(
        _column("export", "VARCHAR", "The export, which is also the name of its table."),
        _column("campaign_id", "VARCHAR", "The campaign id in the request (as the API lists it)."),
        _column(
            "row_campaign_id",
            "VARCHAR",
            "The campaign_id in the rows; null where no delivery of the day's ranges held any row.",
        ),
        _column("report_date", "DATE", "UTC day that was requested."),
        _column("last_pulled_at", "TIMESTAMP", "Moment of the newest pull (UTC, server's clock)."),
        _column("deliveries", "BIGINT", "Deliveries that covered the day."),
        _column(
            "is_settled",
            "BOOLEAN",
            f"True if the newest pull was made at or after report_date + {SETTLED_AFTER_DAYS} days 00:00 UTC: final.",
        ),
    ),
    query=f"""
select
    export,
    campaign_id,
    max(row_campaign_id) as row_campaign_id,
    report_date,
    max(pulled_at) as last_pulled_at,
    count(*) as deliveries,
    max(pulled_at) >= (report_date + interval {SETTLED_AFTER_DAYS} days) as is_settled
from (
    select *, unnest(generate_series(start_date, end_date, interval 1 day))::date as report_date from deliveries
)
group by export, campaign_id, report_date
""",
)


def vanished_rows(exports: Iterable[Export]) -> Table:
    return Table(
        name="vanished_rows",
        kind="view",
        meaning=(
            "Keys that a newer delivery of their day no longer holds; the rows stay in the tables. A key that"
            " comes back leaves this view by itself. One row per export and key."
        ),
        grain=("export", "key"),
        columns=(
            _column("export", "VARCHAR", "The export, which is also the name of its table."),
            _column("campaign_id", "VARCHAR", "The campaign_id in the row."),
            _column("report_date", "DATE", "UTC day the row is about."),
            _column("key", "JSON", "The primary key of the row, as a JSON object."),
            _column("last_seen_at", "TIMESTAMP", "Moment of the newest pull that held the key (UTC)."),
            _column("vanished_at", "TIMESTAMP", "Moment of the first pull after it, which did not (UTC)."),
            _column("last_seen_delivery_id", "VARCHAR", "The newest delivery that held the key."),
            _column("vanished_delivery_id", "VARCHAR", "The first delivery after it, which did not."),
        ),
        query=_vanished_rows(exports),
    )


def _vanished_rows(exports: Iterable[Export]) -> str:
    parts = []
    for export in exports:
        key = ", ".join(f"{name} := t.{name}" for name in export.primary_key)
        parts.append(f"""
    select
        {quote(export.name)} as export, t.campaign_id, t.report_date,
        to_json(struct_pack({key})) as key,
        greatest(t._delivery_id, t._last_seen_delivery_id) as last_seen_delivery_id,
        min(c.delivery_id) as vanished_delivery_id
    from {export.name} as t
    join covering as c
        on c.export = {quote(export.name)} and c.row_campaign_id = t.campaign_id and c.report_date = t.report_date
        and c.delivery_id > greatest(t._delivery_id, t._last_seen_delivery_id)
    group by all""")
    return f"""
with campaigns_of_paths as (
    -- an empty delivery names no campaign of its own: what its path delivered before or after tells
    select distinct export, campaign_id, row_campaign_id from deliveries where row_campaign_id is not null
),
covering as (
    select d.export, p.row_campaign_id, d.delivery_id,
        unnest(generate_series(d.start_date, d.end_date, interval 1 day))::date as report_date
    from deliveries as d join campaigns_of_paths as p using (export, campaign_id)
),
missing as ({" union all ".join(parts)}
)
select
    m.export, m.campaign_id, m.report_date, m.key,
    seen.pulled_at as last_seen_at, gone.pulled_at as vanished_at,
    m.last_seen_delivery_id, m.vanished_delivery_id
from missing as m
join deliveries as seen on seen.delivery_id = m.last_seen_delivery_id
join deliveries as gone on gone.delivery_id = m.vanished_delivery_id
"""
