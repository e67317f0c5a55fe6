"""The daily schedule: one run over one range, the trailing 8 days or as far back as a pulled day is not settled."""

from datetime import UTC, date

import dagster as dg

from soundlink_pipeline.assets import RANGE_END, RANGE_START
from soundlink_pipeline.jobs import DAILY_REFRESH, daily_refresh
from soundlink_pipeline.partitions import TRAILING_DAYS, refresh_range
from soundlink_pipeline.resources import Soundlink
from soundlink_pipeline.warehouse import WarehouseLocked, WarehouseUnusable

# A tick must answer soon; a run that writes holds the warehouse for seconds only.
_WAIT_SECONDS = 20.0


def build_schedule(cron: str, start_date: date) -> dg.ScheduleDefinition:
    """`daily_refresh_schedule`, on by default. It reads the resource `soundlink`."""

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
        try:
            unsettled = soundlink.warehouse.oldest_unsettled(now, _WAIT_SECONDS)
        except (WarehouseLocked, WarehouseUnusable) as error:
            # The trailing days are right in any case; an older gap is healed by the next tick.
            context.log.warning(f"the ledger could not be read, so older unsettled days wait: {error}")
            unsettled = None
        dates = refresh_range(now, start_date, unsettled)
        if dates is None:
            return dg.SkipReason(f"no day since the first partition, {start_date}, has closed yet")
        healing = dates.days > TRAILING_DAYS
        context.log.info(
            f"{dates}: "
            + (f"{dates.start} was pulled but never settled" if healing else "the days that may be revised")
        )
        return dg.RunRequest(tags={RANGE_START: dates.start.isoformat(), RANGE_END: dates.end.isoformat()})

    return daily_refresh_schedule
