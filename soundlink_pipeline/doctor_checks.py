"""What the doctor looks at: each check yields findings, changes nothing, and waits for nobody for long."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import sqlite3
import ssl
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import duckdb
import httpx
from dagster._core.instance.ref import InstanceRef
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, TickStatus
from dagster._utils.schedules import get_next_cron_tick
from packaging.requirements import Requirement

from soundlink_pipeline.api_errors import KeyRefused, ScopeMissing, SoundlinkError, Unreachable
from soundlink_pipeline.campaigns import may_have_rows
from soundlink_pipeline.client import SoundlinkClient
from soundlink_pipeline.exports import EXPORTS
from soundlink_pipeline.jobs import DAILY_REFRESH
from soundlink_pipeline.landing import Delivery, Landing
from soundlink_pipeline.pacing import Cancelled, Pacer
from soundlink_pipeline.partitions import TRAILING_DAYS, DateRange, last_closed_day, refresh_range
from soundlink_pipeline.pull import duration, expected_seconds
from soundlink_pipeline.settings import Settings
from soundlink_pipeline.sql_models import check_models as bind_models
from soundlink_pipeline.sql_project import read_project
from soundlink_pipeline.warehouse import Warehouse, WarehouseLocked, WarehouseUnusable

Level = Literal["ok", "warn", "FAULT"]

_PACKAGE = "soundlink-pipeline"
_KEY = "SOUNDLINK_API_KEY"
# Read where they are needed, and never shown.
SECRETS = (_KEY, "SOUNDLINK_ALERT_URL")
_SCHEDULE = f"{DAILY_REFRESH}_schedule"
# A run opens the warehouse for moments: who still has it after so long is no run that reads.
_WAREHOUSE_WAIT_SECONDS = 3.0
_LONGEST_QUERY_SECONDS = 10.0
# What a day's landed files, DuckDB's temporary ones and Dagster's books may need beside a copy of the warehouse.
_FLOOR_BYTES = 256_000_000
_TRIES = 2
_TIMEOUT = httpx.Timeout(connect=5.0, read=15.0, write=5.0, pool=None)
_LONGEST_WAIT_SECONDS = 5.0
_DEADLINE_SECONDS = 45.0
# Ping (twice where the key has to go as Bearer), a page of campaigns, an export, and one to spare.
_REQUESTS_NEEDED = 5
_CLOCK_TOLERANCE = timedelta(minutes=5)
# Daemons tell of themselves every 30 s.
_HEARTBEAT = timedelta(minutes=3)
# Longer than any wait for the API's limits, which are counted by the hour.
_SILENCE = timedelta(minutes=70)


@dataclass(frozen=True)
class Finding:
    """What was found of one thing, and what to do about it; `fix` may be empty where `says` tells."""

    level: Level
    what: str
    says: str
    fix: str = ""


@dataclass(frozen=True)
class ReadSettings:
    """The settings, None where one cannot be read, and what was found while reading them."""

    settings: Settings | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Patient:
    """What is examined. `key` is shown nowhere; `home` is DAGSTER_HOME as set; `clock` is aware."""

    settings: Settings
    key: str
    home: str
    clock: Callable[[], datetime]

    def __repr__(self) -> str:
        return f"Patient({self.settings!r})"

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.settings.data_dir, wait_seconds=_WAREHOUSE_WAIT_SECONDS)


# Installation and settings


def check_versions() -> Iterator[Finding]:
    """Python and every package the pipeline needs, against the ranges that its own metadata asks for."""
    python = ".".join(map(str, sys.version_info[:3]))
    needed = metadata.metadata(_PACKAGE)["Requires-Python"]
    fits = Requirement(f"python{needed}").specifier.contains(python)
    yield (
        Finding("ok", "Python", python)
        if fits
        else Finding("FAULT", "Python", f"{python}, but {needed} is needed", "make PYTHON=python3.11 install")
    )
    yield Finding("ok", _PACKAGE, metadata.version(_PACKAGE))
    for requirement in map(Requirement, metadata.requires(_PACKAGE) or ()):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding("FAULT", requirement.name, "is not installed", "make install")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            says = f"{version} is installed, but {requirement.specifier} is needed"
            yield Finding("FAULT", requirement.name, says, "make install puts the locked version in place")
        elif requirement.name in ("dagster", "duckdb"):
            yield Finding("ok", requirement.name, version)


class _Noting(dict[str, str]):
    """An environment that notes in `known` which settings there are: those that are asked for."""

    def __init__(self, environment: Mapping[str, str], known: set[str]) -> None:
        super().__init__(environment)
        self._known = known

    def get(self, name: str, default: Any = None) -> Any:
        self._known.add(name)
        return super().get(name, default)


@contextmanager
def _no_settings() -> Iterator[None]:
    """An environment without settings: with one that cannot be read, the definitions could not even be imported."""
    held = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("SOUNDLINK_")}
    try:
        yield
    finally:
        os.environ.update(held)


def read_settings(in_file: Mapping[str, str], environment: Mapping[str, str]) -> ReadSettings:
    """The settings as the commands read them: the environment, and what it leaves out from `.env`."""
    findings: list[Finding] = []
    known, both = set(SECRETS), {**in_file, **environment}
    settings: Settings | None = None
    for _ in range(len(both) + 1):  # once more for each setting that cannot be read: all of them are told
        try:
            with _no_settings():
                from soundlink_pipeline.definitions import settings_from  # noqa: PLC0415  (reads the environment)
            settings = settings_from(_Noting(both, known))
            break
        except ValueError as error:
            named = re.search(r"SOUNDLINK_\w+", str(error))
            what = named[0] if named else "settings"
            finding = Finding("FAULT", what, str(error), "correct it in .env or in the environment")
            if finding in findings:
                break  # the definitions do not load for it, so there is no asking for the others
            findings.append(finding)
            both.pop(what, None)
        except Exception as error:  # not the settings: the definitions do not load, whatever is set
            findings.append(Finding("FAULT", "definitions", f"Dagster cannot load them: {_first_line(error)}"))
            break
    if any(finding.level == "FAULT" for finding in findings):
        return ReadSettings(None, tuple(findings))
    for name in sorted(name for name in {*in_file, *environment} if name.startswith("SOUNDLINK_")):
        if name not in known:
            findings.append(
                Finding("warn", name, "is not a setting, and is ignored", "is it misspelt? .env.example lists them all")
            )
        elif in_file.get(name) and name in environment and environment[name] != in_file[name]:
            says = "is set differently in .env and in the environment; the environment wins"
            findings.append(Finding("warn", name, says, "unset it in the environment, or leave it out of .env"))
    return ReadSettings(settings, tuple(findings))


def check_settings(read: ReadSettings, now: datetime) -> Iterator[Finding]:
    """Whether they can be read, and whether Dagster can make the pipeline of them."""
    yield from read.findings
    if read.settings is None:
        yield Finding("warn", "everything else", "was not examined: it needs the settings")
        return
    yield Finding("ok", "settings", "can be read")
    if read.settings.start_date > last_closed_day(now):
        says = f"no day since {read.settings.start_date} has closed yet, so there is nothing to pull"
        yield Finding("warn", "SOUNDLINK_START_DATE", says, "set an earlier day, or wait for it")
    from soundlink_pipeline.definitions import build_definitions  # noqa: PLC0415  (see read_settings)

    try:
        build_definitions(read.settings, lambda: None).resolve_all_job_defs()
    except Exception as error:  # a model may break them in as many ways as Dagster has rules
        yield Finding("FAULT", "definitions", f"Dagster cannot load them: {_first_line(error)}")
    else:
        yield Finding("ok", "definitions", "Dagster can load them")


def check_models(patient: Patient) -> Iterator[Finding]:
    """The SQL models that cannot be built: they cost themselves and what needs them, not the run."""
    project = read_project(patient.settings.sql_dir)
    bind_models(project, patient.warehouse.schema_statements())
    for problem in project.problems.values():
        where = f"{problem.file}{f', line {problem.line}' if problem.line else ''}"
        fix = "correct the file; until then it is left out, with what needs it"
        yield Finding("warn", problem.file.name, f"{where}: {_first_line(problem.reason)}", fix)
    yield Finding("ok", "models", f"{len(project.models)} can be built")


# The data folder and the warehouse


def check_data_folder(patient: Patient) -> Iterator[Finding]:
    """Whether a run could write there, by writing; what is written is gone when this ends. And room for it."""
    folder, there = patient.settings.data_dir, patient.settings.data_dir
    while not there.exists() and there != there.parent:
        there = there.parent
    fix = "give the user that runs the pipeline the right to write there, or set SOUNDLINK_DATA_DIR"
    try:
        if there == folder:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
                file.write(b"ok")
                file.flush()
                os.fsync(file.fileno())
        else:
            with tempfile.TemporaryDirectory(dir=there, prefix=".doctor-"):
                pass
    except OSError as error:
        state = "cannot be written to" if there == folder else f"cannot be made: {there} cannot be written to"
        yield Finding("FAULT", "folder", f"{folder} {state} ({error.strerror})", fix)
    else:
        state = "can be written to" if there == folder else "is not there yet; the first run makes it"
        yield Finding("ok", "folder", f"{folder} {state}")
    warehouse = patient.warehouse.path
    size = warehouse.stat().st_size if warehouse.exists() else 0
    free, needed = shutil.disk_usage(there).free, size + _FLOOR_BYTES
    says = f"{_mb(free)} free; publishing copies the warehouse ({_mb(size)}), and a run needs some {_mb(_FLOOR_BYTES)}"
    if free < needed:
        fix = f"free {_mb(needed - free)} or more; programs that have an earlier publication open keep its space"
        yield Finding("FAULT", "disk space", says, fix)
    elif free < 2 * needed:
        yield Finding("warn", "disk space", says, "free some: it is near the end")
    else:
        yield Finding("ok", "disk space", says)


def check_warehouse(patient: Patient) -> Iterator[Finding]:
    """Whether a run could write to the warehouse: nobody else has it, and it is whole."""
    warehouse = patient.warehouse
    what = warehouse.path.name
    if not warehouse.exists():
        yield Finding("ok", what, "is not there yet; the first run makes it")
        return
    holder = _holder(warehouse.path)
    if holder is not None and _is_being_written(warehouse.path):
        yield Finding("ok", what, f"a pipeline run is writing to it right now ({holder}); not opened")
        return
    if holder is not None:
        fix = "close it there (a notebook, a DuckDB shell, a BI tool?): soundlink.duckdb is for reading"
        yield Finding("FAULT", what, f"is open in {holder}: a run waits two minutes for it, then fails", fix)
    try:
        with warehouse.read(0.5) as connection:
            ((deliveries, rows),) = connection.execute("select count(*), sum(rows) from deliveries").fetchall()
    except WarehouseLocked as error:
        if holder is None:  # it came just now
            yield Finding("warn", what, str(error))
    except WarehouseUnusable as error:
        yield Finding("FAULT", what, str(error))
    except duckdb.CatalogException:
        yield Finding("ok", what, "holds nothing yet; the first run makes its tables")
    else:
        yield Finding("ok", what, f"can be opened: {deliveries:,} deliveries, {int(rows or 0):,} rows delivered")


def _holder(path: Path) -> str | None:
    """The other process that keeps a run from writing to the file, by the lock DuckDB takes; None if there is none.

    Asks for no lock, so nobody is disturbed. Waits a little: a run that reads is soon done.
    """
    deadline = time.monotonic() + _WAREHOUSE_WAIT_SECONDS
    # struct flock; F_GETLK answers with the lock that is in the way of the one described.
    order = "qqihh" if sys.platform == "darwin" else "hhqqi4x"
    while True:
        mode, whence, start, length, process = fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0
        mac = sys.platform == "darwin"
        asked = (start, length, process, mode, whence) if mac else (mode, whence, start, length, process)
        with path.open("rb") as file:
            answer = struct.unpack(order, fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(order, *asked)))
        mode, process = (answer[3], answer[2]) if mac else (answer[0], answer[4])
        if mode == fcntl.F_UNLCK:
            return None
        if time.monotonic() > deadline or _is_being_written(path):
            return f"process {process}" if process > 0 else "another process"
        time.sleep(0.1)


def _is_being_written(path: Path) -> bool:
    """Whether a run has the writer's turn. A shared lock, for a moment: a run that wants the turn tries again."""
    with suppress(OSError), path.with_suffix(".lock").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


