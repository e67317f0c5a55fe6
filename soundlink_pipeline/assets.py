"""The assets: the campaigns as listed, and one daily-partitioned asset per export. Thin faces of `pull.py`.

One step pulls all exports that a run asks for: while one is being loaded, the next is already being fetched.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pandas as pd

from soundlink_pipeline.campaigns import CAMPAIGN_COLUMNS
from soundlink_pipeline.client import SoundlinkClient, SoundlinkError
from soundlink_pipeline.export_sql import OWN_COLUMNS, comment
from soundlink_pipeline.exports import EXPORTS, Export
from soundlink_pipeline.pacing import Pacer
from soundlink_pipeline.partitions import MAX_DAYS_PER_PULL, DateRange, checked_range
from soundlink_pipeline.pull import FailedPull, Puller, Summary, adopt, duration, expected_seconds, plan
from soundlink_pipeline.resources import Soundlink
from soundlink_pipeline.trends import export_trend
from soundlink_pipeline.warehouse import WarehouseLocked, WarehouseUnusable

# Held by every step that opens the warehouse: DuckDB admits one writer.
POOL = "warehouse"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
# Dagster marks a run with one of these that goes on from where its parent failed, by itself or from the UI.
_RESUMES = ("dagster/is_resume_retry", "dagster/is_asset_resume_retry")
_CAMPAIGNS = "campaigns"
_MOST_LINES = 40


def daily_partitions(start_date: date) -> dg.DailyPartitionsDefinition:
    """One partition per UTC day from `start_date` on; a day's appears when the day has closed."""
    return dg.DailyPartitionsDefinition(start_date=start_date.isoformat(), timezone="UTC")


def backfill_policy() -> dg.BackfillPolicy:
    """The API's cap is a run's size: a year is five runs, with one request per export, campaign and run."""
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=MAX_DAYS_PER_PULL)


