"""Run workers that can be followed, held at a chosen step, and killed there; and what must hold once they are mended.

A worker is a real process with a real Dagster run. It is forked from a server that has imported everything, for the
imports take as long as the run. What it is doing it writes down, step by step, in a file that survives it: so a test
knows what a kill has hit.
"""

from __future__ import annotations

import functools
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import dagster as dg
import duckdb
from dagster._utils.interrupts import setup_interrupt_handlers

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.landing import folder
from soundlink_pipeline.loading import batch, direct_insert, validation
from soundlink_pipeline.orchestration import export_assets, model_assets, pull_step
from soundlink_pipeline.orchestration.event_log import PooledSqliteEventLog
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.orchestration.run_tags import SCHEDULE, STARTED_BY
from soundlink_pipeline.publishing import file_copy
from soundlink_pipeline.pulling import listing as pulling_listing
from soundlink_pipeline.warehouse import native_file
from soundlink_pipeline.warehouse.instances import opened
from soundlink_pipeline.warehouse.presence import Presence
from soundlink_pipeline_tests.support import project
from soundlink_pipeline_tests.support.instances import instance_settings
from soundlink_pipeline_tests.support.project import FROM_FAILURE, KEY, Project

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__, "pandas"])
# A worker that stands still for so long hangs.
PATIENCE_SECONDS = 240

# What a run does, by the name a kill is told under. Functions are named where they are looked up.
STEPS: dict[str, list[tuple[Any, str]]] = {
    "listing": [(folder.Landing, "land_listing"), (pulling_listing, "save_listing")],
    "loading leftovers": [(pull_step, "load_leftovers")],
    "fetching": [(SoundlinkClient, "_get_export")],
    "landing": [(folder.Landing, "land")],
    "first loading": [(direct_insert, "insert")],
    "staging": [(validation.Staging, "validate")],
    "merging": [(batch, "_merge")],
    "writing the ledger": [(batch, "_record")],
    "taking out what vanished": [(Presence, "settle")],
    "marking the contract": [(native_file.NativeFile, "_mark_prepared")],
    "archiving": [(folder, "_compress")],
    "checking": [(export_assets, "run_export_checks")],
    "building a model": [(model_assets, "build_model")],
    "copying": [(native_file.ClosedFile, "copy_to")],
    "finishing the copy": [(file_copy, "finish")],
    "replacing the published file": [(file_copy, "put_in_place")],
    "comparing": [(file_copy, "compare")],
    "storing events": [(PooledSqliteEventLog, "store_event"), (PooledSqliteEventLog, "store_event_batch")],
}
# And what the database does on its behalf. Closing makes a checkpoint too.
COMMITTING, CHECKPOINTING, CLOSING = "committing", "checkpointing", "closing the database"
WHOLE_RUN = "between steps"


@dataclass(frozen=True)
class Step:
    """One of a run's steps, the first of its name being number 0; `seconds` is None if it never ended."""

    name: str
    nth: int
    seconds: float | None


@dataclass(frozen=True)
class Order:
    """What a worker is to do: a range, or to resume a run; and the step to hold at, which it tells before it begins."""

    folder: Path
    settings: dict[str, str]
    start: str = ""
    end: str = ""
    resumes: str = ""
    hold_at: tuple[str, int] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "steps.log"


# Within the worker


class _Way:
    """Writes down each step of the run as it begins and ends, and holds where it is to be held."""

    def __init__(self, order: Order, gate: Any) -> None:
        self._log = os.open(order.log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND)
        self._hold_at, self._gate = order.hold_at, gate
        self._lock, self._begun = threading.Lock(), Counter[str]()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        with self._lock:
            nth = self._begun[name]
            self._begun[name] += 1
        self._note("begun", name, nth)
        if (name, nth) == self._hold_at:
            self._gate.send("here")
            self._gate.recv()
        try:
            yield
        finally:
            self._note("ended", name, nth)

    def _note(self, what: str, name: str, nth: int) -> None:
        os.write(self._log, f"{what}\t{time.monotonic()}\t{name}\t{nth}\n".encode())

    def follow(self, owner: Any, attribute: str, name: str) -> None:
        function = getattr(owner, attribute)

        @functools.wraps(function)
        def followed(*arguments: Any, **options: Any) -> Any:
            with self.step(name):
                return function(*arguments, **options)

        setattr(owner, attribute, followed)


