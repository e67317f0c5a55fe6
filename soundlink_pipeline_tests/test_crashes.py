"""A run that is killed, cancelled or stopped by its disk, at any step: run again, and it is as if nothing had been.

`--kills` says how many random moments are tried. Each is drawn from its own seed, which a failure tells.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from soundlink_pipeline.client import SoundlinkClient
from soundlink_pipeline.definitions import settings_from
from soundlink_pipeline.exports import EXPORTS, Export
from soundlink_pipeline.pacing import Pacer
from soundlink_pipeline.partitions import settled_at
from soundlink_pipeline.publishing import compare
from soundlink_pipeline.resources import Soundlink
from soundlink_pipeline.runs import RANGE_END, RANGE_START
from soundlink_pipeline.simulator import KeyInfo, SimClock, Simulator, World, running_simulator
from soundlink_pipeline.sql_models import STATE_TABLE, build_models
from soundlink_pipeline.sql_project import read_project
from soundlink_pipeline_tests.crashes import (
    CLOSING,
    COMMITTING,
    Order,
    Step,
    Worker,
    instance_of,
    outcome,
    run,
    working,
)
from soundlink_pipeline_tests.project import (
    KEY,
    REPOSITORY,
    asked,
    day,
    each_day,
    environment,
    project,
    truth,
    utc,
)

SQL = read_project(REPOSITORY / "dbt_like_sql")
WORLD = World(campaigns=5, countries_per_campaign=2, tracks_per_campaign=1)
# Two runs before, the second of which finds the first one's values revised.
EARLIER = (
    ("2026-02-18", "2026-02-21", utc("2026-02-22T06:00")),
    ("2026-02-20", "2026-02-23", utc("2026-02-24T06:00")),
)
NOW = utc("2026-02-26T06:00")
BACKFILL, REFRESH = ("2026-02-12", "2026-02-15"), ("2026-02-21", "2026-02-25")
# Dagster's steps of a run.
RUN_STEPS = 4
# What analysts and the next run find in the data folder, and nothing else.
KEPT = {"landing", "requests.sqlite", "requests.sqlite.lock", "soundlink.duckdb", "warehouse.duckdb", "warehouse.lock"}


# What is tried besides random moments: the first of each, and by those who ask for many kills all of them.
MANY_KILLS = 50
CASES: dict[str, list[Any]] = {
    "stopped": [
        (*step, in_ui)
        for step in (("fetching", 3), ("copying", 0), ("staging", 0), ("merging", 0), (COMMITTING, 9))
        for in_ui in (True, False)
    ],
    "full": [
        (where, name)
        for name in ("archiving", "fetching", "staging", "building a model", "copying")
        for where in ("data", "instance")
    ],
    "forbidden": ["building a model", "fetching", "staging", "copying"],
    "jump": [(days, after) for after in (20, 0, 1) for days in (-1, 1, -400)],
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, cases in CASES.items():
        if name in metafunc.fixturenames:
            many = metafunc.config.getoption("--kills") >= MANY_KILLS
            metafunc.parametrize(name, cases if many else cases[:1], ids=str)


@dataclass(frozen=True)
class Past:
    """A project folder with two runs behind it, and their steps: what can be expected of the runs to come."""

    folder: Path
    steps: dict[tuple[str, str], list[Step]]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    folder = tmp_path_factory.mktemp("past")
    with api(EARLIER[0][2]) as sim:
        steps = []
        for start, end, moment in EARLIER:
            sim.clock.set(moment)
            steps.append(run(Order(folder, settings(sim, folder), start, end)).steps())
    return Past(folder, dict(zip((BACKFILL, REFRESH), steps, strict=True)))


@contextmanager
def api(now: datetime) -> Iterator[Simulator]:
    with running_simulator(WORLD, SimClock(now), keys={KEY: KeyInfo()}, per_minute=None, per_hour=None) as sim:
        yield sim


def settings(sim: Simulator, folder: Path) -> dict[str, str]:
    made = environment(sim.base_url, folder / "data", SOUNDLINK_SQL_DIR=str(REPOSITORY / "dbt_like_sql"))
    del made["SOUNDLINK_API_KEY"]
    return made


class Trial:
    """A copy of the past, and one more range to pull, whatever happens to the run."""

    def __init__(self, past: Past, folder: Path, sim: Simulator, days: tuple[str, str] = REFRESH) -> None:
        shutil.copytree(past.folder, folder, dirs_exist_ok=True)
        self.sim, self.folder, self.days, self.pulled_at = sim, folder, days, NOW
        self.settings = settings(sim, folder)
        self.data = folder / "data"
        self.soundlink = Soundlink(settings_from(self.settings), lambda: KEY)

    def order(self, **more: Any) -> Order:
        return Order(self.folder, self.settings, *self.days, **more)

    @contextmanager
    def held_at(self, name: str, nth: int = 0) -> Iterator[Worker]:
        """A worker that stands before a step. When the block ends it goes on, if it still lives, until its end."""
        with working(self.order(hold_at=(name, nth))) as worker:
            assert worker.holds(), f"it never came to {name}: {outcome(self.folder)}"
            yield worker
            worker.go_on()
            worker.end()

    def kill_at(self, step: Step, fraction: float) -> str | None:
        """Kill the run when so much of a step's usual time has passed; which step it hit, None if it was over.

        At 0 the worker is killed as it stands before the step: some are too short to be hit otherwise.
        """
        with working(self.order(hold_at=(step.name, step.nth))) as worker:
            if not worker.holds():
                return None
            if fraction > 0:
                worker.go_on()
                time.sleep((step.seconds or 0) * fraction)
            worker.signal(signal.SIGKILL)
            if worker.end() != -signal.SIGKILL:
                return None
            at = worker.now_at()
        return step.name if step.name in at else at[-1] if at else "after the last step"

    def landed(self, run_id: str | None = None) -> set[tuple[str, str]]:
        """Export and campaign of the deliveries of the trial's range, of all runs or of one."""
        return {
            (found.export, found.campaign_id)
            for found in self.soundlink.landing.deliveries()
            if (str(found.dates.start), str(found.dates.end)) == self.days and run_id in (None, found.run_id)
        }

    def failed_run(self) -> str | None:
        """The trial's run as Dagster's monitoring leaves it when the worker has gone; None if none had begun."""
        with instance_of(self.folder) as instance:
            (newest,) = instance.get_runs(limit=1)
            if (newest.tags[RANGE_START], newest.tags[RANGE_END]) != self.days:
                return None
            if not newest.is_finished:
                instance.report_run_failed(newest)
            done = {event.step_key for event in instance.all_logs(newest.run_id, dg.DagsterEventType.STEP_SUCCESS)}
        return newest.run_id if len(done) < RUN_STEPS else None

    def finish(self, how: str) -> None:
        """Another worker does what is left: by the same order `again`, or `tomorrow`; `resumed` as Dagster retries."""
        failed = self.failed_run()
        if how == "tomorrow":
            self.pulled_at += timedelta(days=1)
            self.sim.clock.set(self.pulled_at)
        resumes = failed if how == "resumed" else None
        # A settled day is not asked for again; another one only by a run that does not resume the one that has it.
        there = self.landed() if self.days == BACKFILL else self.landed(resumes) if resumes else set()
        listed = any(listing.run_id == resumes for listing in self.soundlink.landing.listings())
        self.sim.stats.reset()
        run(self.order(resumes=resumes or ""))
        every = {(export.name, campaign.path_id) for export in EXPORTS for campaign in WORLD.campaigns}
        paths = {export.path.format(campaign_id=name): (export.name, name) for export in EXPORTS for _, name in every}
        assert sorted(paths[path] for path, _ in asked(self.sim)) == sorted(every - there)
        assert self.sim.stats.count(kind="campaigns") == (not listed)

    # What must hold at the end

    def assert_nothing_happened(self) -> None:
        """Data, ledger, history, models and published file are what a run without any trouble makes; no litter."""
        with self.soundlink.warehouse.read() as connection:
            self._assert_tables_are_true(connection)
            self._assert_ledger_adds_up(connection)
            for export in EXPORTS:
                _assert_history_is_a_chain(connection, export)
        self._assert_marts_are_as_rebuilt()
        self._assert_published()
        self._assert_no_litter()

    def _assert_tables_are_true(self, connection: duckdb.DuckDBPyConnection) -> None:
        pulled = {}
        for start, end, moment in (*EARLIER, (*self.days, self.pulled_at)):
            pulled.update(dict(each_day(start, end, moment)))
        for export in EXPORTS:
            columns, key = ", ".join(export.column_names), ", ".join(export.primary_key)
            found = connection.execute(f"select {columns} from {export.name} order by {key}").fetchall()
            assert found == truth(WORLD, export, sorted(pulled.items())), f"{export.name} is not what the API holds"

    def _assert_ledger_adds_up(self, connection: duckdb.DuckDBPyConnection) -> None:
        ledger = connection.execute("select delivery_id, load_order from deliveries").fetchall()
        landed = [(found.delivery_id, found.loaded) for found in self.soundlink.landing.deliveries()]
        assert sorted(ledger) == sorted(landed), "a delivery is not loaded, or not once"
        assert sorted(order for _, order in ledger) == list(range(1, len(ledger) + 1))
        asked_for = connection.execute(
            "select export, campaign_id, run_id, start_date, count(*) from deliveries group by all having count(*) > 1"
        ).fetchall()
        assert asked_for == [], "one run counted a delivery twice"
        for export in EXPORTS:
            ((inserted, updated, wrong),) = connection.execute(
                "select sum(inserted), sum(updated),"
                " count(*) filter (rows <> inserted + updated + unchanged + ignored_as_older or rows <> declared_rows)"
                f" from deliveries where export = '{export.name}'"
            ).fetchall()
            counts = f"select (select count(*) from {export.name}), (select count(*) from {export.name}_history), 0"
            assert connection.execute(counts).fetchall() == [(inserted, updated, wrong)]

    def _assert_marts_are_as_rebuilt(self) -> None:
        copy = self.folder / "rebuilt" / "warehouse.duckdb"
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(self.soundlink.warehouse.path, copy)
        with duckdb.connect(str(copy)) as connection:
            built = _rows_of(connection, "staging", "marts")
            connection.execute(f"delete from {STATE_TABLE}")
            build_models(connection, SQL)
            assert _rows_of(connection, "staging", "marts") == built
        assert {model.table for model in SQL.models.values()} == built.keys()

    def _assert_published(self) -> None:
        assert compare(self.soundlink.warehouse, self.soundlink.published_path) == []
        published = str(self.soundlink.published_path)
        with self.soundlink.warehouse.read() as ours, duckdb.connect(published, read_only=True) as theirs:
            schemas = ("main", "staging", "marts")
            assert _rows_of(theirs, *schemas, without="publication") == _rows_of(ours, *schemas)

    def _assert_no_litter(self) -> None:
        landing = self.soundlink.landing
        assert {path.name for path in self.data.iterdir()} <= KEPT | {"tmp"}
        assert not list(self.data.glob("tmp/*"))
        assert landing.not_archived() == []
        landing.sweep(datetime.now(UTC) + timedelta(days=1, hours=1), 10_000)
        assert [path for path in self.data.rglob("*") if path.name.startswith(".") or ".part" in path.name] == []


