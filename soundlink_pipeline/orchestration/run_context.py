"""What a Dagster run is for: its range of days, and the runs it resumes."""

from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from soundlink_pipeline.contracts.days import MAX_DAYS_PER_PULL, DateRange, checked_range
from soundlink_pipeline.orchestration.failures import as_operator_failure
from soundlink_pipeline.typed import typed

# Who answers for an asset, as Dagster shows it; a model may name another in its YAML (config: meta: owner).
OWNER = "team:data"
# The asset that stands for the API: it is not ours to materialize.
SOUNDLINK_API = "soundlink_api"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
# The step that pulls, which is also its name in a run's config.
EXPORTS_STEP = "exports"
ONE_DAY = "dagster/partition"
# The tag of a run that a backfill has launched.
BACKFILL = "dagster/backfill"
# A tag with the reason for what a schedule or sensor asks for.
WHY = "soundlink/why"
# A run that has begun, or waits in the queue. One that was never queued may stay so for good.
UNDER_WAY = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
# Dagster marks a run with one of these that goes on from where its parent failed, by itself or from the UI.
_RESUMES = ("dagster/is_resume_retry", "dagster/is_asset_resume_retry")


def limits_of(run: dg.DagsterRun, what: str) -> list[str]:
    """The `accounts`, `campaigns` or `soundlinks` that its config limits a run's exports to; empty if not limited."""
    config: Any = run.run_config
    for name in ("ops", EXPORTS_STEP, "config", what):
        config = config.get(name, {}) if isinstance(config, dict) else {}
    return [str(name) for name in config] if isinstance(config, list) else []


def daily_partitions(start_date: date) -> dg.DailyPartitionsDefinition:
    """One partition per UTC day from `start_date` on; a day's appears when the day has closed."""
    return dg.DailyPartitionsDefinition(start_date=start_date.isoformat(), timezone="UTC")


def backfill_policy() -> dg.BackfillPolicy:
    """The API's cap is a run's size: a year is five runs, with one request per export, campaign and run."""
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=MAX_DAYS_PER_PULL)


def is_for_days(context: dg.AssetExecutionContext) -> bool:
    """Whether the run was launched for partitions: a range, or one day."""
    # By tag: Dagster gives a run's partitions to partitioned assets only.
    return _has_range(context.run) or ONE_DAY in context.run.tags


def _has_range(run: dg.DagsterRun) -> bool:
    return RANGE_START in run.tags and RANGE_END in run.tags


def range_of_run(context: dg.AssetExecutionContext, first_day: date) -> DateRange:
    """The run's range of report dates, checked before the first request. Raises dg.Failure."""
    tags = context.run.tags
    if _has_range(context.run):
        start, end = tags[RANGE_START], tags[RANGE_END]
    elif ONE_DAY in tags:
        start = end = tags[ONE_DAY]
    else:
        raise dg.Failure(
            f"the run has no partition: launch it for partitions, or from a shell with {typed('pull --from=… --to=…')}",
            allow_retries=False,
        )
    with as_operator_failure(ValueError):
        return checked_range(start, end, first_day, datetime.now(UTC))


def run_lineage(context: dg.AssetExecutionContext) -> list[str]:
    """The run and, where it resumes a failed one, that and so on: what they have pulled is not pulled again.

    A run that is re-executed as a whole, with all its steps, resumes nothing.
    """
    run: dg.DagsterRun | None = context.run
    lineage = [context.run.run_id]
    while run is not None and run.parent_run_id and any(run.tags.get(tag) == "true" for tag in _RESUMES):
        lineage.append(run.parent_run_id)
        run = context.instance.get_run_by_id(run.parent_run_id)
    return lineage
