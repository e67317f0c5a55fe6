"""Dagster's storage with connections kept open: the same files, seen by others at once, and nothing kept for ever."""

import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from sqlalchemy import text

from soundlink_pipeline.orchestration import event_log
from soundlink_pipeline.orchestration.event_log import TESTED, PooledSqliteEventLog, PooledSqliteStorage
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline_tests.support.instances import copy_empty_storage, instance_settings
from soundlink_pipeline_tests.support.project import REPOSITORY


@dg.op
def say(context: dg.OpExecutionContext) -> None:
    context.log.info("said")


@dg.job
def one_step() -> None:
    say()


DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-02-01")


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # backfill_policy is beta

    @dg.asset(
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[dg.AssetCheckSpec("c", asset="a"), dg.AssetCheckSpec("d", asset="a")],
    )
    def a(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster reads it
        for number, day in enumerate(context.partition_keys):
            context.add_asset_metadata({"rows": number}, partition_key=day)
        checked = [dg.AssetCheckResult(check_name=name, passed=name == "c") for name in "cd"]
        return dg.MaterializeResult(check_results=checked)

    @dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run(), deps=[a])
    def b() -> None: ...


def _materialize(instance: dg.DagsterInstance) -> str:
    tags = {RANGE_START: "2026-01-03", RANGE_END: "2026-01-07"}
    job = dg.Definitions(assets=[a, b]).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, run_config=QUIET, tags=tags).run_id


