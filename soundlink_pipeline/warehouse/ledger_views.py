"""The views over the ledger: `report_date_status` (what is final) and `vanished_rows` (what a newer pull lacks)."""

from __future__ import annotations

from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.warehouse.sql import quote

# Meaning, grain, columns with their meaning.
LEDGER_VIEWS: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    "report_date_status": (
        "When each day of each campaign was last pulled, and whether it is final. A day that was never pulled has no"
        " row. One row per export, campaign_id and report_date.",
        ("export", "campaign_id", "report_date"),
        {
            "export": "The export, which is also the name of its table.",
            "campaign_id": "The campaign id that was asked for (as the API lists it).",
            "row_campaign_id": "The campaign_id in the rows; null where no delivery of the day's ranges held any row.",
            "report_date": "UTC day that was asked for.",
            "last_pulled_at": "Moment of the newest pull (UTC, server's clock).",
            "deliveries": "Deliveries that covered the day.",
            "is_settled": "True if the newest pull was made at or after report_date + 8 days 00:00 UTC: final.",
        },
    ),
    "vanished_rows": (
        "Keys that a newer delivery of their day no longer holds; the rows stay in the tables. A key that comes back"
        " leaves this view by itself. One row per export and key.",
        ("export", "key"),
        {
            "export": "The export, which is also the name of its table.",
            "campaign_id": "The campaign_id in the row.",
            "report_date": "UTC day the row is about.",
            "key": "The primary key of the row, as a JSON object.",
            "last_seen_at": "Moment of the newest pull that held the key (UTC).",
            "vanished_at": "Moment of the first pull after it, which did not (UTC).",
            "last_seen_delivery_id": "The newest delivery that held the key.",
            "vanished_delivery_id": "The first delivery after it, which did not.",
        },
    ),
}


def ledger_views(exports: tuple[Export, ...]) -> list[str]:
    """Statements that make the views, with their comments."""
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
    views = [
        """
create or replace view report_date_status as
select
    export,
    campaign_id,
    max(row_campaign_id) as row_campaign_id,
    report_date,
    max(pulled_at) as last_pulled_at,
    count(*) as deliveries,
    max(pulled_at) >= (report_date + interval 8 days) as is_settled
from (
    select *, unnest(generate_series(start_date, end_date, interval 1 day))::date as report_date from deliveries
)
group by export, campaign_id, report_date
""",
        f"""
create or replace view vanished_rows as
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
""",
    ]
    comments = []
    for name, (meaning, _, columns) in LEDGER_VIEWS.items():
        comments.append(f"comment on view {name} is {quote(meaning)}")
        comments += [f"comment on column {name}.{column} is {quote(text)}" for column, text in columns.items()]
    return views + comments
