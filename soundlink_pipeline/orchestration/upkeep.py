"""The sensor `upkeep`: what somebody must do every half minute about runs and, once a day, about Dagster's storage.

It marks runs as failed whose process is gone, says in the log of a queued run which run it waits for, deletes ticks
that had nothing to do, and keeps Dagster's storage bounded (`retention.py`). It launches nothing, and takes no place in
the queue of runs.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from soundlink_pipeline.orchestration.orphaned_runs import fail_orphaned_runs
from soundlink_pipeline.orchestration.publication_sensor import SENSOR as PUBLICATION
from soundlink_pipeline.orchestration.run_context import UNDER_WAY
from soundlink_pipeline.orchestration.run_tags import described, own_tags
from soundlink_pipeline.orchestration.turn import run_at_work
from soundlink_pipeline.orchestration.unevaluated_checks import report_unevaluated
from soundlink_pipeline.wording import counted

UPKEEP = "upkeep"
_INTERVAL_SECONDS = 30
_MOST_QUEUED = 50
_LONGEST_DAYS = 36_500  # there is no date before the year 1
# A failed run's checks are looked at for so long after its end.
_LATELY = timedelta(minutes=10)
# The publication sensor ticks every 10 s. Dagster keeps ticks for whole days, and a day of these would be 14 MB.
_QUIET_TICKS_STAY = timedelta(hours=1)
_AT_WORK = [status for status in UNDER_WAY if status is not dg.DagsterRunStatus.QUEUED]


@dataclass
class _Cursor:
    """The day (UTC) of the last whole pass over the storage, and until where runs are thinned (Unix seconds)."""

    day: str = ""
    thinned_until: float = 0.0

    @classmethod
    def read(cls, text: str | None) -> "_Cursor":
        try:
            return cls(**json.loads(text or ""))
        except (ValueError, TypeError):
            return cls()


def build_upkeep(
    retention_days: int, data_dir: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dg.SensorDefinition:
    """The sensor, on by default; Dagster's storage keeps what is younger than so many days.

    In `data_dir` runs take turns.
    """

    @dg.sensor(
        name=UPKEEP,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Marks runs as failed whose process is gone; says in the log of a queued run which run it waits for; and"
            f" once a day deletes runs, events, logs and ticks older than {counted(retention_days, 'day')}"
            " (SOUNDLINK_DAGSTER_RETENTION_DAYS). The newest materialization of every partition and the newest result"
            " of every check stay."
        ),
    )
    def upkeep(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        instance, moment, cursor = context.instance, now(), _Cursor.read(context.cursor)
        said = [f"run {run_id}: its process is gone, marked as failed" for run_id in fail_orphaned_runs(instance)]
        for run in instance.get_runs(
            dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=moment - _LATELY), limit=_MOST_QUEUED
        ):
            report_unevaluated(instance, run, otherwise="the run ended before it")
        if waiting := tell_queued_runs(instance, run_at_work(data_dir)):
            said.append(f"{counted(waiting, 'queued run')} told what to wait for")
        _delete_quiet_ticks(instance, moment - _QUIET_TICKS_STAY)
        if cursor.day != str(moment.date()):
            # Not at the top: SQLAlchemy's part of it would make loading the definitions slower.
            from soundlink_pipeline.orchestration.retention import keep_bounded  # noqa: PLC0415

            began = time.monotonic()
            days = min(retention_days, _LONGEST_DAYS)
            kept = keep_bounded(instance, moment, days, thinned_until=cursor.thinned_until)
            cursor.thinned_until = kept.thinned_until
            if kept.finished:
                cursor.day = str(moment.date())
            context.update_cursor(json.dumps(asdict(cursor)))
            said.append(f"{kept} ({time.monotonic() - began:.0f} s)")
        return dg.SkipReason("; ".join(said) or "nothing to do")

    return upkeep


def tell_queued_runs(instance: dg.DagsterInstance, at_work: str | None) -> int:
    """Say in the log of each queued run which run it waits for, and put on its tags; returns how many there are.

    That is the run `at_work`, if Dagster knows it as such; else the oldest that has started.
    """
    queued = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]), limit=_MOST_QUEUED)
    for run in queued:
        if tags := own_tags(run):
            instance.add_run_tags(run.run_id, tags)
    started = instance.get_run_records(dg.RunsFilter(statuses=_AT_WORK), ascending=True) if queued else ()
    # More than one has started where others wait for their turn.
    for record in sorted(started, key=lambda record: record.dagster_run.run_id != at_work)[:1]:
        since = datetime.fromtimestamp(record.start_time or record.create_timestamp.timestamp(), UTC)
        busy = record.dagster_run
        for run in queued:
            instance.report_engine_event(
                f"Waiting for run {busy.run_id[:8]} ({described(busy)}), which has been working since"
                f" {since:%Y-%m-%d %H:%M} UTC, to end: one run at a time.",
                run,
            )
    return len(queued) if started else 0


def _delete_quiet_ticks(instance: dg.DagsterInstance, before: datetime) -> None:
    """Delete ticks of the publication sensor that asked for nothing."""
    for state in instance.all_instigator_state():
        if state.name == PUBLICATION:
            instigator = (state.instigator_origin_id, state.selector_id)
            for tick in instance.get_ticks(*instigator, before=before.timestamp(), limit=1):
                if tick.status.value == "SKIPPED":
                    instance.purge_ticks(*instigator, before.timestamp(), [tick.status])
