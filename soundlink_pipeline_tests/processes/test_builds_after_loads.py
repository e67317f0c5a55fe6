"""However exports were loaded, one build follows within a minute, and analysts have the rows: with a real daemon."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import pytest

from soundlink_pipeline.orchestration.jobs import MODELS_AND_PUBLICATION
from soundlink_pipeline.orchestration.publication_sensor import SENSOR
from soundlink_pipeline.orchestration.run_context import RANGE_START
from soundlink_pipeline.publishing.lag import lag_of
from soundlink_pipeline.simulator import BREAKDOWN, ENGAGEMENT, Fault
from soundlink_pipeline_tests.support.deployment import (
    BIN,
    FIRST_DAY,
    Deployment,
    deployment,
    plain_command,
    process_environment,
    simulated_api,
    until,
)
from soundlink_pipeline_tests.support.sql_folder import sql_folder

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

ENDED = {"COMPLETED_SUCCESS", "COMPLETED_FAILED", "CANCELED"}
SECONDS_TO_THE_BUILD = 60


def day(number: int) -> date:
    return FIRST_DAY + timedelta(days=number)


def days(*numbers: int) -> list[str]:
    return [str(day(number)) for number in numbers]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("builds")
    models = sql_folder(folder / "sql")
    with (
        simulated_api() as sim,
        deployment(folder / "project", sim, SOUNDLINK_SQL_DIR=str(models)) as made,
    ):
        yield made


@contextmanager
def followed_by_builds(here: Deployment, number: int) -> Iterator[None]:
    """What is loaded within the block is published in time by so many runs that build, none if it was by itself."""
    before = {run["id"] for run in here.runs()}
    yield
    until(
        lambda: all(run["endTime"] for run in here.runs()) and not lag_of(here.warehouse, here.published_path, 60),
        "what was loaded is published",
        200,
    )
    seen = len(here.sensor_ticks("SKIPPED", SENSOR))
    until(lambda: len(here.sensor_ticks("SKIPPED", SENSOR)) > seen + 1, "the sensor looks twice, and asks no more")
    runs = [run for run in here.runs() if run["id"] not in before]
    builds = [run for run in runs if run["jobName"] == MODELS_AND_PUBLICATION]
    assert [run["status"] for run in builds] == ["SUCCESS"] * number
    for build in builds:
        last_load = max(run["endTime"] for run in runs if run not in builds)
        assert 0 <= build["startTime"] - last_load < SECONDS_TO_THE_BUILD


def end_of(here: Deployment, backfill: str) -> str:
    def ended() -> str | None:
        status = here.backfill_status(backfill)
        return status if status in ENDED else None

    return until(ended, "the backfill ends", 300)


def run_of(here: Deployment, first: str) -> dict[str, Any]:
    """The run that begins with this day."""
    return until(
        lambda: next((run for run in here.runs() if run["tags"].get(RANGE_START) == first), None), "it is there"
    )


def in_shell(here: Deployment, command: list[str]) -> int:
    environment = process_environment(here.home, here.environment)
    return subprocess.run(command, cwd=here.home, env=environment, check=False).returncode


def test_a_backfill_with_a_failed_chunk_and_the_re_execution_of_that_one(here: Deployment) -> None:
    refused = days(10)[0]
    here.sim.faults.add(Fault("status", match=f"startDate={refused}", export=BREAKDOWN, status=403, times=None))
    with followed_by_builds(here, 1):
        assert end_of(here, here.launch_backfill(days(0, 1, 10, 11, 20, 21))) == "COMPLETED_FAILED"
    here.sim.faults.clear()
    failed = run_of(here, refused)
    assert failed["status"] == "FAILURE"
    with followed_by_builds(here, 1):
        again = here.reexecute_from_failure(failed["id"])
        until(lambda: here.status(again) == "SUCCESS", "the chunk succeeds")


def test_a_backfill_that_is_canceled_in_its_second_chunk(here: Deployment) -> None:
    hanging = here.sim.world.campaigns[0]
    second = days(40)[0]
    here.sim.faults.add(
        Fault("hang", export=BREAKDOWN, campaign=hanging.uuid, match=f"startDate={second}", seconds=600)
    )
    with followed_by_builds(here, 1):
        backfill = here.launch_backfill(days(30, 31, 40, 41, 50, 51))
        until(lambda: run_of(here, second)["status"] == "STARTED", "its second run works", 200)
        here.cancel_backfill(backfill)
        assert end_of(here, backfill) == "CANCELED"
    here.sim.faults.clear()
    assert run_of(here, days(30)[0])["status"] == "SUCCESS"


def test_a_backfill_of_one_export(here: Deployment) -> None:
    with followed_by_builds(here, 1):
        assert end_of(here, here.launch_backfill(days(60, 61), [ENGAGEMENT])) == "COMPLETED_SUCCESS"


def test_two_backfills_that_overlap(here: Deployment) -> None:
    with followed_by_builds(here, 1):
        backfills = [here.launch_backfill(days(*numbers)) for numbers in ((70, 71, 80, 81), (81, 82, 90, 91))]
        assert [end_of(here, backfill) for backfill in backfills] == ["COMPLETED_SUCCESS"] * 2


def test_a_plain_job_from_a_shell_builds_by_itself_unless_a_campaign_fails(here: Deployment) -> None:
    with followed_by_builds(here, 0):
        assert in_shell(here, plain_command(day(100), day(101))) == 0
    refused = here.sim.world.campaigns[0].uuid
    here.sim.faults.add(Fault("status", campaign=refused, export=BREAKDOWN, status=404, times=None))
    with followed_by_builds(here, 1):
        assert in_shell(here, plain_command(day(110), day(111))) == 1
    here.sim.faults.clear()


def test_exports_materialized_from_a_shell(here: Deployment) -> None:
    exports = f"campaigns,{BREAKDOWN},{ENGAGEMENT}"
    chosen = ["-m", "soundlink_pipeline.definitions", "--select", exports, "--partition", str(day(120))]
    with followed_by_builds(here, 1):
        assert in_shell(here, [f"{BIN}/dagster", "asset", "materialize", *chosen]) == 0
