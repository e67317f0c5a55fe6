"""`soundlink status`: what is loaded, settled and published, the last run and the next one. Reads only."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
from sqlalchemy.exc import SQLAlchemyError

from soundlink_pipeline.commands.execution import loaded_settings
from soundlink_pipeline.commands.project_folder import check_instance_file, enter_project, require_project
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.doctor.daemon import daemon_state
from soundlink_pipeline.doctor.dagster_state import has_storage, next_tick, sqlite_folder
from soundlink_pipeline.doctor.finding import first_line, minute
from soundlink_pipeline.orchestration.failures import failed_accounts
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH, FRESHNESS
from soundlink_pipeline.orchestration.orphaned_runs import find_orphaned_runs
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START, UNDER_WAY, limits_of
from soundlink_pipeline.orchestration.schedules import build_schedules
from soundlink_pipeline.orchestration.totals_check import COMPARE_TOTALS
from soundlink_pipeline.orchestration.turn import waiting_line
from soundlink_pipeline.publishing.file_copy import read_published
from soundlink_pipeline.pulling.planning import duration
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.typed import typed
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.wording import counted

# A run that writes holds the warehouse for seconds.
_WAIT_SECONDS = 5.0
_LABEL_WIDTH = 11
_SINCE = {
    dg.DagsterRunStatus.QUEUED: "queued",
    dg.DagsterRunStatus.STARTING: "being started since",
    dg.DagsterRunStatus.STARTED: "started",
    dg.DagsterRunStatus.CANCELING: "being canceled, started",
}
_SCHEDULE = f"{DAILY_REFRESH}_schedule"
# Jobs that change nothing, and how many runs are read to find one of another job.
_ONLY_LOOKING, _LOOKS_BACK = (COMPARE_TOTALS, FRESHNESS), 50
_ENDED = dg.RunsFilter(statuses=[status for status in dg.DagsterRunStatus if status not in UNDER_WAY])
_NO_DAEMON = "the daemon is {}: no run starts by itself; {} runs one"
# What a line is about, and what it says; a line without a subject goes on with the one before.
Line = tuple[str, str]


def show_status() -> None:
    """Print a screen. Raises click.ClickException where there is no project."""
    folder = enter_project()
    require_project(folder, for_runs=False)
    home = Path(os.environ.get("DAGSTER_HOME", folder))
    check_instance_file(home)
    settings, now = loaded_settings(), datetime.now(UTC)
    soundlink = Soundlink(settings, lambda _: None)
    print(f"{'Project':<{_LABEL_WIDTH}} {folder}")
    for about in (_loaded(soundlink, home), _published(soundlink, now), _runs_if_readable(home, now, settings)):
        for label, text in about:
            print(f"{label:<{_LABEL_WIDTH}} {text}", flush=True)


def _loaded(soundlink: Soundlink, home: Path) -> Iterator[Line]:
    warehouse = soundlink.warehouse
    names = [account.name for account in soundlink.settings.accounts]
    failed = _failed_accounts(home, names) if len(names) > 1 else {}
    if not warehouse.exists():
        yield "Loaded", f"nothing yet: {typed('pull --from=DAY --to=DAY')}"
        yield from _labelled("Accounts", (f"{name}: never pulled{_why(name, failed)}" for name in failed))
        return
    try:
        with warehouse.read(_WAIT_SECONDS) as connection:
            settled = Ledger(connection).newest_settled_day(warehouse.exports)
            yield "Settled", f"up to {settled}: these numbers are final" if settled else "no day yet"
            for number, export in enumerate(warehouse.exports):
                yield "" if number else "Loaded", f"{export.name}: {_rows(connection, export)}"
            yield from _labelled("Accounts", _accounts(connection, names, failed))
    except (WarehouseLocked, WarehouseUnusable) as error:
        yield "Loaded", f"cannot be read now: {error}"


def _labelled(label: str, texts: Iterable[str]) -> Iterator[Line]:
    for number, text in enumerate(texts):
        yield "" if number else label, text


def _accounts(
    connection: duckdb.DuckDBPyConnection, names: Collection[str], failed: Mapping[str, str]
) -> Iterator[str]:
    """A line for each account where there are several, of the warehouse or of the settings, which give `names`.

    Of those that have `failed` it says why.
    """
    rows = connection.execute("select name, campaigns, soundlinks, last_pulled_at from accounts").fetchall()
    # One that the settings name only since the last run is not in the warehouse yet.
    found = dict.fromkeys(names, "never pulled") | {
        name: f"{counted(campaigns, 'campaign')}, {counted(soundlinks, 'soundlink')}; "
        + (f"last pulled {minute(pulled)}" if pulled else "never pulled")
        for name, campaigns, soundlinks, pulled in rows
    }
    for name, what in sorted(found.items()) if len(found) > 1 else ():
        gone = "" if name in names else "; the settings no longer name it"
        yield f"{name}: {what}{gone}{_why(name, failed)}"


def _why(account: str, failed: Mapping[str, str]) -> str:
    return f"; failed when it was last asked: {failed[account]}" if account in failed else ""


def _failed_accounts(home: Path, names: Collection[str]) -> dict[str, str]:
    """The accounts that failed in the last run that pulled of them and has ended, each with why."""
    if not (home / "dagster.yaml").is_file() or not has_storage(home):
        return {}
    found, waiting = dict[str, str](), set(names)
    # The lines about runs say it where the storage cannot be read.
    with suppress(dg.DagsterError, SQLAlchemyError), dg.DagsterInstance.from_config(str(home)) as instance:
        for record in instance.get_run_records(_ENDED, limit=_LOOKS_BACK):
            run = record.dagster_run
            asked = waiting & set(limits_of(run, "accounts") or waiting) if _pulls(run) else set()
            if asked:
                failed = failed_accounts(instance, run.run_id)
                found |= {name: reason for name, reason in failed.items() if name in asked}
                waiting -= asked
            if not waiting:
                break
    return found


def _pulls(run: dg.DagsterRun) -> bool:
    selected = run.asset_selection or ()
    return run.job_name == DAILY_REFRESH or any(dg.AssetKey(export.name) in selected for export in EXPORTS)


def _rows(connection: duckdb.DuckDBPyConnection, export: Export) -> str:
    ((rows, subjects, first, last),) = connection.execute(
        f"select count(*), count(distinct {export.id_column}), min(report_date), max(report_date) from {export.name}"
    ).fetchall()
    ((pulled,),) = connection.execute(
        "select max(pulled_at) from deliveries where export = $1", [export.name]
    ).fetchall()
    if pulled is None:
        return "never pulled"
    days = f" of {counted(subjects, export.subject.name)}, {first} to {last}" if rows else ""
    return f"{counted(rows, 'row')}{days}; last pulled {minute(pulled)}"


def _published(soundlink: Soundlink, now: datetime) -> Iterator[Line]:
    file = soundlink.published_path
    if not file.exists():
        yield "Published", f"nothing yet: {file} comes with the first run that succeeds"
        return
    try:
        with read_published(file) as connection:
            ((moment,),) = connection.execute("select published_at from publication").fetchall()
    except duckdb.Error as error:
        yield "Published", f"{file} cannot be read: {error}"
        return
    age = now - moment.replace(tzinfo=UTC)
    yield "Published", f"{file}, {file.stat().st_size / 1e6:.1f} MB, {_ago(age)} ({minute(moment)})"


def _runs_if_readable(home: Path, now: datetime, settings: Settings) -> Iterator[Line]:
    try:
        yield from _runs(home, now, settings)
    except (dg.DagsterError, SQLAlchemyError) as error:
        yield "Last run", f"cannot be read now: {first_line(error)}; {typed('doctor')} looks further"


def _runs(home: Path, now: datetime, settings: Settings) -> Iterator[Line]:
    if not (home / "dagster.yaml").is_file() or not has_storage(home):
        yield "Last run", "none yet"
        yield from _next_run(now, settings)
        yield "", _NO_DAEMON.format("not running (never seen)", typed("dev"))
        return
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield from _last_run(instance, now)
        yield from _under_way(instance)
        if any(item.name == _SCHEDULE and item.status.value == "STOPPED" for item in instance.all_instigator_state()):
            yield "Next run", f"none: {_SCHEDULE} is stopped; switch it on in the UI: Automation"
        else:
            yield from _next_run(now, settings)
        daemon = daemon_state(instance, now, home if sqlite_folder(home) else None)
        if daemon.level != "ok":
            yield "", _NO_DAEMON.format(daemon.message, typed("dev"))


def _last_ended(instance: dg.DagsterInstance) -> Sequence[dg.RunRecord]:
    """The last run that has ended; one that only looks would hide the pull or build before it, and its failure."""
    records = instance.get_run_records(_ENDED, limit=_LOOKS_BACK)
    changing = [record for record in records if record.dagster_run.job_name not in _ONLY_LOOKING]
    return sorted(changing or records, key=_ended_at, reverse=True)[:1]


def _ended_at(record: dg.RunRecord) -> float:
    return record.end_time or record.update_timestamp.timestamp()


def _last_run(instance: dg.DagsterInstance, now: datetime) -> Iterator[Line]:
    for record in _last_ended(instance):
        run, moment = record.dagster_run, datetime.fromtimestamp(_ended_at(record), UTC)
        yield "Last run", f"{_named(run)}: {run.status.value.lower()}, ended {minute(moment)} ({_ago(now - moment)})"


def _under_way(instance: dg.DagsterInstance) -> Iterator[Line]:
    """The runs that have not ended, and which of them only wait, or were killed."""
    killed = find_orphaned_runs(instance)
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(UNDER_WAY)), limit=5):
        run = record.dagster_run
        since = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else record.create_timestamp
        state = f"{_named(run)}: {_SINCE.get(run.status, 'requested')} {minute(since)}"
        if run.run_id in killed:
            yield "Killed", f"{state}, but its process is gone; the next run marks it as failed and goes on from there"
        elif run.status is dg.DagsterRunStatus.QUEUED:
            yield "Queued", state
        elif waits := waiting_line(instance, run.run_id):
            yield "Waiting", f"{state}. {waits}"
        else:
            yield "Under way", state


def _named(run: dg.DagsterRun) -> str:
    days = (run.tags.get(RANGE_START), run.tags.get(RANGE_END))
    name = "materialization in the UI" if run.job_name.startswith("__") else run.job_name
    return f"{name}, {days[0]} to {days[1]}" if all(days) else name


def _next_run(now: datetime, settings: Settings) -> Iterator[Line]:
    # The schedule alone: all definitions would read every SQL model, which takes longer than all else here.
    schedules = {schedule.name: schedule for schedule in build_schedules(settings.schedule, settings.start_date)}
    tick = next_tick(schedules[_SCHEDULE], now)
    yield "Next run", f"{minute(tick)}, in {duration((tick - now).total_seconds())}, by {_SCHEDULE}"


def _ago(age: timedelta) -> str:
    days = age.days
    return f"{counted(days, 'day')} ago" if days > 1 else f"{duration(max(age.total_seconds(), 0))} ago"
