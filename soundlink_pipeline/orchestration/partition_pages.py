"""What a partition's page shows: the day's figures, and on the newest day what the run did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.display.markdown import markdown_table
from soundlink_pipeline.display.trend import export_trend
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.pulling.outcome import Summary


def report_partitions(
    context: dg.AssetExecutionContext,
    soundlink: Soundlink,
    export: Export,
    dates: DateRange,
    of_run: Mapping[str, Any],
) -> None:
    """What each partition's own page shows: the day's rows, totals and settledness.

    The newest day's page also has what goes beyond the day: pictures, and what the run did (`of_run`).
    """
    for status in soundlink.warehouse.date_status(export, dates):
        metadata: dict[str, Any] = {
            "dagster/partition_row_count": status.rows,
            "settled": status.settled,
            **{name: round(total, 2) for name, total in status.totals.items()},
        }
        if status.last_pulled_at is not None:
            metadata["last pulled"] = dg.MetadataValue.timestamp(status.last_pulled_at)
        if status.report_date == dates.end:
            metadata |= {**_pictures(soundlink, export, dates), **of_run}
        context.add_asset_metadata(metadata, asset_key=export.name, partition_key=status.report_date.isoformat())


def _pictures(soundlink: Soundlink, export: Export, dates: DateRange) -> dict[str, Any]:
    """What a look at the last days and at the newest rows shows."""
    columns, rows = soundlink.warehouse.newest_rows(export, dates)
    with soundlink.warehouse.read() as connection:
        trend = export_trend(connection, export)
    return {
        "dagster/row_count": soundlink.warehouse.row_count(export),
        "last days": dg.MetadataValue.md(trend or "no rows yet"),
        "newest rows": dg.MetadataValue.md(markdown_table(columns, rows) if rows else "no rows yet"),
    }


def run_metadata(dates: DateRange, summary: Summary, campaigns: int) -> dict[str, Any]:
    """What the run did."""
    return {
        "range of the run": str(dates),
        "requests of the run's step": summary.requests,
        "campaigns asked": campaigns,
        "rows delivered": summary.rows,
        "inserted": summary.total("inserted"),
        "updated": summary.total("updated"),
        "unchanged": summary.total("unchanged"),
        "ignored as older": summary.total("ignored_as_older"),
        "MB delivered": round(summary.bytes / 1e6, 3),
        "unknown fields": ", ".join(summary.unknown_fields) or "none",
    }