def _rows_of(connection: duckdb.DuckDBPyConnection, *schemas: str, without: str = "") -> dict[str, list[Any]]:
    """Every row of every table and view of ours, but for those that are the pipeline's own."""
    names = connection.execute(
        "select table_schema, table_name from information_schema.tables where list_contains($schemas, table_schema)",
        {"schemas": list(schemas)},
    ).fetchall()
    return {
        f"{schema}.{name}": connection.execute(f"from {schema}.{name} order by all").fetchall()
        for schema, name in names
        if not name.startswith("_") and name != without
    }


def _assert_history_is_a_chain(connection: duckdb.DuckDBPyConnection, export: Export) -> None:
    """Each version was believed until the next one, the newest of which is the table's; none is there twice."""
    key = ", ".join(export.primary_key)
    broken = connection.execute(
        f"""
        with versions as (
            select {key}, _valid_from, _valid_until, _delivery_id, _replaced_by_delivery_id
            from {export.name}_history
            union all
            select {key}, _valid_from, null, null, null from {export.name}
        )
        select *, lead(_valid_from) over (partition by {key} order by _valid_from, _valid_until nulls last) as next
        from versions
        qualify (_valid_until is null and next is not null)
            or (_valid_until is not null and (next is distinct from _valid_until or _valid_from >= _valid_until))
        """
    ).fetchall()
    assert broken == []
    ((versions,),) = connection.execute(f"select count(*) from {export.name}_history").fetchall()
    assert versions > 0, "nothing was revised: the test shows nothing"


