"""One run at a time works in a data folder; who waits says for whom, without using a processor."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.orchestration.turn import turn
from soundlink_pipeline_tests.support.project import Project

_FORK = multiprocessing.get_context("fork")
FIRST, SECOND = "11111111-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "22222222-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
BY_SCHEDULE = {RANGE_START: "2026-01-01", RANGE_END: "2026-01-08", "dagster/schedule_name": "daily_refresh_schedule"}


def a_run(run_id: str, **tags: str) -> dg.DagsterRun:
    return dg.DagsterRun("daily_refresh", run_id, status=dg.DagsterRunStatus.STARTED, tags=tags)


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _takes_it_for_ever(data: Path, has_it: multiprocessing.synchronize.Event) -> None:
    with dg.DagsterInstance.ephemeral() as instance, turn(data, a_run(FIRST, **BY_SCHEDULE), instance, print):
        has_it.set()
        time.sleep(600)


def test_a_run_waits_for_a_living_one_says_so_and_marks_it_as_failed_once_it_is_killed(tmp_path: Path) -> None:
    data, has_it, said, noted = tmp_path / "data", _FORK.Event(), list[str](), list[str]()
    holder = _FORK.Process(target=_takes_it_for_ever, args=(data, has_it))
    holder.start()
    assert has_it.wait(60)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_run(a_run(FIRST))

        def kill_later() -> None:
            until(lambda: len(said) >= 3)
            holder.kill()

        killer = threading.Thread(target=kill_later)
        killer.start()
        used = time.process_time()
        with turn(data, a_run(SECOND), instance, said.append, note=noted.append, say_every_seconds=0.2):
            used = time.process_time() - used
            (failed,) = instance.get_runs(dg.RunsFilter([FIRST]))
            assert failed.status is dg.DagsterRunStatus.FAILURE
        killer.join()
    holder.join()
    waiting = re.compile(
        r"Waiting for run 11111111 \(daily_refresh, 2026-01-01 to 2026-01-08, started by schedule\), which has been"
        rf" working since \d{{4}}-\d\d-\d\d \d\d:\d\d UTC in process {holder.pid}, to end: one run at a time"
        r" \(\d+ s so far\)\."
    )
    assert all(waiting.fullmatch(line) for line in said[:3]), said
    # What is shown has the time as it is now, however seldom the log has a line.
    assert all(waiting.fullmatch(line) for line in noted), noted
    assert len(set(noted)) > 1
    assert re.fullmatch(r"Its turn, after \d+ s\.", said[-1])
    assert used < 0.5, "that is a busy wait"


def test_a_run_that_ends_leaves_the_turn_and_no_trace_of_itself(tmp_path: Path) -> None:
    said: list[str] = []
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_run(a_run(FIRST))  # as the next run sees it: its last event is stored after it has left the turn
        for run_id in (FIRST, SECOND):
            with turn(tmp_path, a_run(run_id), instance, said.append):
                assert json.loads((tmp_path / "run.lock").read_text())["run"] == run_id
        (first,) = instance.get_runs(dg.RunsFilter([FIRST]))
        assert first.status is dg.DagsterRunStatus.STARTED
    assert (tmp_path / "run.lock").read_text() == ""
    assert said == []


def test_whole_runs_wait_and_say_so_in_their_log(here: Project) -> None:
    here.data.mkdir()
    with (here.data / "run.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        def said() -> list[str]:
            runs = here.instance.get_runs()
            logs = here.instance.all_logs(runs[0].run_id) if runs else []
            return [entry.user_message for entry in logs if not entry.is_dagster_event]

        def end_once_it_waits() -> None:
            until(said)
            other.close()

        ends = threading.Thread(target=end_once_it_waits)
        ends.start()
        result = here.refresh("2026-02-01", "2026-02-02")
        ends.join()
    assert result.success
    assert said()[0] == "Waiting for another run to end: one run at a time (0 s so far)."
    assert re.fullmatch(r"Its turn, after \d+ s\.", said()[1])
    run = here.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert {name: value for name, value in run.tags.items() if name.startswith("soundlink/")} == {
        "soundlink/days": "2026-02-01 to 02-02",
        "soundlink/number_of_days": "2",
        "soundlink/started_by": "shell",
    }


def test_checks_of_the_newest_day_wait_for_nobody(here: Project) -> None:
    here.data.mkdir()
    with (here.data / "run.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert here.execute("freshness").success
