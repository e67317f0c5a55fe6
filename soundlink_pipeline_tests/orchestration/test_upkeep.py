"""The sensor `upkeep`, tick by tick."""

from __future__ import annotations

import os
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.remote_origin import RemoteInstigatorOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)

from soundlink_pipeline.orchestration.orphaned_runs import fail_orphaned_runs
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.orchestration.run_origin import job_origin
from soundlink_pipeline.orchestration.turn import turn
from soundlink_pipeline.orchestration.upkeep import build_upkeep
from soundlink_pipeline_tests.support.instances import instance_at

NOW = datetime.now(UTC)
WORKING, QUEUED = "11111111-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "22222222-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
WAITING = "33333333-cccc-4ccc-8ccc-cccccccccccc"
DAYS = {RANGE_START: "2026-01-01", RANGE_END: "2026-01-08"}


def tick(
    instance: dg.DagsterInstance, cursor: str | None = None, moment: datetime = NOW, data: Path = Path("nowhere")
) -> tuple[str, str | None]:
    """What a tick says, and its cursor."""
    sensor = build_upkeep(90, data, lambda: moment)
    with dg.build_sensor_context(instance, cursor, sensor_name=sensor.name) as context:
        done = sensor.evaluate_tick(context)
    return done.skip_message or "", done.cursor


def test_a_queued_run_is_told_which_run_it_waits_for_at_each_tick(tmp_path: Path) -> None:
    with instance_at(tmp_path / "home") as instance:
        instance.add_run(dg.DagsterRun("rebuild_from_landing", WORKING, status=dg.DagsterRunStatus.STARTED))
        instance.add_run(
            dg.DagsterRun(
                "__ASSET_JOB",
                QUEUED,
                status=dg.DagsterRunStatus.QUEUED,
                tags={**DAYS, "dagster/backfill": "b"},
                remote_job_origin=job_origin(tmp_path, "__ASSET_JOB"),
            )
        )
        _, cursor = tick(instance)
        said, _ = tick(instance, cursor)
        assert said == "1 queued run told what to wait for"
        told = [entry.message for entry in instance.all_logs(QUEUED)]
        assert len(told) == 2
        for line in told:
            assert line.startswith(
                "Waiting for run 11111111 (rebuild_from_landing, started by shell), which has been working since "
            )
            assert line.endswith(" UTC, to end: one run at a time.")
        queued = instance.get_run_by_id(QUEUED)
        assert queued is not None
        assert queued.tags["soundlink/days"] == "2026-01-01 to 01-08"
        assert queued.tags["soundlink/started_by"] == "UI backfill"


@pytest.mark.parametrize("host", [socket.gethostname(), "another", None], ids=["this", "another", "unknown"])
def test_in_a_storage_that_machines_share_only_a_dead_run_of_this_machine_is_marked(host: str | None) -> None:
    tags = {".dagster/soundlink_host": host} if host else {}
    gone = subprocess.Popen(["true"])
    gone.wait()
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.add_run(dg.DagsterRun("daily_refresh", WORKING, status=dg.DagsterRunStatus.STARTED, tags=tags))
        instance.report_engine_event("Executing steps", run, EngineEventData({"pid": str(gone.pid)}))
        marked = fail_orphaned_runs(instance)
        (run,) = instance.get_runs()
    if host == socket.gethostname():
        assert (marked, run.status) == ([WORKING], dg.DagsterRunStatus.FAILURE)
    else:
        assert (marked, run.status) == ([], dg.DagsterRunStatus.STARTED)


def test_a_dead_process_that_its_parent_has_not_asked_for_counts_as_gone(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as process, instance_at(tmp_path / "home") as instance:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        run = instance.add_run(dg.DagsterRun("daily_refresh", WORKING, status=dg.DagsterRunStatus.STARTED))
        instance.report_engine_event("Executing steps", run, EngineEventData({"pid": str(process.pid)}))
        assert fail_orphaned_runs(instance) == [WORKING]


def test_the_run_that_has_the_turn_is_named_not_an_older_one_that_waits_for_it_too(tmp_path: Path) -> None:
    with instance_at(tmp_path / "home") as instance:
        for run_id in (WAITING, WORKING):
            instance.add_run(dg.DagsterRun("daily_refresh", run_id, status=dg.DagsterRunStatus.STARTED))
        working = instance.get_run_by_id(WORKING)
        assert working is not None
        origin = job_origin(tmp_path, "daily_refresh")
        queued = dg.DagsterRun("daily_refresh", QUEUED, status=dg.DagsterRunStatus.QUEUED, remote_job_origin=origin)
        instance.add_run(queued)
        with turn(tmp_path / "data", working, instance, pytest.fail):
            tick(instance, data=tmp_path / "data")
        tick(instance)
        told = [entry.message.partition(" (")[0] for entry in instance.all_logs(QUEUED)]
        assert told == ["Waiting for run 11111111", "Waiting for run 33333333"]


def test_the_storage_is_looked_at_once_a_day_and_the_sensor_is_on_by_default(tmp_path: Path) -> None:
    assert build_upkeep(90, tmp_path).default_status is dg.DefaultSensorStatus.RUNNING
    with instance_at(tmp_path / "home") as instance:
        said, cursor = tick(instance)
        assert said.startswith("0 runs deleted, 0 thinned")
        said, cursor = tick(instance, cursor)
        assert said == "nothing to do"
        said, cursor = tick(instance, cursor, NOW + timedelta(days=1))
        assert said.startswith("0 runs deleted, 0 thinned")
        said, _ = tick(instance, "a cursor of somebody else")
        assert said.startswith("0 runs deleted, 0 thinned")


def test_of_the_publication_sensor_ticks_that_asked_for_nothing_are_deleted_after_an_hour(tmp_path: Path) -> None:
    def add_ticks(name: str) -> InstigatorState:
        """Every quarter of an hour, the newest ten minutes ago; every third one asked for a run."""
        origin = RemoteInstigatorOrigin(job_origin(tmp_path, "any").repository_origin, name)
        kind, data = InstigatorType.SENSOR, SensorInstigatorData()
        state = InstigatorState(origin, kind, InstigatorStatus.RUNNING, data)
        instance.add_instigator_state(state)
        for number in range(9):
            moment = NOW - timedelta(minutes=10 + 15 * (8 - number))
            status = TickStatus.SKIPPED if number % 3 else TickStatus.SUCCESS
            ticked = TickData(
                state.instigator_origin_id,
                name,
                kind,
                status,
                moment.timestamp(),
                run_ids=[],
                selector_id=state.selector_id,
            )
            instance.create_tick(ticked)
        return state

    def statuses(state: InstigatorState) -> list[str]:
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id)
        return [tick.status.value for tick in reversed(ticks)]

    with instance_at(tmp_path / "home") as instance:
        publication, other = add_ticks("models_and_publication_sensor"), add_ticks("another")
        tick(instance)
        assert statuses(other) == ["SUCCESS", "SKIPPED", "SKIPPED"] * 3
        assert statuses(publication) == ["SUCCESS", "SUCCESS", "SKIPPED", "SUCCESS", "SKIPPED", "SKIPPED"]


@pytest.mark.parametrize("days", [1, 10**9])
def test_any_number_of_days_will_do(tmp_path: Path, days: int) -> None:
    with instance_at(tmp_path / "home") as instance, dg.build_sensor_context(instance) as context:
        assert "0 runs deleted" in (build_upkeep(days, tmp_path).evaluate_tick(context).skip_message or "")