def _as_told(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    """All that the UI asks of a run's assets, apart from moments, run ids and places in the log."""
    log = instance.event_log_storage
    told: dict[str, Any] = {}
    for key in (a.key, b.key):
        events = log.fetch_materializations(dg.AssetRecordsFilter(asset_key=key), limit=100, ascending=True).records
        (record,) = log.get_asset_records([key])
        latest = record.asset_entry.last_materialization_record
        assert latest is not None
        told[key.to_user_string()] = {
            "days": log.get_materialized_partitions(key),
            "events": [(e.partition_key, sorted(e.asset_materialization.metadata.items())) for e in events],  # type: ignore[union-attr]
            "latest": (latest.partition_key, latest.storage_id == events[-1].storage_id, latest.run_id == run_id),
            "last run": record.asset_entry.last_run_id == run_id,
        }
    told["log"] = sorted(
        (entry.dagster_event_type.value, entry.dagster_event.partition or "")  # type: ignore[union-attr]
        for entry in instance.all_logs(run_id)
        if entry.is_dagster_event
    )
    for check_key in a.check_keys:
        told[check_key.name] = [
            (record.status, record.partition, record.run_id == run_id, record.event and record.event.dagster_event_type)
            for record in log.get_asset_check_execution_history(check_key, limit=99)
        ]
    return told


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


def test_a_runs_database_is_the_one_that_dagster_would_have_made(tmp_path: Path) -> None:
    copy_empty_storage(tmp_path / "storage")
    log = PooledSqliteEventLog(str(tmp_path / "storage" / "history" / "runs"))
    made = {}
    for name, makes in (("ours", PooledSqliteEventLog), ("theirs", SqliteEventLogStorage)):
        engine = log._engine(name)
        makes._initdb(log, engine)
        with engine.connect() as connection:
            made[name] = [
                connection.execute(text(asked)).fetchall()
                for asked in (
                    "select type, name, sql from sqlite_master where tbl_name <> 'alembic_version' order by 2",
                    "select version_num from alembic_version",
                    "pragma journal_mode",
                    "pragma table_info(alembic_version)",
                )
            ]
    log.dispose()
    assert made["ours"] == made["theirs"]
    assert made["ours"][2] == [("wal",)]


def test_a_runs_database_is_made_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_empty_storage(tmp_path / "storage")
    log = PooledSqliteEventLog(str(tmp_path / "storage" / "history" / "runs"))

    class KilledAfterTables:
        def create_all(self, connection: Any) -> None:
            SqlEventLogStorageMetadata.create_all(connection)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(event_log, "SqlEventLogStorageMetadata", KilledAfterTables())
        with pytest.raises(KeyboardInterrupt):
            log._initdb(log._engine("r"))
    with log._engine("r").connect() as connection:
        assert connection.execute(text("select name from sqlite_master")).fetchall() == []
    log._initdb(log._engine("r"))
    with log._engine("r").connect() as connection:
        assert connection.execute(text("select count(*) from alembic_version")).scalar() == 1
    log.dispose()


# By an older Dagster, say: what is there is looked at by Dagster itself.
def test_a_runs_database_with_tables_and_no_revision_is_left_to_dagster(tmp_path: Path) -> None:
    copy_empty_storage(tmp_path / "storage")
    log = PooledSqliteEventLog(str(tmp_path / "storage" / "history" / "runs"))
    with log._engine("r").begin() as connection:
        connection.execute(text("create table event_logs (id integer primary key, run_id varchar)"))
    log._initdb(log._engine("r"))
    with log._engine("r").connect() as connection:
        assert connection.execute(text("select count(*) from alembic_version")).scalar() == 1
        assert {"id", "run_id"} == {row[1] for row in connection.execute(text("pragma table_info(event_logs)"))}
    log.dispose()


def test_partitions_stored_as_a_batch_are_told_of_as_if_each_had_been_stored_by_itself(tmp_path: Path) -> None:
    copy_empty_storage(tmp_path / "theirs")
    copy_empty_storage(tmp_path / "storage")
    told, sizes = [], []
    theirs = {"telemetry": {"enabled": False}, "storage": {"sqlite": {"base_dir": str(tmp_path / "theirs")}}}
    for number, settings in enumerate((theirs, instance_settings(tmp_path))):
        home = tmp_path / f"home-{number}"
        home.mkdir()
        with dg.DagsterInstance.local_temp(str(home), settings) as instance, pytest.MonkeyPatch.context() as patch:
            log = instance.event_log_storage
            batch = type(log).store_event_batch

            def counted(events: list[Any], log: Any = log, batch: Any = batch) -> None:
                sizes.append(len(events))
                batch(log, events)

            patch.setattr(log, "store_event_batch", counted)
            _materialize(instance)
            told.append(_as_told(instance, _materialize(instance)))
    assert told[0] == told[1]
    assert len(told[0]["a"]["days"]) == 5
    assert len(told[0]["d"]) == len(told[0]["c"]) > 0
    assert sizes[-3:] == [12, 5, 5]  # what is planned, then each asset's partitions


def test_events_of_one_batch_have_a_millisecond_each_in_their_order(tmp_path: Path) -> None:
    # The UI's list of an asset's events takes two of one run within a millisecond for one.
    copy_empty_storage(tmp_path / "storage")
    with dg.DagsterInstance.local_temp(str(tmp_path), instance_settings(tmp_path)) as instance:
        run_id = _materialize(instance)
        for key in (a.key, b.key):
            filters = dg.AssetRecordsFilter(asset_key=key)
            stored = instance.event_log_storage.fetch_materializations(filters, limit=100, ascending=True).records
            moments = [int(record.timestamp * 1000) for record in stored]  # as the UI is told them
            assert len(moments) == 5
            assert moments == sorted(set(moments))
            in_index = [int(record.event_log_entry.timestamp * 1000) for record in stored]
            assert in_index == moments
            of_run = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
            own = [entry for entry in of_run if entry.dagster_event and entry.dagster_event.asset_key == key]
            assert [int(entry.timestamp * 1000) for entry in own] == moments


def test_a_batch_that_cannot_be_stored_is_stored_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy_empty_storage(tmp_path / "storage")
    with dg.DagsterInstance.local_temp(str(tmp_path), instance_settings(tmp_path)) as instance:
        log = instance.event_log_storage
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(log, "_store_asset_event_tags", lambda *_: 1 / 0 if len(_[1]) > 1 else None)
            told = _as_told(instance, _materialize(instance))
        assert "division by zero" in capsys.readouterr().err
        # Nothing of the batch had been kept.
        assert told["log"].count(("ASSET_MATERIALIZATION", "2026-01-03")) == 2
        assert len(told["a"]["events"]) == 5


def test_outputs_and_checks_are_in_the_log_where_dagster_puts_them(tmp_path: Path) -> None:
    copy_empty_storage(tmp_path / "theirs")
    copy_empty_storage(tmp_path / "storage")
    logs = []
    theirs = {"telemetry": {"enabled": False}, "storage": {"sqlite": {"base_dir": str(tmp_path / "theirs")}}}
    for number, settings in enumerate((theirs, instance_settings(tmp_path))):
        home = tmp_path / f"home-{number}"
        home.mkdir()
        with dg.DagsterInstance.local_temp(str(home), settings) as instance:
            entries = instance.all_logs(_materialize(instance))
            logs.append([(entry.step_key, entry.dagster_event_type) for entry in entries if entry.is_dagster_event])
    assert logs[0] == logs[1]
    kinds = [kind for _, kind in logs[0]]
    assert kinds.count(dg.DagsterEventType.STEP_OUTPUT) == 4  # two assets, two checks
    assert kinds.count(dg.DagsterEventType.ASSET_CHECK_EVALUATION) == 2


def test_what_is_held_is_stored_with_what_follows_outlives_an_error_and_is_seen_by_whoever_looks(
    tmp_path: Path,
) -> None:
    copy_empty_storage(tmp_path / "storage")
    kinds = (dg.DagsterEventType.STEP_OUTPUT, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    with (
        dg.DagsterInstance.local_temp(str(tmp_path), instance_settings(tmp_path)) as instance,
        dg.DagsterInstance.local_temp(str(tmp_path), instance_settings(tmp_path)) as other,
    ):
        run = instance.get_run_by_id(_materialize(instance))
        assert run is not None
        log = instance.event_log_storage

        def seen(by: dg.DagsterInstance) -> list[int]:
            return [len(by.all_logs(run.run_id, of_type=kind)) for kind in kinds]

        events = [entry for kind in kinds for entry in instance.all_logs(run.run_id, of_type=kind)]
        assert seen(instance) == [4, 2]
        for event in events:
            log.store_event(event)
        assert seen(other) == [4, 2]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(log, "_update_checks", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                instance.report_engine_event("cannot be stored with them", run)
        assert seen(other) == [8, 2]  # one that cannot be stored does not keep the others out
        log.store_event(events[-1])
        assert isinstance(log, PooledSqliteEventLog)
        with pytest.raises(ZeroDivisionError), log.run_connection(run.run_id):
            raise ZeroDivisionError
        assert seen(other) == [8, 3]
        log.store_event(events[-1])
        instance.report_engine_event("is stored with it", run)
        assert seen(other) == [8, 4]
        log.store_event(events[-1])
        assert seen(instance) == seen(other) == [8, 5]


def test_a_check_that_no_step_answers_is_stored_at_once(tmp_path: Path) -> None:
    copy_empty_storage(tmp_path / "storage")
    with (
        dg.DagsterInstance.local_temp(str(tmp_path), instance_settings(tmp_path)) as instance,
        dg.DagsterInstance.local_temp(str(tmp_path), instance_settings(tmp_path)) as other,
    ):
        check = dg.AssetCheckKey(a.key, "c")
        evaluation = dg.AssetCheckEvaluation(asset_key=check.asset_key, check_name=check.name, passed=True, metadata={})
        instance.report_runless_asset_event(evaluation)
        assert len(other.event_log_storage.get_asset_check_execution_history(check, limit=9)) == 1


def test_another_process_sees_each_event_at_once_and_can_write_between(tmp_path: Path) -> None:
    copy_empty_storage(tmp_path / "storage")
    script = """
import sys, yaml
from pathlib import Path
import dagster as dg
from soundlink_pipeline_tests.support.instances import instance_settings
from soundlink_pipeline_tests.orchestration.test_event_log import QUIET, one_step, _said
home = Path(sys.argv[1])
with dg.DagsterInstance.local_temp(str(home), instance_settings(home)) as instance:
    for run_id in sys.stdin:
        assert _said(instance, run_id.strip()) == ["said"]
        print(one_step.execute_in_process(instance=instance, run_config=QUIET).run_id, flush=True)
"""
    command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path)]
    with (
        dg.DagsterInstance.local_temp(str(tmp_path), instance_settings(tmp_path)) as instance,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=REPOSITORY
        ) as other,
    ):
        assert other.stdin is not None
        assert other.stdout is not None
        for _ in range(2):
            mine = one_step.execute_in_process(instance=instance, run_config=QUIET).run_id
            other.stdin.write(f"{mine}\n")
            assert _said(instance, other.stdout.readline().strip()) == ["said"]
        other.stdin.close()
        assert other.wait() == 0
        assert instance.get_runs_count() == 4


