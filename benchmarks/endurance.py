"""A year of daily refreshes with everything that befalls one, compressed in time: is the warehouse true on every day,
and what grows?

`python -m benchmarks.endurance [--days 365] [--seed 1] [--out FOLDER]`: each simulated day the API's clock moves on by
a day, the project's own schedule says which range is due at 07:00, and one real run of daily_refresh pulls it, builds
every model, asks every check and publishes. About one day in six is bad: the API is down, the laptop is closed, a
campaign fails, answers are cut or refused, the run is killed. After every refresh that succeeds the tables are held
against the simulated world; the benchmark ends at the first row that is not true. Writes `endurance.csv`,
`endurance.json`, `endurance.svg` and `endurance.png` into FOLDER; all else there is scratch and removed at the start.

The year lies in the past: Dagster's own clock stands at today throughout, and would refuse days to come. A refresh is
a process of its own, forked from this one, which has imported all of it and runs no thread: so its peak memory and CPU
time are those of a run, imported code included. The API is another process.
"""

import argparse
import csv
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import statistics
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import dagster as dg
import duckdb
import httpx
import pandas  # noqa: F401  (a run imports it for previews; so that no child has to)
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soundlink_pipeline.definitions import build_definitions, settings_from
from soundlink_pipeline.exports import EXPORTS, Export
from soundlink_pipeline.jobs import DAILY_REFRESH
from soundlink_pipeline.landing import Landing
from soundlink_pipeline.partitions import DateRange, settled_at
from soundlink_pipeline.resources import Soundlink
from soundlink_pipeline.runs import RANGE_END, RANGE_START
from soundlink_pipeline.simulator import DEMO_KEY, SimClock, World, running_simulator
from soundlink_pipeline.simulator.campaigns import make_campaign, midnight
from soundlink_pipeline_tests.project import FROM_FAILURE, QUIET, job_of, truth

FIRST_DAY = date(2024, 12, 31)  # of the partitions; the first refresh is on the morning after
NO_LIMIT = "1000000"
EVERYTHING_EVERY = 10  # comparisons: how often all is compared with all, and not the window alone
# Landed files may outlive their time by so much: the clocks differ by days and hours, the setting is in days.
SLACK = timedelta(days=2)
# A campaign begins every so many days and can have rows for some 75: six or so are live at any time.
CAMPAIGN_EVERY = timedelta(days=12)
WARMING_UP = timedelta(days=144)
FLAT = 1.3
# Red by nature here: it asks whether yesterday is there, by the clock on the wall.
BY_THE_WALL_CLOCK = "newest_day"
# What may happen, and for how many days it may last; None: as long as --longest says.
KINDS: dict[str, int | None] = {
    "outage": None,  # whatever is asked, a sign-in page answers
    "closed": None,  # the laptop is closed: nothing runs at all
    "down": 1,  # HTTP 503, waited for until the client gives up
    "campaign": 3,  # one campaign is not found; the others are
    "damaged": 1,  # answers that end too early; the run asks again
    "limits": 1,  # HTTP 429; the run waits
    "kill": 1,  # kill -9 somewhere in the run; Dagster's daemon retries it from failure
    "restart": 1,  # kill -9, and nobody there until the next morning
}


class Year(World):
    """A world in which campaigns begin and end all the year round, and have done so before the first day."""

    def __init__(self, seed: int, days: int) -> None:
        super().__init__(seed, 0, FIRST_DAY)
        count = (timedelta(days=days) + WARMING_UP) // CAMPAIGN_EVERY + 1
        # Without the first two of a world: they run for so long that the start of the year would be unlike its end.
        self.campaigns = [
            make_campaign(seed, 2 + n, FIRST_DAY - WARMING_UP + n * CAMPAIGN_EVERY, countries=12, tracks=3)
            for n in range(count)
        ]
        self._by_id = {campaign_id: campaign for campaign in self.campaigns for campaign_id in campaign.ids}


