"""Dagster's storage with connections kept open: the same files, seen by others at once, and nothing kept for ever."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

from soundlink_pipeline.dagster_storage import PooledSqliteEventLog, PooledSqliteStorage
from soundlink_pipeline_tests.project import REPOSITORY, instance_settings


@dg.op
def say(context: dg.OpExecutionContext) -> None:
    context.log.info("said")


@dg.job
def one_step() -> None:
    say()


QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def _said(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    return [entry.user_message for entry in instance.all_logs(run_id) if not entry.is_dagster_event]


def _open_files(below: Path) -> set[str]:
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
    targets = {os.readlink(link) for link in links if link.is_symlink()}  # noqa: PTH115
    return {Path(target).name for target in targets if target.startswith(str(below)) and target.endswith(".db")}


def test_the_project_is_configured_to_use_it() -> None:
    configured = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text())["storage"]["custom"]
    assert (configured["module"], configured["class"]) == (PooledSqliteStorage.__module__, PooledSqliteStorage.__name__)


def test_what_is_written_is_dagsters_own_and_either_storage_goes_on_with_the_other(tmp_path: Path) -> None:
    ours = instance_settings(tmp_path)
    theirs = {"telemetry": {"enabled": False}, "storage": {"sqlite": {"base_dir": str(tmp_path / "storage")}}}
    runs = []
    for number, settings in enumerate((theirs, ours, theirs)):
        home = tmp_path / f"home-{number}"
        home.mkdir()
        with dg.DagsterInstance.local_temp(str(home), settings) as instance:
            pooled = isinstance(instance.event_log_storage, PooledSqliteEventLog)
            assert pooled == (settings is ours)
            runs.append(one_step.execute_in_process(instance=instance, run_config=QUIET).run_id)
            for run_id in runs:
                assert _said(instance, run_id) == ["said"]
                assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.SUCCESS  # type: ignore[union-attr]


def test_another_process_sees_each_event_at_once_and_can_write_between(tmp_path: Path) -> None:
    script = """
import sys, yaml
from pathlib import Path
import dagster as dg
from soundlink_pipeline_tests.project import instance_settings
from soundlink_pipeline_tests.test_dagster_storage import QUIET, one_step, _said
home, run_id = Path(sys.argv[1]), sys.argv[2]
with dg.DagsterInstance.local_temp(str(home), instance_settings(home)) as instance:
    assert _said(instance, run_id) == ["said"]
    print(one_step.execute_in_process(instance=instance, run_config=QUIET).run_id)
"""
    with dg.DagsterInstance.local_temp(str(tmp_path), instance_settings(tmp_path)) as instance:
        for _ in range(2):
            mine = one_step.execute_in_process(instance=instance, run_config=QUIET).run_id
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", script, str(tmp_path), mine],
                capture_output=True,
                text=True,
                cwd=REPOSITORY,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert _said(instance, done.stdout.split()[-1]) == ["said"]
        assert instance.get_runs_count() == 4


def test_who_follows_a_run_is_told_while_its_database_is_kept_open(tmp_path: Path) -> None:
    with (
        dg.DagsterInstance.local_temp(str(tmp_path), instance_settings(tmp_path)) as instance,
        dg.DagsterInstance.local_temp(str(tmp_path), instance_settings(tmp_path)) as follower,
    ):
        run = instance.create_run_for_job(one_step)
        instance.report_engine_event("first", run)
        told, heard = threading.Event(), []

        def hear(entry: dg.EventLogEntry, _cursor: str) -> None:
            heard.append(entry.message)
            told.set()

        follower.watch_event_logs(run.run_id, None, hear)
        try:
            instance.report_engine_event("second", run)
            assert told.wait(20)
        finally:
            follower.end_watch_event_logs(run.run_id, hear)
        assert "second" in heard


def test_only_the_last_used_databases_stay_open_and_none_after_the_end(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path), instance_settings(tmp_path)) as instance:
        runs = [one_step.execute_in_process(instance=instance, run_config=QUIET).run_id for _ in range(7)]
        assert all(_said(instance, run_id) == ["said"] for run_id in runs)
        still_open = _open_files(tmp_path / "storage" / "history" / "runs")
        assert f"{runs[-1]}.db" in still_open
        assert len(still_open) <= 4
        instance.delete_run(runs[0])
        assert not instance.has_run(runs[0])
        instance.event_log_storage.wipe()
        assert not list((tmp_path / "storage" / "history" / "runs").glob(f"{runs[-1]}*"))
        again = one_step.execute_in_process(instance=instance, run_config=QUIET).run_id
        assert _said(instance, again) == ["said"]
    assert _open_files(tmp_path) == set()


def test_an_error_in_a_transaction_keeps_nothing_and_the_connection_goes_on(tmp_path: Path) -> None:
    storage = PooledSqliteStorage.from_local(str(tmp_path))
    assert isinstance(storage, DagsterSqliteStorage)
    log = storage.event_log_storage
    assert isinstance(log, PooledSqliteEventLog)

    def write_and_fail() -> None:
        with log.index_connection() as connection:
            connection.exec_driver_sql("insert into secondary_indexes (name) values ('x')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    with log.index_connection() as connection:
        assert connection.exec_driver_sql("select count(*) from secondary_indexes where name = 'x'").scalar() == 0
    storage.dispose()