# The API


class _GivenUp(Exception):
    """The doctor does not wait any longer; the finding says for what."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.says)
        self.finding = finding


def check_api(patient: Patient) -> Iterator[Finding]:
    """Host, key, scopes, clock and limits, with as few requests as tell them."""
    settings = patient.settings
    if patient.key and not re.fullmatch(r"sk_[!-~]+_[!-~]+", patient.key):
        yield Finding(
            "warn", _KEY, "does not look like a Soundlink key (sk_…_…)", "was it pasted whole, without quotes?"
        )
    try:
        with _connected(patient) as (client, pacer):
            left = pacer.left_this_hour()
            if left < _REQUESTS_NEEDED:
                says = f"not asked: {left} of {settings.requests_per_hour} requests are left this hour"
                yield Finding("warn", "limits", says, "look again in an hour; a run waits by itself")
                return
            try:
                yield from _ask(patient, client, pacer)
            except SoundlinkError as error:
                yield _told(error, settings)
            yield Finding("ok", "requests", f"{client.requests} made by this examination, counted within the limits")
    except _GivenUp as given_up:
        yield given_up.finding
    except sqlite3.DatabaseError as error:
        fix = "delete it: it holds nothing but the count of the last hour's requests"
        yield Finding("FAULT", "requests.sqlite", f"requests cannot be counted: {error}", fix)
    except ValueError as error:  # the key cannot be one
        yield Finding("FAULT", _KEY, f"{error}; the API was not asked")


@contextmanager
def _connected(patient: Patient) -> Iterator[tuple[SoundlinkClient, Pacer]]:
    """A client within the shared limits that gives up rather than wait. Raises ValueError, _GivenUp."""
    settings, reasons = patient.settings, list[Finding]()
    cancelled = threading.Event()

    def give_up(finding: Finding) -> None:
        reasons.append(finding)
        cancelled.set()

    def on_wait(seconds: float) -> None:
        if seconds > _LONGEST_WAIT_SECONDS:
            says = "the API's limits are used up for now, by a run or by somebody else with this key; not asked further"
            give_up(Finding("warn", "limits", says, "look again later; a run waits by itself"))

    def too_late() -> None:
        says = f"{httpx.URL(settings.base_url).host} gave no whole answer within {_DEADLINE_SECONDS:.0f} s"
        give_up(Finding("FAULT", "host", says, "look again later; if it stays so, ask Soundlink"))
        client.abort()

    with ExitStack() as stack:
        folder = settings.data_dir
        if not os.access(folder, os.W_OK):  # nor can a run count its requests there
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soundlink-doctor-")))
        pacer = stack.enter_context(
            Pacer(
                folder / "requests.sqlite",
                settings.requests_per_minute,
                settings.requests_per_hour,
                cancelled=cancelled,
                on_wait=on_wait,
            )
        )
        client = stack.enter_context(
            SoundlinkClient(
                settings.base_url,
                patient.key,
                pacer,
                auth=settings.auth,
                timeout=_TIMEOUT,
                tries=_TRIES,
                now=patient.clock,
            )
        )
        timer = threading.Timer(_DEADLINE_SECONDS, too_late)
        timer.daemon = True
        stack.callback(timer.cancel)
        timer.start()
        try:
            yield client, pacer
        except (Cancelled, SoundlinkError):
            if not reasons:
                raise
            raise _GivenUp(reasons[0]) from None


def _ask(patient: Patient, client: SoundlinkClient, pacer: Pacer) -> Iterator[Finding]:
    """The findings, while requests are answered. Raises SoundlinkError where nothing else can be asked."""
    settings = patient.settings
    try:
        client.ping()
    except KeyRefused:
        yield Finding("ok", "host", f"{settings.base_url} answers")
        raise
    yield Finding("ok", "host", f"{settings.base_url} answers")
    yield Finding("ok", "key", f"is valid; sent as {client.scheme}")
    items, pages, moments = [{"campaignId": name} for name in settings.campaign_ids], 0, None
    if items:
        yield Finding("ok", "campaigns:read", f"not needed: SOUNDLINK_CAMPAIGN_IDS names {len(items)} campaigns")
    else:
        before = client.requests
        try:
            listing = client.campaigns()
        except ScopeMissing as error:
            fix = "give the key this scope, or name the campaigns in SOUNDLINK_CAMPAIGN_IDS"
            yield Finding("FAULT", "campaigns:read", str(error), fix)
        else:
            items, pages = listing.items, client.requests - before
            moments = (listing.requested_at, listing.server_date)
            yield Finding("ok", "campaigns:read", f"{len(items)} campaigns listed")
    now = (moments and moments[1]) or patient.clock()
    trailing = refresh_range(now, settings.start_date)
    live = [item for item in items if trailing and may_have_rows(item, trailing)]
    if not items:
        yield Finding("warn", "metrics:read", "not asked: there is no campaign to ask for")
    else:
        campaign_id = (live or items)[0]["campaignId"]
        day = last_closed_day(now)
        try:
            with tempfile.TemporaryDirectory(prefix="soundlink-doctor-") as folder:
                download = client.download(EXPORTS[0], campaign_id, DateRange(day, day), Path(folder) / "export")
        except ScopeMissing as error:
            yield Finding("FAULT", "metrics:read", str(error), "give the key this scope")
        else:
            moments = moments or (download.requested_at, download.server_date)
            yield Finding("ok", "metrics:read", f"{EXPORTS[0].name} of campaign {campaign_id}, {day}, can be had")
    if moments and moments[1]:
        yield _clock(moments[0], moments[1])
    if items:
        yield _limits(settings, len(live), pages, pacer.left_this_hour())


def _told(error: SoundlinkError, settings: Settings) -> Finding:
    """The finding that a failed request is."""
    match error:
        case KeyRefused():
            return Finding("FAULT", "key", str(error))
        case Unreachable():
            return Finding("FAULT", "host", str(error), _way_out(error, settings))
        case _:
            return Finding("FAULT", "answer", str(error), "" if error.fatal else "look again later")


def _way_out(error: BaseException | None, settings: Settings) -> str:
    """What to do about a host that cannot be reached, by what lies at the bottom of the error."""
    while error is not None:
        match error:
            case socket.gaierror():
                return "the name is not known: check SOUNDLINK_BASE_URL, the network and its DNS"
            case ConnectionRefusedError():
                return (
                    f"nothing listens there: check SOUNDLINK_BASE_URL ({settings.base_url}), or is a firewall between?"
                )
            case ssl.SSLError():
                return "its certificate is not trusted: is a proxy between, or this machine's clock wrong?"
        error = error.__cause__ or error.__context__
    return "check the network; if other hosts can be reached, look again later"


def _clock(ours: datetime, theirs: datetime) -> Finding:
    off = ours - theirs
    if abs(off) <= _CLOCK_TOLERANCE:
        return Finding("ok", "clock", "agrees with the API's")
    says = f"this machine's is {duration(abs(off).total_seconds())} {'ahead of' if off > timedelta() else 'behind'} the"
    return Finding("warn", "clock", f"{says} API's", "set it: the schedule goes by it, and which day has closed")


def _limits(settings: Settings, live: int, pages: int, left: int) -> Finding:
    needed = len(EXPORTS) * live + pages
    says = (
        f"{left} of {settings.requests_per_hour} requests left this hour; a daily refresh needs {needed}:"
        f" {len(EXPORTS)} for each of {live} live campaigns, {pages} for the listing"
    )
    if needed <= left:
        return Finding("ok", "limits", says)
    seconds = expected_seconds(needed, settings.requests_per_minute, settings.requests_per_hour, left)
    return Finding(
        "warn", "limits", f"{says}; at the limits it takes {duration(seconds)}", "nothing: it waits by itself"
    )


# Dagster


def check_dagster(patient: Patient) -> Iterator[Finding]:
    """The instance: configuration, storage, daemons, schedule and last run. It is opened only if it is there."""
    home = Path(patient.home or Path.cwd())
    fix = "set it to the project folder, as an absolute path; make does"
    if patient.home and not (home.is_absolute() and home.is_dir()):
        yield Finding("FAULT", "DAGSTER_HOME", f"{home} is not the absolute path of a folder: Dagster refuses it", fix)
        return
    if not patient.home:
        says = "is not set: make and dagster dev work, other commands of Dagster do not"
        yield Finding("warn", "DAGSTER_HOME", says, fix)
    if (home / "dagster.yaml").is_file():
        yield Finding("ok", "dagster.yaml", f"found in {home}")
    else:
        says = f"there is none in {home}: without it runs go side by side, and all but one fail on the warehouse"
        yield Finding("warn", "dagster.yaml", says, "copy the project's there")
    reference = InstanceRef.from_dir(str(home))
    if not _has_books(reference):
        yield Finding("ok", "storage", "is not there yet; the first run makes it")
        return
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = instance.get_runs_count()
        yield Finding("ok", "storage", f"can be opened: {runs:,} runs")
        yield _daemons(instance, patient.clock())
        yield from _schedule(instance, patient)
        yield from _runs(instance, patient.clock())


def _has_books(reference: InstanceRef) -> bool:
    """Whether Dagster's SQLite files are there: opening the instance would make them. Others are opened in any case."""
    data = reference.storage_data
    folder = data.config_dict.get("base_dir") if data else None
    names = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
    return folder is None or all((Path(folder) / name).exists() for name in names)