def calendar(days: int, seed: int, quiet: int, longest: int) -> list[str]:
    """What befalls each day, "" for nothing: kinds take turns, `quiet` good days apart on average. The last is good."""
    random, turn, plan = Random(seed), list[str](), list[str]()
    while len(plan) < days - 1:
        plan += [""] * (1 + int(random.random() * (2 * quiet - 1)))
        if not turn:
            turn = sorted(KINDS, key=lambda _: random.random())
        kind = turn.pop()
        plan += [kind] * (1 + int(random.random() * min(KINDS[kind] or longest, longest)))
    return [*plan[: days - 1], ""]


# Processes


@dataclass
class Ended:
    """A child that has ended: what it returned (None if it was killed), and what it took."""

    answer: Any
    seconds: float
    cpu_seconds: float
    peak_mb: float


def in_child(work: Callable[[], Any], kill_after: float | None = None) -> Ended:
    """Do the work in a forked process; kill -9 it after so many seconds, if it has not ended by itself."""
    started = time.perf_counter()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(work(), pipe)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(writing)
    try:
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(pid, signal.SIGKILL)  # harmless if it has ended: it is not waited for yet
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read()
    except BaseException:  # told to stop
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - started
    killed = kill_after is not None and os.WIFSIGNALED(status)
    assert status == 0 or killed, f"a child ended with status {status}; what it said is above"
    answer = pickle.loads(told) if status == 0 else None
    return Ended(answer, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _serve(world: World, theirs: Connection, ours: Connection) -> None:
    ours.close()
    with running_simulator(world, SimClock(midnight(FIRST_DAY)), per_minute=None, per_hour=None) as simulator:
        theirs.send(simulator.base_url)
        theirs.poll(None)  # until the benchmark has ended, however it did


class Api:
    """The simulated API in a process of its own, and its switches."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def _switch(self, method: str, path: str, **content: Any) -> Any:
        answer = httpx.request(method, f"{self.base_url}/_simulator/{path}", json=content, trust_env=False)
        return answer.raise_for_status().json()

    def set_clock(self, now: datetime) -> None:
        self._switch("POST", "clock", now=now.isoformat())

    def go_wrong(self, kind: str, **parameters: Any) -> None:
        self._switch("POST", "faults", kind=kind, **parameters)

    def be_well(self) -> None:
        self._switch("DELETE", "faults")

    def requests(self) -> int:
        """How many there were since the last look."""
        count: int = self._switch("GET", "stats")["requests"]
        self._switch("POST", "stats/reset")
        return count


@contextmanager
def serving(world: World) -> Iterator[Api]:
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    process = fork.Process(target=_serve, args=(world, theirs, ours), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Api(ours.recv())
    finally:
        process.terminate()
        process.join()


# A day's run, in a child


def refresh(settings: dict[str, str], now: datetime, *, retry: bool) -> dict[str, Any]:
    """What the schedule's tick at `now` asks for, run; `retry`: of a killed run what is missing, as the daemon does."""
    read_key = dg.EnvVar("SOUNDLINK_API_KEY").get_value
    soundlink = Soundlink(settings_from(settings), read_key)
    with dg.DagsterInstance.get() as instance:
        lost = _bury_lost_runs(instance)
        if retry and lost:
            tags = {name: lost.tags[name] for name in (RANGE_START, RANGE_END)} | FROM_FAILURE
            job = dg.build_reconstructable_job(job_of.__module__, job_of.__name__, (DAILY_REFRESH, settings))
            again = dg.ReexecutionOptions.from_failure(lost.run_id, instance)
            with dg.execute_job(job, instance, run_config=QUIET, tags=tags, reexecution_options=again) as result:
                return _told(result, tags)
        definitions = build_definitions(soundlink.settings, read_key)
        schedule = definitions.resolve_schedule_def(f"{DAILY_REFRESH}_schedule")
        with dg.build_schedule_context(instance, now, resources={"soundlink": soundlink}) as context:
            (request,) = schedule.evaluate_tick(context).run_requests or []
        job = definitions.resolve_job_def(DAILY_REFRESH)
        result = job.execute_in_process(QUIET, instance, tags=dict(request.tags), raise_on_error=False)
        return _told(result, request.tags)


def _told(result: dg.ExecuteInProcessResult | dg.JobExecutionResult, tags: Mapping[str, str]) -> dict[str, Any]:
    """What the benchmark wants to know of a run."""
    red = [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION" and not event.asset_check_evaluation_data.passed
    ]
    return {
        "success": result.success,
        "run_id": result.run_id,
        "start": tags[RANGE_START],
        "end": tags[RANGE_END],
        "events": len(result.all_events),
        "red": [(c.check_name, c.severity.value, {k: str(v.value) for k, v in c.metadata.items()}) for c in red],
    }


def _bury_lost_runs(instance: dg.DagsterInstance) -> dg.DagsterRun | None:
    """What Dagster's daemon does about runs whose process is gone: failed, place in the pool freed. The newest one."""
    lost = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]))
    for run in lost:
        instance.report_run_failed(run, "its process is gone")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return instance.get_run_by_id(lost[0].run_id) if lost else None


