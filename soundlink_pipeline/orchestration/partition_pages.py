"""What a partition's page shows: the day's figures, and on the newest day, which is the asset's page, the last run's.

In the order in which the UI lists them, what matters first. The UI plots whatever is a number over the partitions, so
what is not of a single day, as the run's sums, is text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import Any

import dagster as dg
import duckdb

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.display.markdown import markdown_table
from soundlink_pipeline.display.trend import Trend, export_trend
from soundlink_pipeline.models.errors import readable
from soundlink_pipeline.pulling.outcome import PullResult
from soundlink_pipeline.warehouse.day_changes import changes_by_day
from soundlink_pipeline.warehouse.ledger import Ledger


def report_partitions(
    context: dg.AssetExecutionContext,
    connection: duckdb.DuckDBPyConnection,
    export: Export,
    dates: DateRange,
    *,
    delivery_ids: Collection[str],
    of_run: str,
) -> None:
    """Put on each partition's own page the day's rows and totals, whether it is final, and what the deliveries changed.

    The newest day's page begins with its pictures and what the run did (`of_run`), and ends with a preview.
    """
    pages = _pages(connection, export, dates, delivery_ids=delivery_ids, of_run=of_run)
    for day, metadata in pages:
        context.add_asset_metadata(metadata, asset_key=export.name, partition_key=day.isoformat())


def report_limited(
    context: dg.AssetExecutionContext,
    connection: duckdb.DuckDBPyConnection,
    export: Export,
    dates: DateRange,
    *,
    delivery_ids: Collection[str],
    of_run: str,
    lacking: Collection[date],
) -> None:
    """For a run that was limited to some ids: materialize the days that are there for all that is listed, no others.

    For the days `lacking` others it logs one observation. What Dagster has as materialized, no backfill of missing
    days would pull.
    """
    for day, metadata in _pages(connection, export, dates, delivery_ids=delivery_ids, of_run=of_run):
        if day not in lacking:
            partition = day.isoformat()
            context.log_event(dg.AssetMaterialization(export.name, partition=partition, metadata=metadata))
    others = f"days that lack other {export.subject.plural}"
    observed: dict[str, Any] = {others: len(lacking), "last run": dg.MetadataValue.md(of_run)}
    context.log_event(dg.AssetObservation(export.name, metadata=observed))


def _pages(
    connection: duckdb.DuckDBPyConnection,
    export: Export,
    dates: DateRange,
    *,
    delivery_ids: Collection[str],
    of_run: str,
) -> Iterator[tuple[date, dict[str, Any]]]:
    """What the page of each day of `dates` shows, by day."""
    ledger = Ledger(connection)
    changes, row_count = changes_by_day(connection, export, dates, delivery_ids), ledger.row_count(export)
    for status in ledger.date_status(export, dates):
        changed = changes[status.report_date]
        metadata: dict[str, Any] = {
            "rows": status.rows,
            "settled": status.settled,
            "settled share": status.settled_share,
            "requests": changed.requests,
            "inserted": changed.inserted,
            "updated": changed.updated,
            "unchanged": changed.unchanged,
            **status.totals,
            "dagster/row_count": row_count,
        }
        if status.last_pulled_at is not None:
            metadata["last pulled"] = dg.MetadataValue.timestamp(status.last_pulled_at)
        if status.report_date == dates.end:
            trend = export_trend(connection, export)
            metadata = {
                **newest_days(trend),
                "last run": dg.MetadataValue.md(of_run),
                **metadata,
                **larger_picture(trend),
                "newest rows": dg.MetadataValue.md(_newest_rows(ledger, export, dates)),
            }
        yield status.report_date, metadata


def newest_days(trend: Trend | None) -> Mapping[str, dg.MetadataValue[Any]]:
    """What an asset's page begins with: the newest days, to be seen without a click."""
    bars = trend.bars if trend else {}
    return {f"{readable(title)}, newest days": dg.MetadataValue.md(shown) for title, shown in bars.items()}


def larger_picture(trend: Trend | None) -> Mapping[str, dg.MetadataValue[Any]]:
    """More days and money, behind a link."""
    return {"last days": dg.MetadataValue.md(trend.picture)} if trend else {}


def _newest_rows(ledger: Ledger, export: Export, dates: DateRange) -> str:
    columns, rows = ledger.newest_rows(export, dates)
    return markdown_table(columns, rows) if rows else "no rows yet"


def figures_of_run(export: Export, dates: DateRange, result: PullResult, in_range: int) -> str:
    """What the run did, as a Markdown table. `result` is of the export, but its requests are those of all.

    `in_range`: of how many campaigns or soundlinks rows can be in the range.
    """
    figures: dict[str, object] = {
        "days": dates,
        f"{export.subject.plural} in range": in_range,
        "requests, all exports": result.requests,
        "rows delivered": result.rows,
        "inserted": result.total("inserted"),
        "updated": result.total("updated"),
        "unchanged": result.total("unchanged"),
        "ignored as older": result.total("ignored_as_older"),
        "MB delivered": round(result.bytes / 1e6, 3),
        "unknown fields": ", ".join(field.describe(result.rows) for field in result.unknown_fields) or "none",
    }
    return markdown_table(["what", "of the run"], figures.items())
