"""The assets: the API, the campaigns as listed, and one daily-partitioned asset per export. Thin faces of `pull.py`.

One step pulls all exports that a run asks for: while one is being loaded, the next is already being fetched.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field

import soundlink_pipeline.exports as contracts
from soundlink_pipeline.campaigns import CAMPAIGN_COLUMNS
from soundlink_pipeline.checks import check_delivered, check_export, export_check_specs, freshness_policy
from soundlink_pipeline.client import SoundlinkClient
from soundlink_pipeline.export_sql import OWN_COLUMNS, comment
from soundlink_pipeline.exports import EXPORTS, Export
from soundlink_pipeline.pacing import Pacer
from soundlink_pipeline.partitions import TRAILING_DAYS, DateRange, last_closed_day
from soundlink_pipeline.promises import Answer
from soundlink_pipeline.pull import (
    FailedPull,
    Pull,
    Puller,
    Summary,
    adopt,
    duration,
    expected_seconds,
    plan,
    wanted,
)
from soundlink_pipeline.resources import Soundlink
from soundlink_pipeline.runs import (
    OWNER,
    POOL,
    asked_range,
    backfill_policy,
    has_range,
    run_lineage,
    told_to_people,
)
from soundlink_pipeline.trends import export_trend

_API = "soundlink_api"
_CAMPAIGNS = "campaigns"
# The step that pulls; also its name in a run's config.
_EXPORTS = "exports"
_MOST_LINES = 40


class ExportsConfig(dg.Config):
    """What a run may be told in its config (`ops: exports: config:`)."""

    refetch: bool = Field(
        default=False,
        description=(
            "Ask for every day of the range. Otherwise days that are settled are not asked for again: their numbers"
            " are final."
        ),
    )


def build_assets(partitions: dg.DailyPartitionsDefinition, base_url: str) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Every asset up to the exports; `partitions` is shared, so that one run can cover all of them."""
    with warnings.catch_warnings():
        # Known and accepted: DECISIONS.md, "Dagster".
        warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)
        warnings.filterwarnings("ignore", message="Class `.*CodeRef", category=dg.BetaWarning)
        return [_api(base_url), _campaigns_asset(), _exports_asset(partitions)]


def _api(base_url: str) -> dg.AssetSpec:
    exports = "\n".join(f"- `GET {export.path}`: {export.name}" for export in EXPORTS)
    return dg.AssetSpec(
        _API,
        group_name="sources",
        kinds={"api"},
        owners=[OWNER],
        tags={"layer": "sources"},
        description=(
            "The Soundlink API, where every number comes from: Meta ads and the Spotify listening they brought, per"
            " campaign and day. Not made by this pipeline. 60 requests a minute and 600 an hour; a day's rows may be"
            f" revised for 7 days after it closes at midnight UTC.\n\n- `GET /v1/campaigns`: {_CAMPAIGNS}\n{exports}"
        ),
        metadata={"base URL": dg.MetadataValue.url(base_url)},
    )


def _campaigns_asset() -> dg.AssetsDefinition:
    @dg.asset(
        name=_CAMPAIGNS,
        deps=[_API],
        group_name="sources",
        kinds={"api", "duckdb"},
        owners=[OWNER],
        tags={"layer": "sources"},
        pool=POOL,
        description=(
            "The campaigns the API key sees, as last listed: which of them can have rows decides what is asked for."
            " Grain: one row per campaign id."
        ),
        metadata={
            "dagster/table_name": _CAMPAIGNS,
            "dagster/column_schema": dg.TableSchema(
                columns=[dg.TableColumn(n, t.removesuffix(" not null"), description=m) for n, t, m in CAMPAIGN_COLUMNS]
            ),
            "dagster/code_references": _code("campaigns.py"),
        },
    )
    def campaigns(
        context: dg.AssetExecutionContext, soundlink: dg.ResourceParam[Soundlink]
    ) -> dg.MaterializeResult[None]:
        # The exports are next: no request for a wrong range.
        dates = asked_range(context, soundlink.settings.start_date) if has_range(context.run) else None
        with told_to_people(), _client(context, soundlink) as (client, pacer):
            lineage = run_lineage(context)
            items = soundlink.campaigns(client, context.run.run_id, lineage)
            selected = context.run.asset_selection
            exports = [e for e in EXPORTS if selected is None or dg.AssetKey(e.name) in selected]
            text = f"{len(items)} campaigns listed"
            if dates and exports:
                refetch = _told_to_refetch(context.run.run_config)
                asked = _Plan(soundlink, items, exports, dates, lineage, refetch=refetch)
                text += f". Next, {asked.describe(soundlink, pacer)}"
            context.log.info(text)
            # The API is not ours to materialize; that it answered is what can be told of it.
            observed = {"requests left this hour": pacer.left_this_hour(), "the key is sent as": client.scheme}
            context.log_event(dg.AssetObservation(_API, metadata=observed))
        statuses = pd.Series([str(item.get("status", "unknown")) for item in items], dtype=str).value_counts()
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(items),
                "requests": client.requests,
                "campaigns by status": dg.MetadataValue.md(statuses.rename("campaigns").to_markdown()),
            }
        )

    return campaigns