# The truth, in a child


@dataclass
class Known:
    """What a comparison must know: how long landed files are kept, and what those of earlier days found."""

    retention_days: int
    pulled: dict[date, datetime] = field(default_factory=dict)  # when each day was last pulled by a whole refresh
    checksums: dict[tuple[str, date], int] = field(default_factory=dict)  # of each day, when last compared
    ranges: list[tuple[DateRange, datetime]] = field(default_factory=list)  # compared with the world, and when


def hold_against_the_world(
    soundlink: Soundlink, world: World, known: Known, run: dict[str, Any], now: datetime, *, everything: bool
) -> tuple[Any, ...]:
    """The checksums of all days and some figures, if every row is true; AssertionError if not."""
    asked = DateRange(date.fromisoformat(run["start"]), date.fromisoformat(run["end"]))
    assert asked.end == now.date() - timedelta(days=1), f"the schedule asked for {asked}"
    open_days = [day for day, moment in known.pulled.items() if moment < settled_at(day)]
    window = DateRange(min([asked.start, *open_days]), asked.end)
    compared = DateRange(FIRST_DAY, window.end) if everything else window
    moments = {**known.pulled, **dict.fromkeys(window.dates(), now)}
    with soundlink.warehouse.read() as connection:
        connection.execute(f"attach '{soundlink.published_path}' as published (read_only)")
        checksums: dict[tuple[str, date], int] = {}
        for export in EXPORTS:
            _same(
                connection.execute(_ordered(export, export.name), [compared.start, compared.end]).fetchall(),
                truth(world, export, [(day, moments[day]) for day in compared.dates()]),
                f"{export.name}, {compared}, at {now}",
            )
            columns = ", ".join(export.column_names)
            checksums |= {
                (export.name, day): value
                for day, value in connection.execute(
                    f"select report_date, bit_xor(hash({columns})) from {export.name} group by all"
                ).fetchall()
            }
        changed = [
            (export, day)
            for (export, day), value in known.checksums.items()
            if day < window.start and checksums.get((export, day)) != value
        ]
        assert not changed, f"settled numbers changed on {now}: {changed}"
        ((publisher,),) = connection.execute("select run_id from published.publication").fetchall()
        assert publisher == run["run_id"], "the file was not published"
        if everything:
            _everything_agrees(connection, world, known, now)
        figures = connection.execute(
            f"""
            select (select count(*) from campaign_country_daily) + (select count(*) from campaign_engagement_daily),
                (select count(*) from campaign_country_daily_history)
                    + (select count(*) from campaign_engagement_daily_history),
                coalesce(sum(rows), 0)::bigint, count(distinct campaign_id)
            from deliveries where run_id = '{run["run_id"]}'
            """
        ).fetchone()
    _landing_agrees(soundlink, known.retention_days, now)
    return checksums, window, figures


