"""The runs: how the last ones and the last backfill ended, and which are under way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime

import dagster as dg

from soundlink_pipeline.alerts.message import read_alert
from soundlink_pipeline.doctor.finding import Finding, first_line, minute, ok, warn
from soundlink_pipeline.doctor.project_state import LONGEST_SILENCE, ProjectState
from soundlink_pipeline.orchestration.jobs import FRESHNESS, MODELS_AND_PUBLICATION
from soundlink_pipeline.orchestration.orphaned_runs import find_orphaned_runs
from soundlink_pipeline.orchestration.run_context import UNDER_WAY
from soundlink_pipeline.orchestration.run_tags import dates_of, described
from soundlink_pipeline.orchestration.totals_check import COMPARE_TOTALS
from soundlink_pipeline.orchestration.turn import waiting_line
from soundlink_pipeline.wording import counted

_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
# Jobs that change nothing; the runs that are looked at hold more than a week of them.
_ONLY_CHECKS, _LOOKED_AT = (FRESHNESS, COMPARE_TOTALS), 50
# Of Dagster's words those that say less than ours.
_STATES = {
    "REQUESTED": "goes on",
    "COMPLETED": "succeeded",
    "COMPLETED_SUCCESS": "succeeded",
    "COMPLETED_FAILED": "failed",
    "FAILING": "goes on, though it has failed",
    "CANCELING": "is being canceled",
}


def last_runs(instance: dg.DagsterInstance, project: ProjectState) -> Iterator[Finding]:
    """How the last run ended, whoever started it, and earlier ones that failed and whose days nothing pulled since.

    Runs that were to change data; a build that succeeds says nothing of the loading that it follows.
    """
    records = [
        record
        for record in instance.get_run_records(dg.RunsFilter(statuses=_ENDED), limit=_LOOKED_AT)
        if record.dagster_run.job_name not in _ONLY_CHECKS
        and not (record.dagster_run.job_name == MODELS_AND_PUBLICATION and record.dagster_run.is_success)
    ]
    later: list[dg.DagsterRun] = []
    for number, record in enumerate(records):
        run = record.dagster_run
        if number == 0:
            yield _ended(instance, run, record.update_timestamp, "last run", project.settings.ui_url)
        elif run.is_failure and _days(run) - {day for other in later if _is_like(other, run) for day in _days(other)}:
            yield _ended(instance, run, record.update_timestamp, "earlier run", project.settings.ui_url)
        if run.is_success or run.is_failure:  # of days that have failed twice, the last time is told
            later.append(run)


def _ended(instance: dg.DagsterInstance, run: dg.DagsterRun, moment: datetime, what: str, ui_url: str) -> Finding:
    """If it failed, with the words of its alert."""
    at = f"{minute(moment)}: {described(run)}"
    alert = read_alert(instance, run, ui_url)
    if not alert or not alert.failures:
        return ok(what, f"{at}: {run.status.value.lower()}")
    more = f" (and {len(alert.failures) - 1} more)" if len(alert.failures) > 1 else ""
    return warn(what, f"{at}: failed: {first_line(alert.failures[0].reason)}{more}", f"{alert.to_do} {alert.link}")


def _days(run: dg.DagsterRun) -> set[date]:
    dates = dates_of(run.tags)
    return set(dates.dates()) if dates else set()


def _is_like(run: dg.DagsterRun, other: dg.DagsterRun) -> bool:
    """Whether a run materialized all that the other should have."""
    if run.asset_selection is None or other.asset_selection is None:  # None: the whole job
        return run.asset_selection is None
    return run.asset_selection >= other.asset_selection


def last_backfill(instance: dg.DagsterInstance) -> Iterator[Finding]:
    """What became of the newest backfill from the UI, and how its runs ended."""
    for backfill in instance.get_backfills(limit=1):
        runs = instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill.backfill_id}))
        ended = Counter(run.status.value.lower() for run in runs)
        counts = ", ".join(f"{count} {status}" for status, count in sorted(ended.items()))
        state = _STATES.get(backfill.status.value, backfill.status.value.lower())
        at = minute(datetime.fromtimestamp(backfill.backfill_timestamp, UTC))
        # Without any: it has launched none yet, or they are so old that they were deleted.
        message = f"{at}: {state}" + (f", {counted(len(runs), 'run')}: {counts}" if runs else "")
        if backfill.error and backfill.status.value in ("FAILED", "FAILING"):
            message += f"; {first_line(backfill.error.message)}"
            yield warn("last backfill", message, "see its page in the UI (Runs, Backfills), and launch it again")
        else:
            yield ok("last backfill", message)


def runs_under_way(instance: dg.DagsterInstance, now: datetime) -> Iterator[Finding]:
    """A finding for each: whether its process lives, whether it only waits, and whether it still tells of itself."""
    killed = find_orphaned_runs(instance)
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(UNDER_WAY)), limit=10):
        run = record.dagster_run
        events = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
        heard = datetime.fromtimestamp(events[0].timestamp, UTC) if events else record.update_timestamp.astimezone(UTC)
        message = f"{described(run)} ({run.run_id[:8]}) is {run.status.value.lower()}"
        if run.run_id in killed:
            fix = "nothing: the next run, by hand or by the schedule, marks it as failed and loads what has arrived"
            yield warn("killed run", f"{message}, but its process is gone", fix)
        elif waits := waiting_line(instance, run.run_id):
            yield ok("waiting run", f"{message}. {waits}")
        elif now - heard > LONGEST_SILENCE:
            fix = "if its process is gone, terminate it in the UI (Runs, force): until then no other run starts"
            yield warn("run under way", f"{message}, no event since {minute(heard)}; possibly stuck", fix)
        else:
            yield ok("run under way", f"{message}, last event {minute(heard)}")