class _Followed:
    """A DuckDB connection that tells of commits and checkpoints; all else goes straight to it."""

    def __init__(self, real: duckdb.DuckDBPyConnection, way: _Way) -> None:
        self._real, self._way = real, way

    def execute(self, query: str, *values: Any) -> Any:
        name = {"commit": COMMITTING, "checkpoint": CHECKPOINTING}.get(query)
        if name is None:
            return self._real.execute(query, *values)
        with self._way.step(name):
            return self._real.execute(query, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _FollowedFile:
    """A database file that tells of its end, while it is open."""

    def __init__(self, real: AbstractContextManager[duckdb.DuckDBPyConnection], way: _Way) -> None:
        self._real, self._way = real, way

    def __enter__(self) -> _Followed:
        return _Followed(self._real.__enter__(), self._way)

    def __exit__(self, *raised: Any) -> bool | None:
        with self._way.step(CLOSING):
            return self._real.__exit__(*raised)


def _loaded_once(job_of: Callable[[str, dict[str, str]], dg.JobDefinition]) -> Callable[..., dg.JobDefinition]:
    """Dagster's Python interface loads a job three times over, which would be a third of a small run."""
    loaded: dict[str, dg.JobDefinition] = {}

    @functools.wraps(job_of)  # Dagster asks for it by name
    def load(name: str, settings: dict[str, str]) -> dg.JobDefinition:
        if name not in loaded:
            loaded[name] = job_of(name, settings)
        return loaded[name]

    return load


def _work(order: Order, gate: Any) -> None:
    """A run worker's life: as Dagster starts one, with one job to execute."""
    os.environ["SOUNDLINK_API_KEY"] = KEY
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a session in the background ignores it
    setup_interrupt_handlers()
    way = _Way(order, gate)
    for name, places in STEPS.items():
        for owner, attribute in places:
            way.follow(owner, attribute, name)
    for module in (native_file, file_copy):
        module.opened = lambda *arguments, **options: _FollowedFile(opened(*arguments, **options), way)  # type: ignore[attr-defined]
    project.job_of = _loaded_once(project.job_of)
    with instance_of(order.folder) as instance:
        here = Project(cast(Any, None), instance, order.folder, order.settings)
        with way.step(WHOLE_RUN):
            if order.resumes:
                parent = instance.get_run_by_id(order.resumes)
                assert parent is not None
                tags = {name: parent.tags[name] for name in (RANGE_START, RANGE_END)} | FROM_FAILURE
                again = dg.ReexecutionOptions.from_failure(order.resumes, instance)
                result = here.execute(DAILY_REFRESH, tags=tags, reexecution_options=again)
            else:
                # As one that the daemon launches: whoever stops a shell's run cancels it.
                result = here.refresh(order.start, order.end, tags={STARTED_BY: SCHEDULE})
    for event in result.all_events:
        if event.is_failure:
            print(event.event_type_value, event.message, event.event_specific_data, flush=True)
    os._exit(0 if result.success else 1)


# Around the worker


@contextmanager
def instance_of(folder: Path) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of a project folder, which outlives processes."""
    home = folder / "instance"
    home.mkdir(parents=True, exist_ok=True)
    with dg.DagsterInstance.local_temp(str(home), instance_settings(home)) as instance:
        yield instance


class Worker:
    """A run worker at work."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._gate, other = _PROCESSES.Pipe()
        self._process = _PROCESSES.Process(target=_work, args=(order, other), daemon=True)
        self._process.start()
        other.close()

    def holds(self) -> bool:
        """Wait until the worker stands at the step it is to be held at; False if it ended without coming there."""
        ready = multiprocessing.connection.wait([self._gate, self._process.sentinel], PATIENCE_SECONDS)
        assert ready, f"the worker neither came to {self.order.hold_at} nor to its end; it is at {self.now_at()}"
        try:
            return self._gate in ready and self._gate.recv() == "here"
        except EOFError:
            return False

    def go_on(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it is dead
            self._gate.send("go on")

    def signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def end(self) -> int:
        """Wait for the end; the exit code, negative for a signal."""
        self._process.join(PATIENCE_SECONDS)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
            self._process.join()
            raise AssertionError(f"the worker hung at {self.now_at()}")
        return code

    def close(self) -> None:
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._gate.close()

    def steps(self) -> list[Step]:
        """What it has done, in the order of beginning."""
        found: dict[tuple[str, int], Step] = {}
        begun: dict[tuple[str, int], float] = {}
        for line in self.order.log.read_text().splitlines():
            what, moment, name, nth = line.split("\t")
            key = name, int(nth)
            if what == "begun":
                begun[key], found[key] = float(moment), Step(name, int(nth), None)
            else:
                found[key] = replace(found[key], seconds=float(moment) - begun[key])
        return list(found.values())

    def now_at(self) -> list[str]:
        """The steps it is in, or was when it ended; the innermost last."""
        return [step.name for step in self.steps() if step.seconds is None]


@contextmanager
def working(order: Order) -> Iterator[Worker]:
    worker = Worker(order)
    try:
        yield worker
    finally:
        worker.close()


def run(order: Order) -> Worker:
    """Let a worker do all of its work; it must succeed."""
    with working(order) as worker:
        assert worker.end() == 0, f"the run failed: {outcome(order.folder)}"
    return worker


def outcome(folder: Path) -> str:
    """What the newest run's failures say."""
    with instance_of(folder) as instance:
        (newest,) = instance.get_runs(limit=1)
        events = [entry.dagster_event for entry in instance.all_logs(newest.run_id)]
        said = [str(event.event_specific_data) for event in events if event is not None and event.is_failure]
    return f"{newest.status}: {said}"