def _same(found: list[Any], expected: list[Any], what: str) -> None:
    if found != expected:
        first = next((pair for pair in zip(found, expected, strict=False) if pair[0] != pair[1]), "one has more")
        raise AssertionError(f"{what}: {len(found)} rows where the world has {len(expected)}; first: {first}")


def _ordered(export: Export, rows: str, columns: str = "") -> str:
    key = ", ".join(export.primary_key)
    columns = columns or ", ".join(export.column_names)
    return f"select {columns} from {rows} where report_date between ? and ? order by {key}"


def _everything_agrees(connection: duckdb.DuckDBPyConnection, world: World, known: Known, now: datetime) -> None:
    """History, ledger, marts and the published file."""
    for export in EXPORTS:
        name, history = export.name, f"{export.name}_history"
        key, values = ", ".join(export.primary_key), ", ".join(export.column_names)
        # What was believed at any earlier moment is still known: the values, though not when they were generated.
        believed = [column for column in export.column_names if column != "exported_at"]
        for dates, moment in Random(now.toordinal()).sample(known.ranges, min(3, len(known.ranges))):
            at = moment.replace(tzinfo=None)
            as_of = (
                f"(select {values} from {name} where _valid_from <= timestamp '{at}' union all select {values}"
                f" from {history} where _valid_from <= timestamp '{at}' and _valid_until > timestamp '{at}')"
            )
            places = [export.column_names.index(column) for column in believed]
            _same(
                connection.execute(_ordered(export, as_of, ", ".join(believed)), [dates.start, dates.end]).fetchall(),
                [tuple(row[p] for p in places) for row in truth(world, export, [(d, moment) for d in dates.dates()])],
                f"{name} as it was believed at {moment}, {dates}",
            )
        _none(
            connection,
            f"""
            select 'versions of a key follow one another', {key} from (
                select {key}, _valid_from, _valid_until from {history}
                union all select {key}, _valid_from, null from {name}
            ) qualify _valid_until is distinct from
                lead(_valid_from) over (partition by {key} order by _valid_until nulls last)
            union all by name
            select 'every row is of a delivery in the ledger', {key} from {name}
            where _delivery_id not in (select delivery_id from deliveries where export = '{name}')
            """,
        )
        _none(
            connection,
            f"""
            select 'the ledger counts what was done', inserted, updated, n, versions from
                (select sum(inserted) as inserted, sum(updated) as updated from deliveries where export = '{name}'),
                (select count(*) as n from {name}), (select count(*) as versions from {history})
            where inserted <> n or updated <> versions
            """,
        )
        _none(
            connection,
            f"""
            select 'old days are settled', t.report_date, t.campaign_id
            from {name} as t left join report_date_status as s
                on s.export = '{name}' and s.row_campaign_id = t.campaign_id and s.report_date = t.report_date
            where t.report_date < date '{now.date() - timedelta(days=8)}' and s.is_settled is distinct from true
            """,
        )
    _none(connection, "select * from vanished_rows")
    country, engagement = ("impressions", "streams", "followers", "spend_total"), ("streams", "new_listeners")
    for mart, raw, measures in (
        ("campaign_daily", "campaign_country_daily", country),
        ("country_daily", "campaign_country_daily", country),
        ("track_engagement_daily", "campaign_engagement_daily", engagement),
    ):
        sums = ", ".join(f"sum({measure})" for measure in measures)
        per_day = f"select report_date, {sums} from {{}} group by all"
        _none(connection, f"{per_day.format(raw)} except all {per_day.format(f'marts.{mart}')}")
        _none(connection, f"{per_day.format(f'marts.{mart}')} except all {per_day.format(raw)}")
    tables = connection.execute(
        "select schema_name || '.' || table_name from duckdb_tables()"
        " where database_name = 'warehouse' and table_name not like '\\_%' escape '\\'"
    ).fetchall()
    assert len(tables) > 10
    for (table,) in tables:
        _none(connection, f"from warehouse.{table} except all from published.{table}")
        _none(connection, f"from published.{table} except all from warehouse.{table}")


