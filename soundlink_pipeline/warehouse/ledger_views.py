"""The view over the ledger: `report_date_status`, what was pulled when and what is final."""

from __future__ import annotations

from soundlink_pipeline.contracts.days import SETTLED_AFTER_DAYS
from soundlink_pipeline.contracts.table import Column, Table


def _column(name: str, type: str, meaning: str) -> Column:
    """A column of a view, which forbids no null."""
    return Column(name, type, meaning, nullable=None)


REPORT_DATE_STATUS = Table(
    name="report_date_status",
    kind="view",
    meaning=(
        "When each day of each campaign or soundlink was last pulled, and whether it is final. A day that was never"
        " pulled has no row. One row per account, export, subject_id and report_date."
    ),
    grain=("account", "export", "subject_id", "report_date"),
    columns=(
        _column("account", "VARCHAR", "The account that it was pulled for, by its name in the settings."),
        _column("export", "VARCHAR", "The export, which is also the name of its table."),
        _column("subject_id", "VARCHAR", "The id in the request (as the API lists it): of a campaign or soundlink."),
        _column(
            "row_subject_id",
            "VARCHAR",
            "The id in the rows; null where no delivery of the day's ranges held any row.",
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
    account,
    export,
    subject_id,
    max(row_subject_id) as row_subject_id,
    report_date,
    max(pulled_at) as last_pulled_at,
    count(*) as deliveries,
    max(pulled_at) >= (report_date + interval {SETTLED_AFTER_DAYS} days) as is_settled
from (
    select *, unnest(generate_series(start_date, end_date, interval 1 day))::date as report_date from deliveries
)
group by account, export, subject_id, report_date
""",
)