def _daemons(instance: dg.DagsterInstance, now: datetime) -> Finding:
    """Whether somebody launches what the schedule asks for."""
    beats = instance.get_daemon_heartbeats()
    needed = {"SCHEDULER": "the scheduler", "QUEUED_RUN_COORDINATOR": "the run queue"}
    last = {name: datetime.fromtimestamp(beats[name].timestamp, UTC) for name in needed if name in beats}
    dead = [told for name, told in needed.items() if name not in last or now - last[name] > _HEARTBEAT]
    if dead:
        seen = f"last seen {_minute(max(last.values()))}" if last else "never seen"
        fix = "make dev, or a Dagster daemon, for as long as the daily refresh is to run; make backfill needs none"
        return Finding("warn", "daemon", f"not running: {' and '.join(dead)} ({seen})", fix)
    errors = [error for name in needed for error in beats[name].errors or ()]
    if errors:
        return Finding("warn", "daemon", f"is running, with an error: {_first_line(errors[0].message)}")
    return Finding("ok", "daemon", "is running")


def _schedule(instance: dg.DagsterInstance, patient: Patient) -> Iterator[Finding]:
    states = [
        state
        for state in instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE)
        if state.name == _SCHEDULE
    ]
    next_tick = get_next_cron_tick(patient.settings.schedule, patient.clock(), "UTC")
    told = f"next tick {_minute(next_tick)}"
    if not states:
        yield Finding("ok", _SCHEDULE, f"is on by default, no daemon has seen it yet; {told}")
    for state in states:
        if state.status is InstigatorStatus.STOPPED:
            yield Finding("warn", _SCHEDULE, "is stopped", "switch it on in the UI: Automation")
        else:
            yield Finding("ok", _SCHEDULE, f"is running; {told}")
        yield from _last_tick(instance, state)


