"""Who waits for a run says for whom, however it was started, and goes on once that one was killed."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path

import pytest

from soundlink_pipeline.orchestration.run_context import RANGE_START
from soundlink_pipeline.simulator import BREAKDOWN, Fault
from soundlink_pipeline_tests.support.deployment import (
    FIRST_DAY,
    Deployment,
    deployment,
    end_session,
    plain_command,
    process_environment,
    processor_seconds,
    pull_command,
    simulated_api,
    until,
)
from soundlink_pipeline_tests.support.sql_folder import sql_folder

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]

SCHEDULE = "daily_refresh_schedule"
HELD, FAILED, UI, BACKFILL, PULL, JOB, NEXT_PULL, NEXT_JOB = (FIRST_DAY + timedelta(10 * number) for number in range(8))


def run_of(here: Deployment, day: date) -> str:
    """The id of the run that begins with this day."""

    def found() -> str:
        return next((str(run["id"]) for run in here.runs() if run["tags"].get(RANGE_START) == str(day)), "")

    return until(found, "it is there")


def waits(here: Deployment, run_id: str, for_run: str) -> list[float]:
    """When it said that it waits for that run."""
    return [at for at, message in here.log(run_id) if message.startswith(f"Waiting for run {for_run[:8]} (daily_")]


def until_they_wait(here: Deployment, run_ids: Iterable[str], for_run: str, times: int = 1) -> None:
    until(lambda: all(len(waits(here, run_id, for_run)) >= times for run_id in run_ids), "they say so", 300)


def until_all_are(here: Deployment, status: str, run_ids: Iterable[str]) -> None:
    until(lambda: {here.status(run_id) for run_id in run_ids} == {status}, f"they are {status}", 300)


def test_whoever_waits_says_for_whom_each_minute_and_goes_on_once_that_run_was_killed(tmp_path: Path) -> None:
    models = str(sql_folder(tmp_path / "sql"))
    every_minute = {"SOUNDLINK_SCHEDULE": "* * * * *", "SOUNDLINK_SQL_DIR": models}
    with (
        simulated_api() as sim,
        deployment(tmp_path / "project", sim, **every_minute) as here,
        ExitStack() as shells,
    ):

        def in_shell(command: list[str]) -> subprocess.Popen[bytes]:
            environment = process_environment(here.home, here.environment)
            nowhere = subprocess.DEVNULL
            process = subprocess.Popen(
                command, cwd=here.home, env=environment, stdout=nowhere, stderr=nowhere, start_new_session=True
            )
            shells.callback(end_session, process)
            return process

        here.stop_schedule(SCHEDULE)
        sim.faults.add(Fault("status", match=f"startDate={FAILED}", export=BREAKDOWN, status=403, times=None))
        failed = here.launch(FAILED, FAILED)
        until(lambda: here.status(failed) == "FAILURE", "it fails")
        here.until_all_runs_ended()
        sim.faults.clear()
        campaign = sim.world.campaigns[0].uuid
        sim.faults.add(
            Fault("hang", match=f"startDate={HELD}", export=BREAKDOWN, campaign=campaign, seconds=900, times=None)
        )
        holding = in_shell(pull_command(HELD, HELD))
        held = run_of(here, HELD)
        until(lambda: held in (here.home / "data" / "run.lock").read_text(), "it has its turn")

        pull, job = in_shell(pull_command(PULL, PULL)), in_shell(plain_command(JOB, JOB))
        queued = [here.launch(UI, UI), here.reexecute_from_failure(failed)]
        here.launch_backfill([str(BACKFILL)])
        here.start_schedule(SCHEDULE)
        known = set(here.scheduled_runs(SCHEDULE))
        queued += [
            run_of(here, BACKFILL),
            until(lambda: next(iter(set(here.scheduled_runs(SCHEDULE)) - known), ""), "the schedule asks", 150),
        ]
        here.stop_schedule(SCHEDULE)
        in_shells = [run_of(here, PULL), run_of(here, JOB)]
        until_they_wait(here, in_shells, held)
        used = [processor_seconds(process) for process in (pull, job)]
        until_they_wait(here, [*queued, *in_shells], held, times=3)
        for run_id in (*queued, *in_shells):
            assert max(b - a for a, b in itertools.pairwise(waits(here, run_id, held))) < 60
        # Since then a minute has passed, or more.
        assert all(processor_seconds(p) - before < 3 for p, before in zip((pull, job), used, strict=True))

        for process in (pull, job):
            process.kill()
        until_all_are(here, "FAILURE", in_shells)
        next_ones = [in_shell(pull_command(NEXT_PULL, NEXT_PULL)), in_shell(plain_command(NEXT_JOB, NEXT_JOB))]
        until_they_wait(here, [run_of(here, NEXT_PULL), run_of(here, NEXT_JOB)], held)
        sim.faults.clear()
        holding.kill()
        assert [process.wait(300) for process in next_ones] == [0, 0]
        until_all_are(here, "SUCCESS", queued)
        assert here.status(held) == "FAILURE"
