"""The Dagster instance: configuration, storage, daemon, what starts by itself, and the runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorTick, TickStatus
from dagster._utils.schedules import schedule_execution_time_iterator

from soundlink_pipeline.alerts.message import read_alert
from soundlink_pipeline.doctor.finding import Finding, fault, first_line, minute, ok, warn
from soundlink_pipeline.doctor.patient import LONGEST_SILENCE, Patient
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH

# Daemons tell of themselves every 30 s.
_HEARTBEAT = timedelta(minutes=3)
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def check_dagster(patient: Patient) -> Iterator[Finding]:
    """Opens the instance only if it is there."""
    home = Path(patient.home or Path.cwd())
    fix = "set it to the project folder, as an absolute path; make does"
    if patient.home and not (home.is_absolute() and home.is_dir()):
        yield fault("DAGSTER_HOME", f"{home} is not the absolute path of a folder: Dagster refuses it", fix)
        return
    if not patient.home:
        yield warn("DAGSTER_HOME", "is not set: make and dagster dev work, other commands of Dagster do not", fix)
    if (home / "dagster.yaml").is_file():
        yield ok("dagster.yaml", f"found in {home}")
    else:
        says = f"there is none in {home}: without it runs go side by side, and all but one fail on the warehouse"
        yield warn("dagster.yaml", says, "copy the project's there")
    if not _has_books(home):
        yield ok("storage", "is not there yet; the first run makes it")
        return
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield ok("storage", f"can be opened: {instance.get_runs_count():,} runs")
        yield _daemon(instance, patient.clock())
        yield from _automation(instance, patient)
        yield from _last_run(instance, patient)
        yield from _runs_under_way(instance, patient.clock())


def _has_books(home: Path) -> bool:
    """Whether Dagster's SQLite files are there: opening the instance would make them. Others are opened in any case."""
    data = InstanceRef.from_dir(str(home)).storage_data
    folder = data.config_dict.get("base_dir") if data else None
    names = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
    return folder is None or all((Path(folder) / name).exists() for name in names)


def _daemon(instance: dg.DagsterInstance, now: datetime) -> Finding:
    """Whether somebody launches what the schedule asks for."""
    beats = instance.get_daemon_heartbeats()
    needed = {"SCHEDULER": "the scheduler", "QUEUED_RUN_COORDINATOR": "the run queue"}
    last = {name: datetime.fromtimestamp(beats[name].timestamp, UTC) for name in needed if name in beats}
    dead = [told for name, told in needed.items() if name not in last or now - last[name] > _HEARTBEAT]
    if dead:
        seen = f"last seen {minute(max(last.values()))}" if last else "never seen"
        fix = "make dev, or a Dagster daemon, for as long as the daily refresh is to run; make backfill needs none"
        return warn("daemon", f"not running: {' and '.join(dead)} ({seen})", fix)
    errors = [error for name in needed for error in beats[name].errors or ()]
    if errors:
        return warn("daemon", f"is running, with an error: {first_line(errors[0].message)}")
    return ok("daemon", "is running")


def _automation(instance: dg.DagsterInstance, patient: Patient) -> Iterator[Finding]:
    """A line for each schedule and sensor: whether it is on, and how its last tick ended."""
    states = instance.all_instigator_state()
    by_themselves: Sequence[dg.ScheduleDefinition | dg.SensorDefinition] = [
        *patient.repository.schedule_defs,
        *patient.repository.sensor_defs,
    ]
    for served in by_themselves:
        known: Sequence[InstigatorState | None] = [state for state in states if state.name == served.name]
        for state in known or (None,):  # two, if it was served by two code locations: the UI shows both
            yield _instigator(instance, served, state, patient.clock())


def _instigator(
    instance: dg.DagsterInstance,
    served: dg.ScheduleDefinition | dg.SensorDefinition,
    state: InstigatorState | None,
    now: datetime,
) -> Finding:
    on_by_default = served.default_status.value == InstigatorStatus.RUNNING.value
    switched = state.status if state else None
    if switched is InstigatorStatus.STOPPED and on_by_default:
        lost = "" if isinstance(served, dg.ScheduleDefinition) else ", so nobody is told of a run that fails"
        return warn(served.name, f"is stopped{lost}", "switch it on in the UI: Automation")
    if switched is not InstigatorStatus.RUNNING and not on_by_default:
        return ok(served.name, "is stopped: SOUNDLINK_ALERT_URL is not set")
    told = "is running" if state else "is on by default, no daemon has seen it yet"
    if isinstance(served, dg.ScheduleDefinition):
        to_come = schedule_execution_time_iterator(now.timestamp(), served.cron_schedule, served.execution_timezone)
        told += f"; next tick {minute(next(to_come))}"
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1) if state else ()
    for tick in ticks:
        told += f"; last tick {minute(datetime.fromtimestamp(tick.timestamp, UTC))}: {_outcome(tick)}"
        if tick.status is TickStatus.FAILURE:
            return warn(served.name, told, "its page in the UI tells more: Automation")
    return ok(served.name, told)


def _outcome(tick: InstigatorTick) -> str:
    if tick.status is TickStatus.FAILURE:
        return f"failed: {first_line(tick.error.message) if tick.error else 'Dagster kept no reason'}"
    if tick.status is TickStatus.SKIPPED:
        return f"skipped: {tick.skip_reason or 'no reason given'}"
    return "asked for a run" if tick.run_ids else tick.status.value.lower()


def _last_run(instance: dg.DagsterInstance, patient: Patient) -> Iterator[Finding]:
    """How the last daily refresh ended; if badly, in the words of an alert."""
    for record in instance.get_run_records(dg.RunsFilter(job_name=DAILY_REFRESH, statuses=_ENDED), limit=1):
        run, at = record.dagster_run, minute(record.update_timestamp)
        alert = read_alert(instance, run, patient.settings.ui_url)
        if alert and alert.failures:
            more = f" (and {len(alert.failures) - 1} more)" if len(alert.failures) > 1 else ""
            says = f"{at}: failed: {first_line(alert.failures[0].reason)}{more}"
            yield warn("last run", says, f"{alert.to_do} {alert.link}")
        else:
            yield ok("last run", f"{at}: {run.status.value.lower()}")


def _runs_under_way(instance: dg.DagsterInstance, now: datetime) -> Iterator[Finding]:
    for record in instance.get_run_records(dg.RunsFilter(statuses=_UNDER_WAY), limit=10):
        run = record.dagster_run
        events = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
        heard = datetime.fromtimestamp(events[0].timestamp, UTC) if events else record.update_timestamp.astimezone(UTC)
        told = f"{run.job_name} {run.run_id[:8]} is {run.status.value.lower()}, last heard of {minute(heard)}"
        if now - heard > LONGEST_SILENCE:
            fix = "if its process is gone, terminate it in the UI (Runs, force): until then no other run starts"
            yield warn("run under way", f"{told}: it seems stuck", fix)
        else:
            yield ok("run under way", told)