def _last_tick(instance: dg.DagsterInstance, state: InstigatorState) -> Iterator[Finding]:
    for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1):
        at = _minute(datetime.fromtimestamp(tick.timestamp, UTC))
        if tick.status is TickStatus.FAILURE:
            reason = _first_line(tick.error.message) if tick.error else "Dagster kept no reason"
            yield Finding("warn", "last tick", f"{at}: failed: {reason}")
        elif tick.status is TickStatus.SKIPPED:
            yield Finding("ok", "last tick", f"{at}: skipped: {tick.skip_reason or 'no reason given'}")
        else:
            yield Finding(
                "ok", "last tick", f"{at}: {'asked for a run' if tick.run_ids else tick.status.value.lower()}"
            )


def _runs(instance: dg.DagsterInstance, now: datetime) -> Iterator[Finding]:
    """The last finished run of the daily refresh, and every one that is under way."""
    finished = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    for record in instance.get_run_records(dg.RunsFilter(job_name=DAILY_REFRESH, statuses=finished), limit=1):
        run, at = record.dagster_run, _minute(record.update_timestamp)
        if run.status is dg.DagsterRunStatus.FAILURE:
            fix = "mend that, then re-execute the run from failure in the UI"
            yield Finding("warn", "last run", f"{at}: failed: {_why_failed(instance, run.run_id)}", fix)
        else:
            yield Finding("ok", "last run", f"{at}: {run.status.value.lower()}")
    under_way = [
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ]
    for record in instance.get_run_records(dg.RunsFilter(statuses=under_way), limit=10):
        run = record.dagster_run
        events = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
        heard = datetime.fromtimestamp(events[0].timestamp, UTC) if events else record.update_timestamp.astimezone(UTC)
        told = f"{run.job_name} {run.run_id[:8]} is {run.status.value.lower()}, last heard of {_minute(heard)}"
        if now - heard > _SILENCE:
            fix = "if its process is gone, terminate it in the UI (Runs, force): until then no other run starts"
            yield Finding("warn", "run under way", f"{told}: it seems stuck", fix)
        else:
            yield Finding("ok", "run under way", told)


