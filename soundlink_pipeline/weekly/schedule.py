"""The job `weekly_report` and its schedule: on Mondays, once the refresh has published Sunday.

Off unless `SOUNDLINK_REPORT_URL` names a receiver. The schedule looks every three hours from Monday to Wednesday if
there is something to send. So a late refresh and a mail server that was down are made up for, and a week is sent once.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg

from soundlink_pipeline.settings.receivers import REPORT_URL, receivers_of
from soundlink_pipeline.settings.settings import Settings

WEEKLY_REPORT = "weekly_report"
SCHEDULE = f"{WEEKLY_REPORT}_schedule"
# A run that fails raises an alert: not every hour.
_MONDAY_TO_WEDNESDAY = "40 */3 * * 1-3"
_NO_RECEIVER = "No receiver: SOUNDLINK_REPORT_URL is not set."


def build_weekly_report(
    read_url: Callable[[], str | None],
    settings: Settings,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> tuple[dg.JobDefinition, dg.ScheduleDefinition]:
    """Job and schedule; the schedule is on by default if `read_url` returns URLs. Raises ValueError for a bad one."""
    is_on = bool(receivers_of(REPORT_URL, read_url()))
    published = settings.data_dir / "soundlink.duckdb"

    @dg.op(description="Sends the newest week to those receivers in SOUNDLINK_REPORT_URL that have not had it.")
    def send_weekly_report(context: dg.OpExecutionContext) -> None:
        # Not at the top: the definitions load without what reads and sends.
        from soundlink_pipeline.weekly.sending import NotSent, send_once  # noqa: PLC0415

        receivers = receivers_of(REPORT_URL, read_url())
        if not receivers:
            raise dg.Failure(_NO_RECEIVER, allow_retries=False)
        try:
            send_once(published, receivers, context.log.info, now())
        except NotSent as error:
            raise dg.Failure(str(error), allow_retries=False) from None

    @dg.job(
        name=WEEKLY_REPORT,
        description=(
            "Sends the figures of the newest week that is over, Monday to Sunday, with the whole report, to"
            " SOUNDLINK_REPORT_URL: each receiver gets a week once. soundlink report --send sends it again."
        ),
    )
    def weekly_report() -> None:
        send_weekly_report()

    @dg.schedule(
        name=SCHEDULE,
        job=weekly_report,
        cron_schedule=_MONDAY_TO_WEDNESDAY,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING if is_on else dg.DefaultScheduleStatus.STOPPED,
        description=(
            "Sends the weekly report once Sunday is published: looks every three hours from Monday to Wednesday."
            + ("" if is_on else " Off: set SOUNDLINK_REPORT_URL.")
        ),
    )
    def weekly_report_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from soundlink_pipeline.weekly.sending import last_sunday, why_not_yet  # noqa: PLC0415

        receivers = receivers_of(REPORT_URL, read_url())
        if not receivers:
            return dg.SkipReason(_NO_RECEIVER)
        sunday = last_sunday(context.scheduled_execution_time)
        if reason := why_not_yet(published, len(receivers), sunday):
            return dg.SkipReason(reason)
        return dg.RunRequest(tags={"soundlink/week": f"{sunday:%G-W%V}"})

    return weekly_report, weekly_report_schedule