def _none(connection: duckdb.DuckDBPyConnection, wrong: str) -> None:
    found = connection.execute(f"from ({wrong}) limit 3").fetchall()
    assert not found, f"{found} from {wrong}"


def _landing_agrees(soundlink: Soundlink, retention_days: int, now: datetime) -> None:
    """Every delivery of the retention time lies in landing/ as it came, none older, and nothing else."""
    with soundlink.warehouse.read() as connection:
        landed = connection.execute("select landed_file, pulled_at from deliveries").fetchall()
    ages = {name: now.replace(tzinfo=None) - pulled_at for name, pulled_at in landed}
    retention = timedelta(days=retention_days)
    due = {name for name, age in ages.items() if age <= retention}
    allowed = {name for name, age in ages.items() if age <= retention + SLACK}
    root = soundlink.landing.root
    found = {str(path.relative_to(root)) for path in root.glob("campaign_*/*/*")}
    assert due <= found <= allowed, f"landing/ on {now}: missing {due - found}, too old {found - allowed}"
    lying = [path.name for path in root.rglob(".*") if path.stat().st_mtime < time.time() - 2 * 86400]
    assert not lying, f"abandoned downloads stay: {lying}"


# The year


class Endurance:
    """A project folder, the API, and one day after another."""

    def __init__(self, folder: Path, api: Api, world: World, retention_days: int, seed: int) -> None:
        self.folder, self.api, self.world = folder, api, world
        self.known, self.records = Known(retention_days), list[dict[str, Any]]()
        self.red: Counter[str] = Counter()
        self._random = Random(seed)

    def settings(self, now: datetime) -> dict[str, str]:
        # Landed files are forgotten by the wall clock, which the simulated one is so many days behind.
        behind = datetime.now(UTC) - now
        return {
            "SOUNDLINK_BASE_URL": self.api.base_url,
            "SOUNDLINK_DATA_DIR": str(self.folder / "data"),
            "SOUNDLINK_START_DATE": FIRST_DAY.isoformat(),
            "SOUNDLINK_REQUESTS_PER_MINUTE": NO_LIMIT,
            "SOUNDLINK_REQUESTS_PER_HOUR": NO_LIMIT,
            "SOUNDLINK_LANDING_RETENTION_DAYS": str(self.known.retention_days + (behind + SLACK).days),
        }

    def day(self, today: date, befalls: str, *, last: bool) -> dict[str, Any]:
        """One simulated day; returns its record. The `last` is compared in every way."""
        now = midnight(today) + timedelta(hours=7)
        settings = self.settings(now)
        soundlink = Soundlink(settings_from(settings), lambda: DEMO_KEY)
        self._age_abandoned_downloads(soundlink.landing)
        self.api.set_clock(now)
        record: dict[str, Any] = {"day": today.isoformat(), "befalls": befalls, "success": False}
        if befalls != "closed":
            self._arm(befalls, now)
            ended = in_child(lambda: refresh(settings, now, retry=False), self._fuse(befalls))
            self.api.be_well()
            if ended.answer is None and befalls == "kill":
                record["killed"] = True
                now += timedelta(minutes=10)
                self.api.set_clock(now)
                ended = in_child(lambda: refresh(settings, now, retry=True))
            run = ended.answer
            record |= {
                "killed": record.get("killed", run is None),
                "seconds": ended.seconds,
                "cpu_seconds": ended.cpu_seconds,
                "peak_mb": ended.peak_mb,
                "requests": self.api.requests(),
            }
            if run:
                self._judge(run, befalls, today)
                record |= {"success": run["success"], "start": run["start"], "end": run["end"], "events": run["events"]}
            if run and run["success"]:
                everything = last or len(self.known.ranges) % EVERYTHING_EVERY == EVERYTHING_EVERY - 1
                record |= self._compare(soundlink, run, now, everything=everything)
        record |= self._sizes()
        self.records.append(record)
        return record

    def _arm(self, befalls: str, now: datetime) -> None:
        times = 1 + int(self._random.random() * 3)
        skip = int(self._random.random() * 8)
        match befalls:
            case "outage":
                self.api.go_wrong("html", times=None)
            case "down":
                self.api.go_wrong("status", status=503, code="unavailable", times=None)
            case "campaign":
                # The one that was created last is asked for, now and for weeks to come.
                created = [c for c in self.world.campaigns if c.created_at < midnight(now.date())]
                newest = max(created, key=lambda campaign: campaign.created_at)
                self.api.go_wrong(
                    "status", status=404, code="campaign_not_found", campaign=newest.uuid, match="export", times=None
                )
            case "damaged":
                self.api.go_wrong("short", match="export", times=times, skip=skip)
                self.api.go_wrong("cut", match="export", times=times)
            case "limits":
                self.api.go_wrong(
                    "status", status=429, code="rate_limit_exceeded", retry_after=1, times=times, skip=skip
                )

    def _fuse(self, befalls: str) -> float | None:
        """After how many seconds to kill the run: somewhere in what a good one takes, as far as is known."""
        if befalls not in ("kill", "restart"):
            return None
        lately = [record["seconds"] for record in self.records if record["success"]][-10:]
        return (0.1 + 0.9 * self._random.random()) * (statistics.median(lately) if lately else 4.0)

    def _judge(self, run: dict[str, Any], befalls: str, today: date) -> None:
        """Runs succeed and checks are green when they should be."""
        expected = befalls not in ("outage", "down", "campaign")
        assert run["success"] is expected, f"{today}, {befalls or 'a good day'}: success is {run['success']}"
        for name, severity, metadata in run["red"]:
            self.red[name] += 1
            if name == BY_THE_WALL_CLOCK and run["success"]:
                newest = {value for name, value in metadata.items() if name.startswith("newest complete day")}
                assert newest == {str(today - timedelta(days=1))}, f"{today}: the newest complete day is {newest}"
            elif run["success"]:
                assert severity == "WARN", f"{today}: {name} failed: {metadata}"

    def _compare(self, soundlink: Soundlink, run: dict[str, Any], now: datetime, *, everything: bool) -> dict[str, Any]:
        checking = in_child(
            lambda: hold_against_the_world(soundlink, self.world, self.known, run, now, everything=everything)
        )
        self.known.checksums, window, (rows, versions, delivered, campaigns) = checking.answer
        self.known.pulled |= dict.fromkeys(window.dates(), now)
        self.known.ranges.append((window, now))
        return {"rows": rows, "versions": versions, "delivered": delivered, "campaigns": campaigns}

    def _age_abandoned_downloads(self, landing: Landing) -> None:
        """What a killed run left is swept after a day; files do not grow older by the simulated clock."""
        for path in landing.root.rglob(".*"):
            written = path.stat().st_mtime - 86400
            os.utime(path, (written, written))

    def _sizes(self) -> dict[str, float]:
        data = self.folder / "data"
        return {
            "warehouse_mb": _megabytes(data / "warehouse.duckdb"),
            "published_mb": _megabytes(data / "soundlink.duckdb"),
            "landing_mb": _megabytes(data / "landing"),
            "dagster_mb": _megabytes(self.folder / ".dagster"),
            "dagster_index_mb": _megabytes(self.folder / ".dagster/storage/history/runs/index.db"),
        }


