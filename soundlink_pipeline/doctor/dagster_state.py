"""The Dagster instance: configuration, storage, daemon, schedules and sensors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import dagster as dg
import yaml

from soundlink_pipeline.alerts.sensor import SENSOR as ALERTS
from soundlink_pipeline.alerts.tick import State
from soundlink_pipeline.doctor.daemon import daemon_state
from soundlink_pipeline.doctor.finding import Finding, fault, first_line, minute, ok, warn
from soundlink_pipeline.doctor.project_state import ProjectState
from soundlink_pipeline.doctor.runs import last_backfill, last_runs, runs_under_way
from soundlink_pipeline.marketing.sensor import SENSOR as MARKETING_ALERTS
from soundlink_pipeline.marketing.tick import State as MarketingState
from soundlink_pipeline.orchestration.orphaned_runs import find_orphaned_runs
from soundlink_pipeline.orchestration.publication_sensor import SENSOR as PUBLICATION
from soundlink_pipeline.orchestration.run_context import UNDER_WAY
from soundlink_pipeline.orchestration.upkeep import UPKEEP
from soundlink_pipeline.settings.receivers import ALERT_URL, MARKETING_ALERT_URL, REPORT_URL
from soundlink_pipeline.weekly.schedule import SCHEDULE as WEEKLY_REPORT
from soundlink_pipeline.wording import counted

# What does not happen while a sensor is stopped.
# The settings that switch on what is off by default.
_SWITCHED_ON_BY = {ALERTS: ALERT_URL, MARKETING_ALERTS: MARKETING_ALERT_URL, WEEKLY_REPORT: REPORT_URL}
_LOST = {
    ALERTS: ": failed runs raise no alert",
    MARKETING_ALERTS: ": marketers get no alert",
    WEEKLY_REPORT: ": nobody gets the weekly report",
    PUBLICATION: ": what a backfill in the UI loads is not published",
    UPKEEP: ": nobody deletes what Dagster keeps of old runs, and queued runs do not say what they wait for",
}


class _Status(Protocol):
    """Dagster's status of a tick, or of a schedule or sensor."""

    @property
    def value(self) -> str: ...


class _Error(Protocol):
    @property
    def message(self) -> str: ...


class _Tick(Protocol):
    """One evaluation of a schedule or sensor, as the instance stores it; `timestamp` in Unix seconds."""

    @property
    def timestamp(self) -> float: ...
    @property
    def status(self) -> _Status: ...
    @property
    def error(self) -> _Error | None: ...
    @property
    def skip_reason(self) -> str | None: ...
    @property
    def run_ids(self) -> Sequence[str]: ...


class _Switch(Protocol):
    """Whether a schedule or sensor is on, as the instance stores it."""

    @property
    def status(self) -> _Status: ...
    @property
    def instigator_origin_id(self) -> str: ...
    @property
    def selector_id(self) -> str: ...
    @property
    def instigator_data(self) -> object: ...


def check_dagster(project: ProjectState) -> Iterator[Finding]:
    """Opens the instance only if its storage exists."""
    home = Path(project.home or Path.cwd())
    fix = "set it to the absolute path of the project folder"
    if project.home and not (home.is_absolute() and home.is_dir()):
        yield fault("DAGSTER_HOME", f"{home} is not the absolute path of a folder: Dagster refuses it", fix)
        return
    if not project.home:
        yield warn("DAGSTER_HOME", "is not set: soundlink and dagster dev work, other Dagster commands do not", fix)
    if (home / "dagster.yaml").is_file():
        yield ok("dagster.yaml", f"found in {home}")
    else:
        message = f"not found in {home}: without it runs overlap, and all but one fail on the locked warehouse"
        yield warn("dagster.yaml", message, "copy the project's file there")
    if not has_storage(home):
        yield ok("storage", "is not there yet; the first run makes it")
        return
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield ok("storage", f"can be opened: {counted(instance.get_runs_count(), 'run')}")
        yield daemon_state(instance, project.clock(), home if sqlite_folder(home) else None)
        yield from _automation(instance, project)
        yield from last_runs(instance, project)
        yield from last_backfill(instance)
        yield from runs_under_way(instance, project.clock())


def run_is_under_way(project: ProjectState) -> bool:
    """Whether a run has begun and lives, or waits to begin. Opens the instance only if its storage exists."""
    home = Path(project.home or Path.cwd())
    if not home.is_dir() or not has_storage(home):
        return False
    with dg.DagsterInstance.from_config(str(home)) as instance:
        under_way = instance.get_runs(dg.RunsFilter(statuses=list(UNDER_WAY)))
        return bool({run.run_id for run in under_way} - set(find_orphaned_runs(instance)))


