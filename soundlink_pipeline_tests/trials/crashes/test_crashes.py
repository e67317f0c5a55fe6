"""A run that is killed, cancelled or stopped by its disk, at any step: run again, and it is as if nothing had been.

`--kills` says how many random moments are tried. Each is drawn from its own seed, which a failure tells.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.contracts.days import settled_at
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS
from soundlink_pipeline_tests.support.project import REPOSITORY, asked, day, each_day, project, truth
from soundlink_pipeline_tests.support.sql_folder import sql_folder
from soundlink_pipeline_tests.trials.crashes.trial import (
    BACKFILL,
    EARLIER,
    NOW,
    REFRESH,
    WORLD,
    Past,
    Trial,
    api,
    settings,
)
from soundlink_pipeline_tests.trials.crashes.worker import CLOSING, COMMITTING, STEPS, Order, instance_of, outcome, run

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


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Past:
    folder = tmp_path_factory.mktemp("past")
    # A view, an incremental model and a table take a third of the time of all models, which a few kills hardly hit.
    many = pytestconfig.getoption("--kills") >= MANY_KILLS
    models = REPOSITORY / "dbt_like_sql" if many else sql_folder(tmp_path_factory.mktemp("sql"))
    with api(EARLIER[0][2]) as sim:
        steps = []
        for start, end, moment in EARLIER:
            sim.clock.set(moment)
            steps.append(run(Order(folder, settings(sim, folder, models), start, end)).steps())
    never = STEPS.keys() - {step.name for of_run in steps for step in of_run}
    assert not never, f"no run comes to {never}: the product calls it by another name now"
    return Past(folder, models, dict(zip((BACKFILL, REFRESH), steps, strict=True)))


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
                "select list((export, subject_id)) from deliveries where start_date = ?", [day(REFRESH[0])]
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
            assert any(words in outcome(tmp_path) for words in ("the disk is full", "is the disk full"))
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
            assert any(words in outcome(tmp_path) for words in ("cannot be written", "was not published"))
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
    monkeypatch.setitem(SoundlinkClient.__init__.__kwdefaults__ or {}, "now", clock.now)
    monkeypatch.setitem(Pacer.__init__.__kwdefaults__ or {}, "now", clock.seconds)
    monkeypatch.setitem(Pacer.__init__.__kwdefaults__ or {}, "on_wait", _no_wait)
    pulled: dict[date, datetime] = {}
    with project(tmp_path, WORLD) as here:
        here.settings["SOUNDLINK_START_DATE"] = EARLIER[0][0]
        # Two runs use a minute up; the third does not wait, for by our clock it is no longer that minute.
        here.settings["SOUNDLINK_REQUESTS_PER_MINUTE"] = str(2 * (1 + 2 * len(WORLD.campaigns)))
        for start, end, moment in (*EARLIER, (*REFRESH, NOW)):
            here.sim.clock.set(moment)
            assert here.refresh(start, end).success
            pulled |= dict(each_day(start, end, moment))
            clock.to_come = after, timedelta(days=days)
            if after == 0:
                clock.now()
        for export in CAMPAIGN_EXPORTS:
            assert here.table(export) == truth(WORLD, export, sorted(pulled.items()))
        settled = {report_date for report_date, moment in pulled.items() if moment >= settled_at(report_date)}
        assert here.query("select distinct report_date, is_settled from report_date_status order by 1") == [
            (report_date, report_date in settled) for report_date in sorted(pulled)
        ]
        assert len(asked(here.sim)) == 3 * 2 * len(WORLD.campaigns)


def _no_wait(seconds: float) -> None:
    raise AssertionError(f"it would wait for {seconds} s")
