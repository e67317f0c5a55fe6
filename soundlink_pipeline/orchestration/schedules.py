"""The schedules: the daily refresh in one run over one range, and the look at noon whether yesterday is there."""

from collections.abc import Sequence
from datetime import UTC, date

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from soundlink_pipeline.contracts.days import TRAILING_DAYS, DateRange, refresh_range
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH, daily_refresh
from soundlink_pipeline.orchestration.orphaned_runs import end_lost_runs
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.quality.completeness import DUE_HOUR
from soundlink_pipeline.settings.settings import unreadable
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.warehouse.ledger import Ledger

# Why a scheduled run asks for the range it does: on the tick's page, and on the run's.
WHY = "soundlink/why"
# A tick must answer soon; a run that writes holds the warehouse for seconds only.
_WAIT_SECONDS = 20.0
_NOT_ENDED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)


def build_schedules(
    cron: str, start_date: date, freshness_job: UnresolvedAssetJobDefinition
) -> list[dg.ScheduleDefinition]:
    """All of them, on by default. Raises ValueError where `cron` cannot be one."""
    _check_cron(cron)
    at_noon = dg.ScheduleDefinition(
        name="freshness_schedule",
        job=freshness_job,
        cron_schedule=f"5 {DUE_HOUR} * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Turns exports and published file red if yesterday is not there for every campaign.",
    )
    return [_daily_refresh_schedule(cron, start_date), at_noon]


def _daily_refresh_schedule(cron: str, start_date: date) -> dg.ScheduleDefinition:
    """It reads the resource `soundlink`."""

    @dg.schedule(
        name=f"{DAILY_REFRESH}_schedule",
        job=daily_refresh,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Pulls the day that just closed and every earlier one that may still be revised, in one run.",
    )
    def daily_refresh_schedule(
        context: dg.ScheduleEvaluationContext, soundlink: dg.ResourceParam[Soundlink]
    ) -> dg.RunRequest | dg.SkipReason:
        now = context.scheduled_execution_time.astimezone(UTC)
        unread, unsettled = "", None
        try:
            if soundlink.warehouse.exists():
                with soundlink.warehouse.read(_WAIT_SECONDS) as connection:
                    unsettled = Ledger(connection).oldest_unsettled(now)
        except (WarehouseLocked, WarehouseUnusable) as error:
            # The trailing days are right in any case; an older gap is healed by the next tick.
            unread = f"; older unsettled days wait for the next tick, since the ledger could not be read: {error}"
        dates = refresh_range(now, start_date, unsettled)
        if dates is None:
            return dg.SkipReason(f"no day since the first partition, {start_date}, has closed yet")
        for lost in end_lost_runs(context.instance):
            context.log.info(f"run {lost} was lost, and has failed now")
        running = _already_pulls(context.instance, dates)
        if running is not None:
            return dg.SkipReason(
                f"run {running.run_id} of an earlier tick has not ended, and pulls all of {dates} already"
            )
        why = _why(dates, start_date) + unread
        context.log.info(f"{dates}: {why}")
        return dg.RunRequest(tags={RANGE_START: dates.start.isoformat(), RANGE_END: dates.end.isoformat(), WHY: why})

    return daily_refresh_schedule


def _why(dates: DateRange, start_date: date) -> str:
    if dates.days > TRAILING_DAYS:
        return (
            f"{dates.start} was pulled but has not been pulled again since it settled, so {dates.days} days are asked"
            f" for instead of {TRAILING_DAYS}"
        )
    if dates.days < TRAILING_DAYS:
        return f"the days since the first partition, {start_date}: all of them may still be revised"
    return f"{dates.end} has just closed, {dates.start} gets its final pull, those between may still be revised"


def _already_pulls(instance: dg.DagsterInstance, dates: DateRange) -> dg.DagsterRun | None:
    """A refresh that waits or works and asks for all of these days: another would ask for the same once more."""
    waiting: Sequence[dg.DagsterRun] = instance.get_runs(
        dg.RunsFilter(job_name=DAILY_REFRESH, statuses=list(_NOT_ENDED)), limit=100
    )
    for run in waiting:
        start, end = run.tags.get(RANGE_START), run.tags.get(RANGE_END)
        # As text, since anybody may have written the tags of a run; ISO 8601 sorts like the days.
        if start and end and start <= dates.start.isoformat() and end >= dates.end.isoformat():
            return run
    return None


def _check_cron(text: str) -> None:
    """Dagster alone knows which cron expressions it takes. Raises ValueError that names the setting."""
    try:
        dg.ScheduleDefinition(name="checked", job_name="checked", cron_schedule=text)
    except dg.DagsterInvalidDefinitionError:
        why = "must be a cron expression of five fields, such as 0 7 * * * (UTC)"
        raise unreadable("SOUNDLINK_SCHEDULE", text, why) from None