def _megabytes(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


# What came of it


def is_usual(record: dict[str, Any]) -> bool:
    """A good refresh of the usual eight days: what is compared over the year."""
    if not record["success"] or record["befalls"]:
        return False
    return (date.fromisoformat(record["end"]) - date.fromisoformat(record["start"])).days == 7


def flatness(records: list[dict[str, Any]]) -> dict[str, float | None]:
    """Last quarter over first: each measure's medians among refreshes of equally many campaigns; None if too few."""
    usual = [record for record in records if is_usual(record)]
    quarter = len(records) // 4
    first_days, last_days = ({record["day"] for record in part} for part in (records[:quarter], records[-quarter:]))
    ratios: dict[str, float | None] = {}
    for name in ("seconds", "cpu_seconds", "peak_mb", "mb_per_1000_rows"):
        pairs: list[tuple[float, int]] = []
        for campaigns in sorted({record["campaigns"] for record in usual}):
            early, late = (
                [record[name] for record in usual if record["day"] in days and record["campaigns"] == campaigns]
                for days in (first_days, last_days)
            )
            if min(len(early), len(late)) >= 3:
                pairs.append((statistics.median(late) / statistics.median(early), min(len(early), len(late))))
        weight = sum(count for _, count in pairs)
        ratios[name] = sum(ratio * count for ratio, count in pairs) / weight if weight else None
    return ratios


def draw(records: list[dict[str, Any]], folder: Path) -> None:
    """One figure of four panels: time, memory, the data and Dagster's storage; days without a refresh are shaded."""
    figure = Figure(figsize=(13, 8.5), layout="constrained")
    good = sum(record["success"] for record in records)
    figure.suptitle(f"{len(records)} simulated days, {good} good refreshes; shaded red: days without one")
    (time_axes, memory), (data, storage) = figure.subplots(2, 2)
    right_of_time, right_of_data = time_axes.twinx(), data.twinx()

    def plot(
        axes: Axes, name: str, label: str, chosen: Callable[[dict[str, Any]], bool], style: str, color: str
    ) -> None:
        shown = [(_noon(record), record[name]) for record in records if chosen(record)]
        days, values = zip(*shown, strict=True) if shown else ((), ())
        axes.plot(days, values, style, label=label, color=f"tab:{color}", markersize=3 if style == "." else 6)

    for axes, name in ((time_axes, "seconds"), (memory, "peak_mb")):
        plot(axes, name, "usual refresh, of eight days", is_usual, ".", "blue")
        plot(axes, name, "with faults, or healing a gap", lambda r: r["success"] and not is_usual(r), "x", "orange")
    plot(time_axes, "cpu_seconds", "CPU time of a usual refresh", is_usual, ".", "green")
    plot(right_of_time, "campaigns", "campaigns asked for (right)", is_usual, "-", "gray")
    plot(data, "warehouse_mb", "warehouse.duckdb", lambda _: True, "-", "blue")
    plot(data, "published_mb", "soundlink.duckdb", lambda r: r["published_mb"], "--", "orange")
    plot(data, "landing_mb", "landing/", lambda _: True, "-", "green")
    plot(right_of_data, "rows_1000", "rows (right)", lambda r: r["success"], "-", "gray")
    plot(right_of_data, "versions_1000", "overwritten versions (right)", lambda r: r["success"], ":", "gray")
    plot(storage, "dagster_mb", "all of it", lambda _: True, "-", "blue")
    plot(storage, "dagster_index_mb", "index.db: materializations and checks", lambda _: True, "-", "orange")
    for axes, title, unit in (
        (time_axes, "Time of a refresh", "seconds"),
        (memory, "Peak memory of a refresh, imported code included", "MB"),
        (data, "The data", "MB"),
        (storage, "Dagster's storage, nothing deleted", "MB"),
        (right_of_time, "", "campaigns"),
        (right_of_data, "", "thousands"),
    ):
        room = 3 if axes is right_of_time else 1.3  # the line of campaigns stays below the points
        axes.set(title=title, ylabel=unit, ylim=(0, room * axes.dataLim.y1 if axes.lines else 1))
        axes.tick_params(axis="x", labelsize=8)
    for axes, right in ((time_axes, right_of_time), (memory, None), (data, right_of_data), (storage, None)):
        axes.grid(alpha=0.3)
        for day in (_noon(record) for record in records if not record["success"]):
            axes.axvspan(day - timedelta(hours=12), day + timedelta(hours=12), color="tab:red", alpha=0.15, linewidth=0)
        own, others = axes.get_legend_handles_labels(), right.get_legend_handles_labels() if right else ([], [])
        axes.legend(own[0] + others[0], own[1] + others[1], fontsize=8, loc="upper left", ncols=2)
    for ending in ("svg", "png"):
        figure.savefig(folder / f"endurance.{ending}", dpi=130)


def _noon(record: dict[str, Any]) -> datetime:
    return midnight(date.fromisoformat(record["day"])) + timedelta(hours=12)


def report(records: list[dict[str, Any]], red: Counter[str], folder: Path) -> None:
    """Write the measurements and say what they come to."""
    for record in records:
        if record["success"]:
            record["rows_1000"], record["versions_1000"] = record["rows"] / 1000, record["versions"] / 1000
            record["mb_per_1000_rows"] = record["warehouse_mb"] / (record["rows_1000"] + record["versions_1000"])
    columns = list(dict.fromkeys(name for record in records for name in record))
    with (folder / "endurance.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(records)
    ratios = flatness(records)
    befell = Counter(record["befalls"] for record in records if record["befalls"])
    summary = {"befell": befell, "red_checks": red, "flatness": ratios, "days": records}
    (folder / "endurance.json").write_text(json.dumps(summary, indent=1) + "\n")
    draw(records, folder)
    good = [record for record in records if record["success"]]
    print(f"{len(records)} days, {len(good)} with a refresh that succeeded, after each of which every row was true.")
    print("What befell:", ", ".join(f"{kind} {count}" for kind, count in sorted(befell.items())) or "nothing")
    print("Checks that were red:", ", ".join(f"{name} {count}" for name, count in sorted(red.items())) or "none")
    print("| | first | last | per day |\n|---|---|---|---|")
    for name in ("warehouse_mb", "published_mb", "landing_mb", "dagster_mb", "rows", "versions"):
        first, last = good[0][name], good[-1][name]
        print(f"| {name} | {first:,.1f} | {last:,.1f} | {(last - first) / max(len(good) - 1, 1):,.3f} |")
    print("| last quarter / first quarter, equally many campaigns | ratio | |\n|---|---|---|")
    for name, ratio in ratios.items():
        judged = "too few days" if ratio is None else f"{ratio:.2f} | {'flat' if ratio <= FLAT else 'NOT flat'}"
        print(f"| {name} | {judged} |")
    places: Counter[str] = Counter()
    for path in (folder / ".dagster").rglob("*"):
        if path.is_file():
            place = path.relative_to(folder / ".dagster").parts
            name = "one database per run" if place[:2] == ("storage", "history") and "-" in path.name else path.name
            places["compute logs" if place[0] == "logs" else name] += path.stat().st_size
    print("Dagster's storage:", ", ".join(f"{place} {size / 1e6:,.1f} MB" for place, size in places.most_common(5)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endurance", description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seed", type=int, default=1, help="of the world and of what befalls it")
    parser.add_argument("--quiet", type=int, default=9, help="good days between bad ones, on average")
    parser.add_argument("--longest", type=int, default=10, help="days that an outage may last")
    parser.add_argument("--retention", type=int, default=120, help="days that landed files are kept")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/endurance"))
    given = parser.parse_args()
    folder = given.out.absolute()
    for scratch in (folder / "data", folder / ".dagster"):
        shutil.rmtree(scratch, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy("dagster.yaml", folder)
    os.chdir(folder)  # the paths in dagster.yaml are relative
    os.environ |= {"DAGSTER_HOME": str(folder), "SOUNDLINK_API_KEY": DEMO_KEY}
    world, plan = Year(given.seed, given.days), calendar(given.days, given.seed, given.quiet, given.longest)
    with serving(world) as api:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))
        year = Endurance(folder, api, world, given.retention, given.seed)
        try:
            for number, befalls in enumerate(plan):
                record = year.day(FIRST_DAY + timedelta(days=1 + number), befalls, last=number == len(plan) - 1)
                took = (
                    f"{record['seconds']:.1f} s, {record['peak_mb']:.0f} MB" if "seconds" in record else "nothing ran"
                )
                came = "all true" if record["success"] else "no refresh"
                print(f"{record['day']} {befalls or 'good'}: {came}, {took}", flush=True)
        finally:  # what was measured until then is worth having, whatever ended it
            report(year.records, year.red, folder)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
