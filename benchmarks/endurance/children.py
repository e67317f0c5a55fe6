"""Processes: a day's run in a child that is measured and may be killed, and the API in another."""

import multiprocessing
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from multiprocessing.connection import Connection
from typing import Any

import dagster as dg
import httpx
import pandas  # noqa: F401  (a run imports it for previews; so that no child has to)
from sqlalchemy import text

from benchmarks.endurance.world import FIRST_DAY
from soundlink_pipeline.definitions import build_definitions, secret_from_environment
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.retention import keep_bounded
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline.simulator import SimClock, World, running_simulator
from soundlink_pipeline.simulator.campaigns import midnight
from soundlink_pipeline_tests.support.project import FROM_FAILURE, QUIET, job_of


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

    def shrink(self, day: date, **parameters: Any) -> None:
        self._switch("POST", "shrinking", day=day.isoformat(), **parameters)

    def be_well(self) -> None:
        self._switch("DELETE", "faults")
        self._switch("DELETE", "shrinking")

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
    soundlink = Soundlink(settings_from(settings), secret_from_environment)
    with dg.DagsterInstance.get() as instance:
        lost = _bury_lost_runs(instance)
        if retry and lost:
            tags = {name: lost.tags[name] for name in (RANGE_START, RANGE_END)} | FROM_FAILURE
            asked: tuple[Any, ...] = (DAILY_REFRESH, settings)
            job = dg.build_reconstructable_job(job_of.__module__, job_of.__name__, asked)
            again = dg.ReexecutionOptions.from_failure(lost.run_id, instance)
            with dg.execute_job(job, instance, run_config=QUIET, tags=tags, reexecution_options=again) as result:
                return _told(result, tags)
        definitions = build_definitions(soundlink.settings, secret_from_environment)
        schedule = definitions.resolve_schedule_def(f"{DAILY_REFRESH}_schedule")
        with dg.build_schedule_context(instance, now, resources={"soundlink": soundlink}) as context:
            (request,) = schedule.evaluate_tick(context).run_requests or []
        refresh = definitions.resolve_job_def(DAILY_REFRESH)
        done = refresh.execute_in_process(QUIET, instance, tags=dict(request.tags), raise_on_error=False)
        return _told(done, request.tags)


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
    """What Dagster's daemon does about runs whose process is gone: failed, place in the pool freed.

    Returns the newest one that had started: the others have nothing to go on from.
    """
    status = dg.DagsterRunStatus
    lost = instance.get_runs(dg.RunsFilter(statuses=[status.NOT_STARTED, status.STARTING, status.STARTED]))
    for run in lost:
        instance.report_run_failed(run, "its process is gone")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    started = [run for run in lost if run.status == status.STARTED]
    return instance.get_run_by_id(started[0].run_id) if started else None


def keep_storage_bounded(now: datetime, days: int, thinned_until: float) -> float:
    """What the sensor `upkeep` does once a day; returns what the next pass goes on from (Unix seconds).

    Dagster dates runs by the clock on the wall, which is far ahead: what it holds of later than `now` is from today.
    """
    with dg.DagsterInstance.get() as instance:
        storage: Any = instance
        for connect, table in (
            (storage.run_storage.connect, "runs"),
            (storage.event_log_storage.index_connection, "asset_check_executions"),
        ):
            with connect() as connection:
                dated = text(f"update {table} set create_timestamp = :now where create_timestamp > :now")
                connection.execute(dated, {"now": now.replace(tzinfo=None).isoformat(" ")})
        while not (kept := keep_bounded(instance, now, days, thinned_until=thinned_until)).finished:
            thinned_until = kept.thinned_until
        return kept.thinned_until