def _told_to_refetch(run_config: Mapping[str, Any]) -> bool:
    """What the next step's config says."""
    return bool(run_config.get("ops", {}).get(_EXPORTS, {}).get("config", {}).get("refetch"))


def _code(*files: str) -> dg.CodeReferencesMetadataValue:
    folder = Path(__file__).parent
    return dg.CodeReferencesMetadataValue(
        code_references=[
            dg.LocalFileCodeReference(file_path=str(folder / file), line_number=1, label=file) for file in files
        ]
    )


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
        deps=[_CAMPAIGNS, _API],
        group_name="exports",
        kinds={"api", "duckdb"},
        owners=[OWNER],
        tags={"layer": "exports", "cadence": "daily"},
        freshness_policy=freshness_policy(),
        description=(
            f"{export.describe()}\n\nA day is pulled when it has closed and again on each of the 7 days after, for as"
            " long as Soundlink may revise it; the partition's metadata says `settled` once it is final. What a newer"
            f" delivery changed is kept in `{export.name}_history`."
        ),
        metadata={
            "dagster/table_name": export.name,
            "dagster/column_schema": dg.TableSchema(columns=columns),
            "dagster/code_references": _code(Path(contracts.__file__).name, "pull.py", "promises.py"),
            "primary key": ", ".join(export.primary_key),
        },
    )


