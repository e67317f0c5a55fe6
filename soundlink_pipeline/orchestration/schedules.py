"""The schedules: the daily refresh, one run over one range; the freshness checks at noon; the totals after them."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime

import dagster as dg

from soundlink_pipeline.contracts.days import TRAILING_DAYS, DateRange, refresh_range
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH, FRESHNESS, daily_refresh
from soundlink_pipeline.orchestration.orphaned_runs import fail_orphaned_runs
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START, UNDER_WAY, WHY
from soundlink_pipeline.orchestration.run_tags import SCHEDULE, STARTED_BY, days_tags
from soundlink_pipeline.orchestration.totals_check import COMPARE_TOTALS, compare_totals, config_of_part
from soundlink_pipeline.quality.completeness import DUE_HOUR
from soundlink_pipeline.quality.totals import PARTS
from soundlink_pipeline.settings.settings import CRON_FORM, unreadable
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.warehouse.ledger import Ledger

# A tag with what of the SQL models it cannot build, and why.
NOT_BUILT = "soundlink/not_built"
_MOST_REASONS = 5
# A tick must end soon; a run that writes locks the warehouse for seconds only.
_WAIT_SECONDS = 20.0


def build_schedules(
    cron: str, start_date: date, not_built: Callable[[], Sequence[str]] = tuple
) -> list[dg.ScheduleDefinition]:
    """All schedules, on by default. Raises ValueError if Dagster does not take `cron`.

    `not_built` returns what of the SQL models cannot be built; a tick of the refresh logs it.
    """
    check_cron(cron)
    at_noon = dg.ScheduleDefinition(
        name="freshness_schedule",
        job_name=FRESHNESS,
        cron_schedule=f"5 {DUE_HOUR} * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=(
            "Checks that every campaign and soundlink has data for yesterday, in the warehouse and in the published"
            " file."
        ),
    )
    return [_daily_refresh_schedule(cron, start_date, not_built), at_noon, _totals_schedule()]


def _totals_schedule() -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{COMPARE_TOTALS}_schedule",
        job=compare_totals,
        # When the refresh has had its time and its requests, and a late one, too.
        cron_schedule=f"35 {DUE_HOUR + 1} * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Compares a {PARTS}th of the live campaigns with Soundlink's own totals each day.",
    )
    def compare_totals_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        day = context.scheduled_execution_time.astimezone(UTC).date()
        return dg.RunRequest(run_config=config_of_part(day.toordinal() % PARTS))

    return compare_totals_schedule


def _daily_refresh_schedule(
    cron: str, start_date: date, not_built: Callable[[], Sequence[str]]
) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{DAILY_REFRESH}_schedule",
        job=daily_refresh,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Pulls the day that just closed and all earlier days that may still be revised, in one run.",
    )
    def daily_refresh_schedule(
        context: dg.ScheduleEvaluationContext, soundlink: dg.ResourceParam[Soundlink]
    ) -> dg.RunRequest | dg.SkipReason:
        now = context.scheduled_execution_time.astimezone(UTC)
        since, reason, unread = None, "", ""
        try:
            since, reason = _pull_since(soundlink, now, start_date)
        except (WarehouseLocked, WarehouseUnusable) as error:
            # The trailing days do not depend on the ledger; the next tick pulls an older gap.
            unread = f"; older unsettled days wait for the next tick: the ledger could not be read ({error})"
        dates = refresh_range(now, start_date, since)
        if dates is None:
            return dg.SkipReason(f"no day since the first partition, {start_date}, has closed yet")
        for run_id in fail_orphaned_runs(context.instance):
            context.log.info(f"run {run_id}: its process has died; marked as failed")
        running = _already_pulls(context.instance, dates)
        if running is not None:
            return dg.SkipReason(
                f"run {running.run_id} of an earlier tick is still going and already pulls all of {dates}"
            )
        why = _why(dates, start_date, reason) + unread
        context.log.info(f"{dates}: {why}")
        tags = {RANGE_START: dates.start.isoformat(), RANGE_END: dates.end.isoformat(), WHY: why}
        tags |= {**days_tags(tags), STARTED_BY: SCHEDULE}
        if reasons := not_built():
            for reason in reasons:
                context.log.warning(f"not built by this run: {reason}")
            more = f"\nand {len(reasons) - _MOST_REASONS} more" if len(reasons) > _MOST_REASONS else ""
            tags[NOT_BUILT] = "\n".join(reasons[:_MOST_REASONS]) + more
        return dg.RunRequest(tags=tags)

    return daily_refresh_schedule


def _pull_since(soundlink: Soundlink, now: datetime, start_date: date) -> tuple[date | None, str]:
    """The day to begin with where that is before the days that may still be revised, and why.

    Raises WarehouseLocked, WarehouseUnusable.
    """
    if soundlink.warehouse.exists():
        with soundlink.warehouse.read(_WAIT_SECONDS) as connection:
            ledger = Ledger(connection)
            if not ledger.is_empty():
                oldest = ledger.oldest_unsettled(soundlink.warehouse.exports, now, start_date)
                return oldest, f"{oldest} has not been pulled since it settled"
    return start_date, "nothing has been pulled yet"


def _why(dates: DateRange, start_date: date, reason: str) -> str:
    """Why these days; `reason`: why more of them than may still be revised, if they are more."""
    if dates.days > TRAILING_DAYS:
        return f"{reason}, so this run pulls {dates.days} days instead of {TRAILING_DAYS}"
    if dates.days < TRAILING_DAYS:
        return f"the days since the first partition, {start_date}: all of them may still be revised"
    return f"{dates.end} has just closed, {dates.start} gets its final pull, those between may still be revised"


def _already_pulls(instance: dg.DagsterInstance, dates: DateRange) -> dg.DagsterRun | None:
    """A refresh, queued or running, that pulls all of these days: a second one would repeat its requests."""
    waiting: Sequence[dg.DagsterRun] = instance.get_runs(
        dg.RunsFilter(job_name=DAILY_REFRESH, statuses=[dg.DagsterRunStatus.NOT_STARTED, *UNDER_WAY]), limit=100
    )
    for run in waiting:
        start, end = run.tags.get(RANGE_START), run.tags.get(RANGE_END)
        # Compared as text, since a run's tags may hold anything; ISO 8601 sorts like the days.
        if start and end and start <= dates.start.isoformat() and end >= dates.end.isoformat():
            return run
    return None


def check_cron(text: str) -> None:
    """Raises ValueError, which names the setting, for a cron expression that Dagster does not take."""
    try:
        dg.ScheduleDefinition(name="checked", job_name="checked", cron_schedule=text)
    except dg.DagsterInvalidDefinitionError:
        raise unreadable("SOUNDLINK_SCHEDULE", text, CRON_FORM) from None
