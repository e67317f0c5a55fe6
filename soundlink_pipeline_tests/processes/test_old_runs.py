"""Old runs are deleted by the daemon, and a backfill of what the UI shows as missing pulls nothing anew."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH
from soundlink_pipeline.orchestration.retention import NEWEST_RUNS_OF_A_JOB
from soundlink_pipeline_tests.support.deployment import (
    BIN,
    FIRST_DAY,
    NEVER,
    deployment,
    process_environment,
    simulated_api,
    until,
)
from soundlink_pipeline_tests.support.project import REPOSITORY, asked, environment

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

DAYS = [str(FIRST_DAY + timedelta(days=number)) for number in range(7)]
NEW, PULLED = DAYS[:2], DAYS[2:]


def make_old(home: Path) -> set[str]:
    """Make every run a year old and no more among the newest of its job; returns their ids."""
    runs = home / ".dagster" / "storage" / "history" / "runs.db"
    with closing(sqlite3.connect(runs)) as connection, connection:
        connection.execute("update runs set create_timestamp = datetime(create_timestamp, '-365 days')")
        ids = {run_id for (run_id,) in connection.execute("select run_id from runs")}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for _ in range(NEWEST_RUNS_OF_A_JOB):
            instance.add_run(dg.DagsterRun(DAILY_REFRESH, status=dg.DagsterRunStatus.SUCCESS))
    return ids


def test_a_backfill_of_missing_days_asks_for_none_of_a_deleted_run_after_the_first_day_was_moved_earlier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "project"
    home.mkdir()
    (home / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    monkeypatch.chdir(home)  # where the paths in dagster.yaml begin
    with simulated_api() as sim:
        settings = environment(sim.base_url, home / "data", SOUNDLINK_START_DATE=PULLED[0], SOUNDLINK_SCHEDULE=NEVER)
        subprocess.run(
            [BIN / "soundlink", "pull", f"--from={PULLED[0]}", f"--to={PULLED[-1]}"],
            env=process_environment(home, settings),
            check=True,
        )
        old = make_old(home)
        assert old
        with deployment(home, sim, SOUNDLINK_START_DATE=NEW[0]) as here:
            until(lambda: not old & {run["id"] for run in here.runs()}, "the sensor upkeep deletes the old run")
            for export in EXPORTS:
                missing = [day for day in DAYS if day not in here.materialized(export.name)]
                assert missing == NEW
            sim.stats.reset()
            backfill = here.launch_backfill(NEW)
            until(lambda: here.backfill_status(backfill) == "COMPLETED_SUCCESS", "the backfill ends", 200)
            assert {query for _, query in asked(sim)} == {f"startDate={NEW[0]}&endDate={NEW[-1]}"}
            for export in EXPORTS:
                assert here.materialized(export.name) == set(DAYS)