def _why_failed(instance: dg.DagsterInstance, run_id: str) -> str:
    """The sentence the operator reads in the UI."""
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    for record in instance.get_records_for_run(run_id, of_type=kinds).records:
        event = record.event_log_entry.dagster_event
        if event is None or not event.is_step_failure:
            continue
        failure = event.step_failure_data
        if failure.user_failure_data and failure.user_failure_data.description:
            return _first_line(failure.user_failure_data.description)
        if failure.error:
            return _first_line((failure.error.cause or failure.error).message)
    return "no step says why; see the run in the UI"


# The data


def check_data(patient: Patient) -> Iterator[Finding]:
    """How fresh and how whole what is there is."""
    now, landing = patient.clock(), Landing(patient.settings.data_dir)
    warehouse = patient.warehouse
    refused, waiting = _refused(landing), landing.not_archived()
    ledger: _Ledger | None = None
    if warehouse.exists():
        try:
            with warehouse.read(0.5) as connection:
                ledger = _Ledger(connection)
                yield from _freshness(ledger, now)
                yield from _vanished(connection)
                yield from _published(patient, ledger, now)
                refused = [delivery for delivery in refused if not ledger.has_healed(delivery)]
                waiting = [delivery for delivery in waiting if delivery.delivery_id not in ledger.deliveries]
            yield from _unsettled(warehouse, patient.settings.start_date, now)
        except (WarehouseLocked, WarehouseUnusable, duckdb.CatalogException):
            yield Finding("ok", "warehouse", "its data was not examined; see above")
    elif landed := len(landing.deliveries()):
        says = f"there is none, but {landed} deliveries have landed"
        yield Finding("warn", "warehouse", says, "make rebuild makes it of them, without one request")
    else:
        yield Finding("ok", "warehouse", "no data yet: make backfill FROM=… TO=… pulls the past")
    if refused:
        newest = max(refused, key=lambda delivery: delivery.received_at)
        says = f"{len(refused)} refused deliveries, not delivered well since; newest: {newest.describe()}"
        fix = f"read {newest.path}.reason.txt; a new run over those days loads them once the API delivers them well"
        yield Finding("warn", "quarantine", says, fix)
    else:
        yield Finding("ok", "quarantine", "nothing in it that has not been delivered well since")
    yield _landed(waiting, now)