def test_who_follows_a_run_is_told_while_its_database_is_kept_open(tmp_path: Path) -> None:
    copy_empty_storage(tmp_path / "storage")
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
    copy_empty_storage(tmp_path / "storage")
    with dg.DagsterInstance.local_temp(str(tmp_path), instance_settings(tmp_path)) as instance:
        runs = [one_step.execute_in_process(instance=instance, run_config=QUIET).run_id for _ in range(7)]
        assert all(_said(instance, run_id) == ["said"] for run_id in runs)
        still_open = _open_files(tmp_path / "storage" / "history" / "runs")
        assert f"{runs[-1]}.db" in still_open
        assert len(still_open) <= 4
        for run_id in (runs[0], runs[-1]):
            instance.delete_run(run_id)
            assert not instance.has_run(run_id)
            assert not list((tmp_path / "storage" / "history" / "runs").glob(f"{run_id}*"))
        assert _said(instance, runs[1]) == ["said"]
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


# Another version of Dagster


@pytest.mark.parametrize("version", TESTED)
def test_the_versions_it_was_tested_with_are_those_that_may_be_installed(version: str) -> None:
    assert dg.__version__ in TESTED
    assert version.startswith("1.13.")


def test_another_version_gets_dagsters_own_storage_and_one_line_of_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    copy_empty_storage(tmp_path / "storage")
    monkeypatch.setattr(dg, "__version__", "1.14.0")
    event_log._warn_of_fallback.cache_clear()
    run_ids = []
    for number in (1, 2):
        home = tmp_path / f"home-{number}"
        home.mkdir()
        with dg.DagsterInstance.local_temp(str(home), instance_settings(tmp_path)) as instance:
            assert type(instance.event_log_storage) is SqliteEventLogStorage
            assert event_log.is_sqlite(instance.event_log_storage)
            run_ids.append(one_step.execute_in_process(instance=instance, run_config=QUIET).run_id)
            assert [_said(instance, run_id) for run_id in run_ids] == [["said"]] * number
    (warning,) = [record.getMessage() for record in caplog.records if record.name == event_log.__name__]
    assert warning == (
        "The pooled event log was tested with Dagster 1.13.27 and 1.13.28, not with 1.14.0: using Dagster's own SQLite"
        " storage (slower)."
    )
    monkeypatch.undo()
    with dg.DagsterInstance.local_temp(str(tmp_path), instance_settings(tmp_path)) as instance:
        assert isinstance(instance.event_log_storage, PooledSqliteEventLog)
        assert [_said(instance, run_id) for run_id in run_ids] == [["said"]] * 2


@pytest.mark.parametrize(
    "moved", ["dagster._core.storage.event_log.schema", "dagster._core.storage.event_log.sqlite.sqlite_event_log"]
)
def test_a_dagster_that_has_moved_its_private_names_works_without_them(tmp_path: Path, moved: str) -> None:
    program = (
        "import dagster as dg, sys\n"
        "from dagster._core.storage import sqlite_storage\n"
        f"there = sys.modules[{moved!r}]\n"
        f"sys.modules[{moved!r}] = None\n"
        "dg.__version__ = '1.14.0'\n"
        "from soundlink_pipeline import dagster_storage\n"
        f"sys.modules[{moved!r}] = there\n"  # Dagster itself finds it
        "storage = dagster_storage.PooledSqliteStorage.from_config_value(None, {'base_dir': sys.argv[1]})\n"
        "assert type(storage) is sqlite_storage.DagsterSqliteStorage, storage\n"
        "storage.dispose()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert "not with 1.14.0: using Dagster's own SQLite storage" in line
