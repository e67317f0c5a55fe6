"""What a partition's page shows: the day's figures, and on the newest day what the run did."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import Any

import dagster as dg
import duckdb

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.display.markdown import markdown_table
from soundlink_pipeline.display.trend import export_trend
from soundlink_pipeline.pulling.outcome import PullResult
from soundlink_pipeline.warehouse.ledger import Ledger


def report_partitions(
    context: dg.AssetExecutionContext,
    connection: duckdb.DuckDBPyConnection,
    export: Export,
    dates: DateRange,
    of_run: Mapping[str, Any],
) -> None:
    """Put on each partition's own page the day's rows, totals and whether it is settled.

    The newest day's page also has what goes beyond the day: previews, and what the run did (`of_run`).
    """
    for day, metadata in _pages(connection, export, dates, of_run):
        context.add_asset_metadata(metadata, asset_key=export.name, partition_key=day.isoformat())


def report_limited(
    context: dg.AssetExecutionContext,
    connection: duckdb.DuckDBPyConnection,
    export: Export,
    dates: DateRange,
    of_run: Mapping[str, Any],
    *,
    lacking: Collection[date],
) -> None:
    """For a run that was limited to some campaigns: materialize the days that are there for all campaigns, no others.

    For the days `lacking` others it logs one observation. What Dagster has as materialized, no backfill of missing
    days would pull.
    """
    for day, metadata in _pages(connection, export, dates, of_run):
        if day not in lacking:
            partition = day.isoformat()
            context.log_event(dg.AssetMaterialization(export.name, partition=partition, metadata=metadata))
    observed = {"days that lack other campaigns": len(lacking), **of_run}
    context.log_event(dg.AssetObservation(export.name, metadata=observed))


def _pages(
    connection: duckdb.DuckDBPyConnection, export: Export, dates: DateRange, of_run: Mapping[str, Any]
) -> Iterator[tuple[date, dict[str, Any]]]:
    """What the page of each day of `dates` shows, by day."""
    for status in Ledger(connection).date_status(export, dates):
        metadata: dict[str, Any] = {
            "dagster/partition_row_count": status.rows,
            "settled": status.settled,
            **status.totals,
        }
        if status.last_pulled_at is not None:
            metadata["last pulled"] = dg.MetadataValue.timestamp(status.last_pulled_at)
        if status.report_date == dates.end:
            metadata |= {**_previews(connection, export, dates), **of_run}
        yield status.report_date, metadata


def _previews(connection: duckdb.DuckDBPyConnection, export: Export, dates: DateRange) -> dict[str, Any]:
    """The last days as a picture, the newest rows as a table."""
    ledger = Ledger(connection)
    columns, rows = ledger.newest_rows(export, dates)
    trend = export_trend(connection, export)
    return {
        "dagster/row_count": ledger.row_count(export),
        "last days": dg.MetadataValue.md(trend or "no rows yet"),
        "newest rows": dg.MetadataValue.md(markdown_table(columns, rows) if rows else "no rows yet"),
    }


def run_metadata(dates: DateRange, result: PullResult, campaigns: int) -> dict[str, Any]:
    """What the run did."""
    return {
        "range of the run": str(dates),
        "requests of the run's step": result.requests,
        "campaigns in range": campaigns,
        "rows delivered": result.rows,
        "inserted": result.total("inserted"),
        "updated": result.total("updated"),
        "unchanged": result.total("unchanged"),
        "ignored as older": result.total("ignored_as_older"),
        "MB delivered": round(result.bytes / 1e6, 3),
        "unknown fields": ", ".join(result.unknown_fields) or "none",
    }