def build_assets(partitions: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Every asset; `partitions` is shared, so that one run can cover all of them."""
    with warnings.catch_warnings():
        # Known and accepted: DECISIONS.md, "Dagster".
        warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)
        return [_campaigns_asset(), _exports_asset(partitions)]


_TO_MEND: tuple[type[Exception], ...] = (SoundlinkError, WarehouseLocked, WarehouseUnusable, OSError)


@contextmanager
def told_to_people(*more: type[Exception]) -> Iterator[None]:
    """What an operator can mend, and `more`, fails the step with its own sentence, not with a traceback."""
    try:
        yield
    except _TO_MEND + more as error:
        raise dg.Failure(str(error), allow_retries=False) from None


def run_lineage(context: dg.AssetExecutionContext) -> list[str]:
    """The run and, where it resumes a failed one, that and so on: what they have pulled is not asked for again.

    A run that is re-executed as a whole, with all its steps, resumes nothing: it asks for everything anew.
    """
    run: dg.DagsterRun | None = context.run
    lineage = [context.run.run_id]
    while run is not None and run.parent_run_id and any(run.tags.get(tag) == "true" for tag in _RESUMES):
        lineage.append(run.parent_run_id)
        run = context.instance.get_run_by_id(run.parent_run_id)
    return lineage


def _campaigns_asset() -> dg.AssetsDefinition:
    @dg.asset(
        name=_CAMPAIGNS,
        group_name="sources",
        kinds={"api", "duckdb"},
        pool=POOL,
        description="The campaigns the API key sees, as last listed. Grain: one row per campaign id.",
        metadata={
            "dagster/table_name": _CAMPAIGNS,
            "dagster/column_schema": dg.TableSchema(
                columns=[dg.TableColumn(n, t.removesuffix(" not null"), description=m) for n, t, m in CAMPAIGN_COLUMNS]
            ),
        },
    )
    def campaigns(
        context: dg.AssetExecutionContext, soundlink: dg.ResourceParam[Soundlink]
    ) -> dg.MaterializeResult[None]:
        if _has_range(context):
            asked_range(context, soundlink.settings.start_date)  # the exports are next: no request for a wrong range
        with told_to_people(), _client(context, soundlink) as (client, _):
            items = soundlink.campaigns(client, context.run.run_id, run_lineage(context), context.log.info)
        statuses = pd.Series([str(item.get("status", "unknown")) for item in items], dtype=str).value_counts()
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(items),
                "requests": client.requests,
                "campaigns by status": dg.MetadataValue.md(statuses.rename("campaigns").to_markdown()),
            }
        )

    return campaigns


def _export_spec(export: Export) -> dg.AssetSpec:
    columns = [
        dg.TableColumn(
            column.name,
            column.sql_type,
            description=comment(export, column),
            constraints=dg.TableColumnConstraints(nullable=column.nullable),
        )
        for column in export.columns
    ] + [dg.TableColumn(column.name, column.sql_type, description=column.meaning) for column in OWN_COLUMNS]
    return dg.AssetSpec(
        export.name,
        deps=[_CAMPAIGNS],
        group_name="exports",
        kinds={"api", "duckdb"},
        description=export.describe(),
        metadata={"dagster/table_name": export.name, "dagster/column_schema": dg.TableSchema(columns=columns)},
    )


def _exports_asset(partitions: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name="exports",
        specs=[_export_spec(export) for export in EXPORTS],
        can_subset=True,
        partitions_def=partitions,
        backfill_policy=backfill_policy(),
        pool=POOL,
        description="Pulls the exports a run asks for, and loads them as they arrive.",
    )
    def pull_exports(
        context: dg.AssetExecutionContext, soundlink: dg.ResourceParam[Soundlink]
    ) -> Iterator[dg.MaterializeResult[None]]:
        exports = [export for export in EXPORTS if dg.AssetKey(export.name) in context.selected_asset_keys]
        with told_to_people():
            dates = asked_range(context, soundlink.settings.start_date)
            summary, campaigns = _pull(context, soundlink, exports, dates)
            for export in exports:
                own = summary.of(export)
                if not own.failed:
                    _report_partitions(context, soundlink, export, dates)
                    metadata = _metadata(dates, own, campaigns)
                    yield dg.MaterializeResult(asset_key=export.name, metadata=metadata)
        if summary.failed:
            raise _failure(summary.failed, len(summary.loaded))

    return pull_exports


def _has_range(context: dg.AssetExecutionContext) -> bool:
    return RANGE_START in context.run.tags and RANGE_END in context.run.tags


def asked_range(context: dg.AssetExecutionContext, first_day: date) -> DateRange:
    """The run's range of report dates, checked before anything is asked of the API."""
    tags = context.run.tags
    if _has_range(context):
        start, end = tags[RANGE_START], tags[RANGE_END]
    elif context.has_partition_key:
        start = end = context.partition_key
    else:
        raise dg.Failure(
            "the run is for no day: launch it for partitions, or from a shell with make backfill FROM=… TO=…",
            allow_retries=False,
        )
    with told_to_people(ValueError):
        return checked_range(start, end, first_day, datetime.now(UTC))


@contextmanager
def _client(context: dg.AssetExecutionContext, soundlink: Soundlink) -> Iterator[tuple[SoundlinkClient, Pacer]]:
    """The step's client; a key or a URL that cannot be one fails the step with that sentence."""
    with ExitStack() as stack:
        with told_to_people(ValueError):
            connected = stack.enter_context(soundlink.connect(context.log.info))
        yield connected


def _pull(
    context: dg.AssetExecutionContext, soundlink: Soundlink, exports: Sequence[Export], dates: DateRange
) -> tuple[Summary, int]:
    """Pull and load the range: what came of it, and how many campaigns were asked for."""
    log, settings = context.log.info, soundlink.settings
    adopted = adopt(soundlink.warehouse, soundlink.landing, log)
    with _client(context, soundlink) as (client, pacer):
        lineage = run_lineage(context)
        campaigns = soundlink.campaigns(client, context.run.run_id, lineage, log)
        done = soundlink.warehouse.pulled_by(lineage)
        pulls = [pull for export in exports for pull in plan(export, campaigns, dates)]
        missing = [pull for pull in pulls if (pull.export.name, pull.campaign_id, pull.dates) not in done]
        asked = len({pull.campaign_id for pull in pulls})
        wait = expected_seconds(
            len(missing), settings.requests_per_minute, settings.requests_per_hour, pacer.left_this_hour()
        )
        log(
            f"{' and '.join(export.name for export in exports)}, {dates}: {len(missing)} requests for {asked} of"
            f" {len(campaigns)} campaigns"
            + (f", {len(pulls) - len(missing)} have been answered before" if len(missing) < len(pulls) else "")
            + (f"; at the API's limits this takes at least {duration(wait)}" if wait > 1 else "")
        )
        summary = Puller(
            client,
            pacer,
            landing=soundlink.landing,
            warehouse=soundlink.warehouse,
            run_id=context.run.run_id,
            log=log,
        ).run(missing)
        summary.requests = client.requests
    summary.loaded[:0] = adopted.loaded
    summary.failed[:0] = adopted.failed
    for export in exports:
        if unknown := summary.of(export).unknown_fields:
            context.log.warning(
                f"{export.name} came with fields its contract does not know: {', '.join(unknown)}. They are kept in the"
                " landed files; once they are in exports.py they are loaded, and rebuild_from_landing fills the past"
            )
    soundlink.landing.sweep(datetime.now(UTC), settings.landing_retention_days)
    return summary, asked


def _failure(failed: Sequence[FailedPull], loaded: int) -> dg.Failure:
    lines = [f"{item.what}: {item.reason}" for item in failed if item.asked]
    not_asked = sum(not item.asked for item in failed)
    shown = lines[:_MOST_LINES]
    if len(lines) > len(shown):
        shown.append(f"and {len(lines) - len(shown)} more")
    if not_asked:
        shown.append(f"{not_asked} more were not asked for: no request would have been answered")
    return dg.Failure(
        f"{len(failed)} of {len(failed) + loaded} pulls failed; the other {loaded} are loaded."
        " Re-execute the run from failure to ask for the missing ones only.\n" + "\n".join(shown),
        metadata={"failed pulls": dg.MetadataValue.md("\n".join(f"- {line}" for line in lines))},
        allow_retries=False,
    )


def _report_partitions(
    context: dg.AssetExecutionContext, soundlink: Soundlink, export: Export, dates: DateRange
) -> None:
    """Row count, totals and settledness of each day, for the partition's own page."""
    for status in soundlink.warehouse.date_status(export, dates):
        metadata: dict[str, Any] = {
            "dagster/partition_row_count": status.rows,
            "settled": status.settled,
            **{name: round(total, 2) for name, total in status.totals.items()},
        }
        if status.last_pulled_at is not None:
            metadata["last pulled"] = dg.MetadataValue.timestamp(status.last_pulled_at)
        if status.report_date == dates.end:
            # Of the newest day only: what hangs on the result is stored with each of its partitions.
            metadata |= _pictures(soundlink, export, dates)
        context.add_asset_metadata(metadata, asset_key=export.name, partition_key=status.report_date.isoformat())


def _pictures(soundlink: Soundlink, export: Export, dates: DateRange) -> dict[str, Any]:
    """What a look at the last days and at the newest rows shows."""
    newest = soundlink.warehouse.newest_rows(export, dates)
    with soundlink.warehouse.read() as connection:
        trend = export_trend(connection, export)
    return {
        "last days": dg.MetadataValue.md(trend or "no rows yet"),
        "newest rows": dg.MetadataValue.md(newest.to_markdown(index=False)),
    }


def _metadata(dates: DateRange, summary: Summary, campaigns: int) -> dict[str, Any]:
    """What the run did."""
    return {
        "range": str(dates),
        "requests of the step": summary.requests,
        "campaigns asked": campaigns,
        "rows delivered": summary.rows,
        "inserted": summary.total("inserted"),
        "updated": summary.total("updated"),
        "unchanged": summary.total("unchanged"),
        "ignored as older": summary.total("ignored_as_older"),
        "MB delivered": round(summary.bytes / 1e6, 3),
        "unknown fields": ", ".join(summary.unknown_fields) or "none",
    }