def _exports_asset(partitions: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=_EXPORTS,
        specs=[_export_spec(export) for export in EXPORTS],
        check_specs=export_check_specs(),
        can_subset=True,
        partitions_def=partitions,
        backfill_policy=backfill_policy(),
        pool=POOL,
        description="Pulls the exports a run asks for, and loads them as they arrive.",
    )
    def pull_exports(
        context: dg.AssetExecutionContext, config: ExportsConfig, soundlink: dg.ResourceParam[Soundlink]
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        wanted_checks = context.selected_asset_check_keys
        exports = [export for export in EXPORTS if dg.AssetKey(export.name) in context.selected_asset_keys]
        if not exports:
            yield from _check_only(soundlink, wanted_checks)
            return
        broken: list[tuple[Export, Answer]] = []
        with told_to_people():
            dates = asked_range(context, soundlink.settings.start_date)
            summary, campaigns = _pull(context, soundlink, exports, dates, refetch=config.refetch)
            for export in exports:
                own = summary.of(export)
                results, blocking = _checked(soundlink, export, dates, pulled=not own.failed)
                results = [result for result in results if _key(result) in wanted_checks]
                broken += [(export, answer) for answer in blocking]
                if own.failed:
                    yield from results
                else:
                    _report_partitions(context, soundlink, export, dates)
                    metadata = _metadata(dates, own, campaigns)
                    yield dg.MaterializeResult(asset_key=export.name, metadata=metadata, check_results=results)
            if summary.failed:
                raise _failure(summary.failed, len(summary.loaded), soundlink.warehouse.campaign_names())
        if broken:
            raise _blocked(broken)

    return pull_exports


@contextmanager
def _client(context: dg.AssetExecutionContext, soundlink: Soundlink) -> Iterator[tuple[SoundlinkClient, Pacer]]:
    """The step's client; a key or a URL that cannot be one fails the step with that sentence."""
    with ExitStack() as stack:
        with told_to_people(ValueError):
            connected = stack.enter_context(soundlink.connect(context.log.info))
        yield connected


class _Plan:
    """The requests a run is going to make: `missing` of all `pulls`, the others being done or settled."""

    def __init__(
        self,
        soundlink: Soundlink,
        campaigns: Sequence[dict[str, Any]],
        exports: Sequence[Export],
        dates: DateRange,
        lineage: Sequence[str],
        *,
        refetch: bool,
    ) -> None:
        self.exports, self.dates, self.listed = exports, dates, len(campaigns)
        self.pulls = [pull for export in exports for pull in plan(export, campaigns, dates)]
        done = soundlink.warehouse.done_days(dates, lineage, settled=not refetch)
        self.missing: list[Pull] = wanted(self.pulls, done)

    @property
    def campaigns(self) -> int:
        """How many campaigns can have rows in the range."""
        return len({pull.campaign_id for pull in self.pulls})

    def describe(self, soundlink: Soundlink, pacer: Pacer) -> str:
        """The run's requests and how long they take, for its first line of log."""
        settings = soundlink.settings
        wait = expected_seconds(
            len(self.missing), settings.requests_per_minute, settings.requests_per_hour, pacer.left_this_hour()
        )
        spared = len(self.pulls) - len(self.missing)
        return (
            f"{' and '.join(export.name for export in self.exports)}, {self.dates}: {len(self.missing)} requests for"
            f" {self.campaigns} of {self.listed} campaigns"
            + (f"; at the API's limits this takes at least {duration(wait)}" if wait > 1 else "")
            + (
                f". {spared} more are spared: pulled before, and settled (refetch: true in the run's config asks again)"
                if spared
                else ""
            )
        )


def _pull(
    context: dg.AssetExecutionContext,
    soundlink: Soundlink,
    exports: Sequence[Export],
    dates: DateRange,
    *,
    refetch: bool,
) -> tuple[Summary, int]:
    """Pull and load the range: what came of it, and how many campaigns were asked for."""
    log, later = context.log.info, list[str]()
    adopted = adopt(soundlink.warehouse, soundlink.landing, later.append)
    with _client(context, soundlink) as (client, pacer):
        lineage = run_lineage(context)
        campaigns = soundlink.campaigns(client, context.run.run_id, lineage)
        asked = _Plan(soundlink, campaigns, exports, dates, lineage, refetch=refetch)
        log(asked.describe(soundlink, pacer))  # before all else, so that who launched it knows what it takes
        for line in later:
            log(line)
        summary = Puller(
            client,
            pacer,
            landing=soundlink.landing,
            warehouse=soundlink.warehouse,
            run_id=context.run.run_id,
            log=log,
        ).run(asked.missing)
        summary.requests = client.requests
    summary.loaded[:0] = adopted.loaded
    summary.failed[:0] = adopted.failed
    for export in exports:
        if unknown := summary.of(export).unknown_fields:
            context.log.warning(
                f"{export.name} came with fields its contract does not know: {', '.join(unknown)}. They are kept in the"
                " landed files; once they are in exports.py they are loaded, and rebuild_from_landing fills the past"
            )
    soundlink.landing.sweep(datetime.now(UTC), soundlink.settings.landing_retention_days)
    return summary, asked.campaigns


def _checked(
    soundlink: Soundlink, export: Export, dates: DateRange, *, pulled: bool
) -> tuple[list[dg.AssetCheckResult], list[Answer]]:
    """The results of an export's checks; of one that was not pulled whole, only what is missing."""
    if not soundlink.warehouse.exists():
        return [], []
    with soundlink.warehouse.read() as connection:
        if pulled:
            return check_export(connection, export, dates)
        return [check_delivered(connection, export, dates)], []


def _check_only(soundlink: Soundlink, wanted_checks: Iterable[dg.AssetCheckKey]) -> Iterator[dg.AssetCheckResult]:
    """Answer checks that are executed without their asset: for the days a refresh would pull, without a request."""
    newest = last_closed_day(datetime.now(UTC))
    dates = DateRange(newest - timedelta(days=TRAILING_DAYS - 1), newest)
    keys = set(wanted_checks)
    for export in EXPORTS:
        if dg.AssetKey(export.name) in {key.asset_key for key in keys}:
            with told_to_people():
                results, _ = _checked(soundlink, export, dates, pulled=True)
            yield from (result for result in results if _key(result) in keys)


def _key(result: dg.AssetCheckResult) -> dg.AssetCheckKey:
    assert result.asset_key is not None  # noqa: S101  (checks.py gives both)
    assert result.check_name is not None  # noqa: S101
    return dg.AssetCheckKey(result.asset_key, result.check_name)


def _blocked(broken: Sequence[tuple[Export, Answer]]) -> dg.Failure:
    lines = [f"{export.name}: {answer}. {answer.promise.to_do}" for export, answer in broken]
    return dg.Failure(
        "The rows are loaded but wrong, so no model is built and nothing published. The checks show which rows.\n"
        + "\n".join(lines),
        allow_retries=False,
    )


def _failure(failed: Sequence[FailedPull], loaded: int, names: Mapping[str, str]) -> dg.Failure:
    lines = [f"{item.describe(names)}: {item.reason}" for item in failed if item.asked]
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