def has_storage(home: Path) -> bool:
    """Whether Dagster's SQLite files exist: opening the instance would make them. Other storage is always opened."""
    folder = sqlite_folder(home)
    names = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
    return folder is None or all((folder / name).exists() for name in names)


def sqlite_folder(home: Path) -> Path | None:
    """Where dagster.yaml puts the SQLite files: the home, unless it says otherwise. None for other storage."""
    file = home / "dagster.yaml"
    configured: Any = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.is_file() else {}
    storage = configured.get("storage")
    if not storage:
        return None if "run_storage" in configured else home
    config = storage.get("sqlite") or storage.get("custom", {}).get("config") or {}
    folder = config.get("base_dir")
    if isinstance(folder, dict):  # base_dir: {env: NAME}
        folder = os.environ.get(folder.get("env", ""))
    return Path(folder) if folder else None


def _automation(instance: dg.DagsterInstance, project: ProjectState) -> Iterator[Finding]:
    """A finding for each schedule and sensor: whether it is on, and how its last tick ended; and undelivered alerts."""
    states = instance.all_instigator_state()
    automation: Sequence[dg.ScheduleDefinition | dg.SensorDefinition] = [
        *project.repository.schedule_defs,
        *project.repository.sensor_defs,
    ]
    for definition in automation:
        known: Sequence[_Switch | None] = [state for state in states if state.name == definition.name]
        for state in known or (None,):  # two, if two code locations have served it: the UI shows both
            yield _instigator(instance, definition, state, project.clock())
            if state is not None and definition.name == ALERTS:
                yield from _undelivered(state)
            if state is not None and definition.name == MARKETING_ALERTS:
                yield from _undelivered_to_marketers(state)


def _instigator(
    instance: dg.DagsterInstance,
    definition: dg.ScheduleDefinition | dg.SensorDefinition,
    state: _Switch | None,
    now: datetime,
) -> Finding:
    on_by_default = definition.default_status.value == "RUNNING"
    switched = state.status.value if state else None
    if switched == "STOPPED" and on_by_default:
        return warn(
            definition.name, f"is stopped{_LOST.get(definition.name, '')}", "switch it on in the UI: Automation"
        )
    if switched != "RUNNING" and not on_by_default:
        return ok(definition.name, f"is stopped: {_SWITCHED_ON_BY[definition.name]} is not set")
    message = "is running" if state else "is on by default, no daemon has seen it yet"
    if isinstance(definition, dg.ScheduleDefinition):
        message += f"; next tick {minute(next_tick(definition, now))}"
    ticks: Sequence[_Tick] = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1) if state else ()
    for tick in ticks:
        message += f"; last tick {minute(datetime.fromtimestamp(tick.timestamp, UTC))}: {_outcome(tick)}"
        if tick.status.value == "FAILURE":
            return warn(definition.name, message, "see its page in the UI: Automation")
    return ok(definition.name, message)


def next_tick(schedule: dg.ScheduleDefinition, now: datetime) -> datetime:
    """Dagster's own reading of a cron expression, by the partitions that it would make."""
    cron = schedule.cron_schedule if isinstance(schedule.cron_schedule, str) else schedule.cron_schedule[0]
    ticks = dg.TimeWindowPartitionsDefinition(start=now, cron_schedule=cron, fmt="%Y-%m-%dT%H:%M", timezone="UTC")
    return ticks.time_window_for_partition_key(ticks.get_partition_keys(now + timedelta(days=1500))[0]).start


def _outcome(tick: _Tick) -> str:
    if tick.status.value == "FAILURE":
        return f"failed: {first_line(tick.error.message) if tick.error else 'Dagster kept no reason'}"
    if tick.status.value == "SKIPPED":
        return f"skipped: {first_line(tick.skip_reason or 'no reason given')}"
    return "requested a run" if tick.run_ids else tick.status.value.lower()


def _undelivered(alerts: _Switch) -> Iterator[Finding]:
    """A warning for alerts that the receiver has not taken; the sensor's cursor keeps them."""
    state = State.read(getattr(alerts.instigator_data, "cursor", None))
    if state is not None and state.undelivered:
        newest = max(state.undelivered.values(), key=lambda item: item.at)
        message = f"{counted(len(state.undelivered), 'alert')} not delivered; newest: {first_line(newest.message)}"
        yield warn("alert delivery", message, "check SOUNDLINK_ALERT_URL and its receiver")


def _undelivered_to_marketers(alerts: _Switch) -> Iterator[Finding]:
    """A warning for the last tick's alerts that a receiver has not taken; the sensor's cursor keeps why."""
    problem = MarketingState.read(getattr(alerts.instigator_data, "cursor", None)).problem
    if problem:
        message = f"alerts for marketers not delivered: {first_line(problem)}"
        yield warn("marketing alert delivery", message, f"check {MARKETING_ALERT_URL} and its receiver")