class _Ledger:
    """What the warehouse's books say, read once."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        rows = connection.execute("select delivery_id, received_at from deliveries").fetchall()
        self.deliveries: dict[str, datetime] = {name: at.replace(tzinfo=UTC) for name, at in rows}
        listed = connection.execute(
            "select _listed_json from campaigns where _listed_at = (select max(_listed_at) from campaigns)"
        ).fetchall()
        self.listed = [json.loads(text) for (text,) in listed]

    def newest_day(self, export: str) -> date | None:
        """The newest report_date that was pulled."""
        ((day,),) = self._connection.execute(
            "select max(end_date) from deliveries where export = ?", [export]
        ).fetchall()
        return day if day is None else date.fromisoformat(str(day))

    def pulled(self, export: str, day: date) -> set[str]:
        """The campaigns that were pulled for a day."""
        rows = self._connection.execute(
            "select distinct campaign_id from deliveries where export = ? and ? between start_date and end_date",
            [export, day],
        ).fetchall()
        return {name for (name,) in rows}

    def has_healed(self, refused: Delivery) -> bool:
        """Whether every day of a refused delivery has been pulled well since."""
        rows = self._connection.execute(
            "select report_date, last_pulled_at from report_date_status where export = ? and campaign_id = ?",
            [refused.export, refused.campaign_id],
        ).fetchall()
        pulled = {day: at.replace(tzinfo=UTC) for day, at in rows}
        return all(day in pulled and pulled[day] > refused.pulled_at for day in refused.dates.dates())


def _refused(landing: Landing) -> list[Delivery]:
    """What lies in quarantine, which is laid out as the landing is."""
    quarantine = Landing(landing.root.parent)
    quarantine.root = landing.quarantine
    return quarantine.deliveries()


def _freshness(ledger: _Ledger, now: datetime) -> Iterator[Finding]:
    for export in EXPORTS:
        day = ledger.newest_day(export.name)
        if day is None:
            yield Finding("ok", export.name, "no day pulled yet: make backfill FROM=… TO=…")
            continue
        expected = {item["campaignId"] for item in ledger.listed if may_have_rows(item, DateRange(day, day))}
        missing = expected - ledger.pulled(export.name, day)
        late = (last_closed_day(now) - day).days
        says = f"newest day {day}, {len(expected) - len(missing)} of {len(expected)} live campaigns"
        if missing:
            fix = f"re-execute the failed run from failure, or make backfill FROM={day} TO={day}"
            yield Finding("warn", export.name, f"{says}: incomplete", fix)
        elif late > 1:  # one is right until the day's refresh has run
            fix = "does the schedule run? see Dagster above; the next daily refresh reaches back by itself"
            yield Finding("warn", export.name, f"{says}: {late} closed days are missing", fix)
        else:
            yield Finding("ok", export.name, says)


def _vanished(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    # It looks through every row, and while it does no run can write.
    timer = threading.Timer(_LONGEST_QUERY_SECONDS, connection.interrupt)
    timer.start()
    try:
        ((count, newest),) = connection.execute("select count(*), max(vanished_at) from vanished_rows").fetchall()
    except duckdb.InterruptException:
        says = (
            f"not counted, it takes more than {_LONGEST_QUERY_SECONDS:.0f} s; in soundlink.duckdb, vanished_rows tells"
        )
        yield Finding("ok", "vanished keys", says)
        return
    finally:
        timer.cancel()
    if count:
        says = (
            f"{count:,} keys are gone from newer deliveries, last {_minute(newest)}; the rows stay: see vanished_rows"
        )
        yield Finding("ok", "vanished keys", says)
    else:
        yield Finding("ok", "vanished keys", "none")


def _unsettled(warehouse: Warehouse, start_date: date, now: datetime) -> Iterator[Finding]:
    oldest, trailing = warehouse.oldest_unsettled(now, 0.5), refresh_range(now, start_date)
    if oldest is not None and trailing is not None and oldest < trailing.start:
        says = f"days from {oldest} on were pulled but never since they settled: their numbers are provisional"
        yield Finding("warn", "unsettled days", says, "the next daily refresh pulls them; is the schedule running?")
    else:
        yield Finding("ok", "unsettled days", f"none older than the {TRAILING_DAYS} that a daily refresh pulls")


def _published(patient: Patient, ledger: _Ledger, now: datetime) -> Iterator[Finding]:
    """The analysts' file: there, whole, and of the same deliveries."""
    path = patient.settings.data_dir / "soundlink.duckdb"
    if not path.exists():
        if ledger.deliveries:
            fix = "mend what the last run says, and run again; make rebuild publishes too"
            yield Finding("warn", path.name, "nothing was published yet, though there is data", fix)
        return
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            ((at, newest),) = connection.execute("select published_at, newest_report_date from publication").fetchall()
            known = {name for (name,) in connection.execute("select delivery_id from deliveries").fetchall()}
    except duckdb.Error as error:
        fix = "the next run puts a new one in its place; make rebuild does now"
        yield Finding("FAULT", path.name, f"cannot be opened: {_first_line(error)}", fix)
        return
    says = f"published {_minute(at)}, newest day {newest}"
    lacking = [received for name, received in ledger.deliveries.items() if name not in known]
    if lacking and now - min(lacking) > _SILENCE:
        fix = "a model or its test failed, or the run did: see the last run; make rebuild publishes too"
        yield Finding("warn", path.name, f"{says}: older than the warehouse by {len(lacking)} deliveries", fix)
    elif lacking:
        yield Finding("ok", path.name, f"{says}; {len(lacking)} deliveries have come since, a run may be at work")
    else:
        yield Finding("ok", path.name, says)


def _landed(waiting: list[Delivery], now: datetime) -> Finding:
    if not waiting:
        return Finding("ok", "landed files", "all are loaded")
    says = f"{len(waiting)} deliveries have landed and are not loaded"
    if all(now - delivery.received_at < _SILENCE for delivery in waiting):
        return Finding("ok", "landed files", f"{says}: a run is at work, or the next one loads them")
    return Finding(
        "warn", "landed files", f"{says}: a run ended before it could", "the next run does; make rebuild now"
    )


def _mb(size: float) -> str:
    return f"{size / 1e6:,.0f} MB" if size < 10e9 else f"{size / 1e9:,.0f} GB"


def _minute(moment: datetime) -> str:
    """A moment in UTC for people; without a zone it is UTC."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return f"{aware:%Y-%m-%d %H:%M} UTC"


def _first_line(said: object) -> str:
    return str(said).strip().partition("\n")[0].rstrip(":") or type(said).__name__