# Killed


# As many as --kills says, on a machine that may have more to do.
@pytest.mark.timeout(7200)
def test_a_run_killed_at_any_moment_leaves_nothing_lost_nothing_doubled_and_no_litter(
    past: Past, tmp_path: Path, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    lanes = ThreadPoolExecutor(2)  # one trial works while the other is looked at
    trials = [
        lanes.submit(_killed_and_mended, past, tmp_path / str(seed), seed)
        for seed in range(pytestconfig.getoption("--kills"))
    ]
    try:
        hits = Counter(hit for trial in trials for hit in trial.result())
    finally:
        lanes.shutdown(cancel_futures=True)
    with capsys.disabled():
        print(f"\n{hits.total()} kills:", ", ".join(f"{step} {count}" for step, count in sorted(hits.items())))


def _killed_and_mended(past: Past, folder: Path, seed: int) -> list[str]:
    """Kill a run at a moment drawn from the seed, and at times the next one too; finish, and look at everything.

    The steps it hit. Each has its turn, however short it is.
    """
    chance, days, hits = random.Random(seed), (BACKFILL, REFRESH)[seed % 2], list[str]()
    names = sorted({step.name for step in past.steps[days]})
    random.Random(0).shuffle(names)
    name, told = names[seed // 2 % len(names)], [f"{days}"]
    try:
        with api(NOW) as sim:
            trial = Trial(past, folder, sim, days)
            while not hits or (len(hits) == 1 and chance.random() < 0.2):
                step = chance.choice([step for step in past.steps[days] if step.name == name])
                hit = trial.kill_at(step, max(chance.uniform(-0.25, 1), 0))
                told.append(f"{step}: {hit}")
                if hit is not None:
                    hits.append(hit)
                name = chance.choice(names)  # a run that was over by then was quicker than usual: another moment
            told.append(chance.choice(["again", "tomorrow", "resumed", "resumed"]))
            trial.finish(told[-1])
            trial.assert_nothing_happened()
    except Exception as error:
        raise AssertionError(f"seed {seed}, killed at {'; '.join(told)}") from error
    shutil.rmtree(folder)
    return hits


def test_what_is_committed_when_the_worker_dies_is_read_from_the_log_it_leaves(past: Past, tmp_path: Path) -> None:
    steps = past.steps[REFRESH]
    merged = next(place for place, step in enumerate(steps) if step.name == "merging")
    closing = next(step for step in steps[merged:] if step.name == CLOSING)
    with api(NOW) as sim:
        trial = Trial(past, tmp_path, sim)
        with trial.held_at(CLOSING, closing.nth) as worker:
            worker.signal(signal.SIGKILL)
        log = trial.soundlink.warehouse.path.with_name("warehouse.duckdb.wal")
        assert log.stat().st_size > 0
        with trial.soundlink.warehouse.read() as connection:
            (loaded,) = connection.execute(
                "select list((export, campaign_id)) from deliveries where start_date = ?", [day(REFRESH[0])]
            ).fetchall()[0]
        assert set(loaded) <= trial.landed()
        assert len(loaded) >= len(WORLD.campaigns)
        trial.finish("resumed")
        trial.assert_nothing_happened()


# Cancelled


def test_a_run_that_is_told_to_stop_ends_soon_and_keeps_what_has_arrived(
    past: Past, tmp_path: Path, stopped: tuple[str, int, bool]
) -> None:
    name, nth, in_ui = stopped
    with api(NOW) as sim:
        trial = Trial(past, tmp_path, sim)
        with trial.held_at(name, nth) as worker:
            if in_ui:  # which notes it down, and sends the signal then
                with instance_of(tmp_path) as instance:
                    instance.report_run_canceling(instance.get_runs(limit=1)[0])
            worker.signal(signal.SIGTERM)
        with instance_of(tmp_path) as instance:
            (ended,) = instance.get_runs(limit=1)
        assert ended.status == (dg.DagsterRunStatus.CANCELED if in_ui else dg.DagsterRunStatus.FAILURE)
        assert trial.soundlink.landing.not_archived() == []
        assert trial.landed()
        trial.finish("again" if in_ui else "resumed")
        trial.assert_nothing_happened()


# Stopped by the disk


@contextmanager
def _mounted(*arguments: str, at: Path) -> Iterator[None]:
    command = ["mount", *arguments, str(at)]
    if os.geteuid() != 0 or not shutil.which("mount") or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def test_a_disk_that_fills_up_stops_the_run_and_costs_nothing_once_there_is_room(
    past: Past, tmp_path: Path, full: tuple[str, str]
) -> None:
    where, name = full  # the data folder, or Dagster's storage
    small = tmp_path / where
    small.mkdir()
    with api(NOW) as sim, _mounted("-t", "tmpfs", "-o", "size=96m", "tmpfs", at=small):
        trial, filler = Trial(past, tmp_path, sim), small / "filler"
        before = trial.soundlink.published_path.read_bytes()
        with trial.held_at(name) as worker:
            _fill(filler)
        assert worker.end() == 1
        if where == "data":
            assert any(words in outcome(tmp_path) for words in ("disk is full", "is the disk full?", "No space left"))
            assert trial.soundlink.published_path.read_bytes() == before
        filler.unlink()
        trial.finish("resumed")
        trial.assert_nothing_happened()


def _fill(file: Path) -> None:
    """Take all the room there is, also where others are writing."""
    with suppress(OSError), file.open("wb", buffering=0) as filler:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while True:
                    filler.write(b"x" * size)


def test_a_data_folder_that_becomes_read_only_stops_the_run_and_costs_nothing(
    past: Past, tmp_path: Path, forbidden: str
) -> None:
    with api(NOW) as sim:
        trial = Trial(past, tmp_path, sim)
        with _read_only(trial.data) as forbid:
            with trial.held_at(forbidden) as worker:
                forbid()
            assert worker.end() == 1
            assert any(words in outcome(tmp_path) for words in ("cannot be written", "not published", "Read-only"))
        trial.finish("resumed")
        trial.assert_nothing_happened()


@contextmanager
def _read_only(folder: Path) -> Iterator[Callable[[], None]]:
    """Gives what takes the right to write away. Root may write anyway, so for root a read-only mount covers it."""
    with ExitStack() as stack:

        def forbid() -> None:
            if os.geteuid() == 0:
                aside = folder.with_name("aside")
                aside.mkdir()
                stack.enter_context(_mounted("--bind", str(folder), at=aside))
                subprocess.run(["mount", "-o", "remount,bind,ro", str(aside)], check=True)
                stack.enter_context(_mounted("--bind", str(aside), at=folder))
                return
            for inner in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
                stack.callback(inner.chmod, inner.stat().st_mode)
                inner.chmod(0o555)

        yield forbid


# With a clock that jumps


class JumpingClock:
    """Our machine's clock, as client and pacer see it: off by so many days once it has been asked often enough."""

    def __init__(self) -> None:
        self.off = timedelta()
        self.to_come: tuple[int, timedelta] | None = None

    def now(self) -> datetime:
        if self.to_come is not None:
            times, days = self.to_come
            self.off, self.to_come = (self.off + days, None) if times == 0 else (self.off, (times - 1, days))
        return datetime.now(UTC) + self.off

    def seconds(self) -> float:
        return self.now().timestamp()


def test_a_clock_that_jumps_decides_nothing_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: tuple[int, int]
) -> None:
    days, after = jump  # within a run after it has asked for the time so often, or 0: between two runs
    clock = JumpingClock()
    monkeypatch.setitem(SoundlinkClient.__init__.__kwdefaults__, "now", clock.now)
    monkeypatch.setitem(Pacer.__init__.__kwdefaults__, "now", clock.seconds)
    monkeypatch.setitem(Pacer.__init__.__kwdefaults__, "on_wait", _no_wait)
    pulled: dict[date, datetime] = {}
    with project(tmp_path, WORLD) as here:
        # Two runs use a minute up; the third does not wait, for by our clock it is no longer that minute.
        here.settings["SOUNDLINK_REQUESTS_PER_MINUTE"] = str(2 * (1 + 2 * len(WORLD.campaigns)))
        for start, end, moment in (*EARLIER, (*REFRESH, NOW)):
            here.sim.clock.set(moment)
            assert here.refresh(start, end).success
            pulled |= dict(each_day(start, end, moment))
            clock.to_come = after, timedelta(days=days)
            if after == 0:
                clock.now()
        for export in EXPORTS:
            assert here.table(export) == truth(WORLD, export, sorted(pulled.items()))
        settled = {report_date for report_date, moment in pulled.items() if moment >= settled_at(report_date)}
        assert here.query("select distinct report_date, is_settled from report_date_status order by 1") == [
            (report_date, report_date in settled) for report_date in sorted(pulled)
        ]
        assert len(asked(here.sim)) == 3 * 2 * len(WORLD.campaigns)


def _no_wait(seconds: float) -> None:
    raise AssertionError(f"it would wait for {seconds} s")
