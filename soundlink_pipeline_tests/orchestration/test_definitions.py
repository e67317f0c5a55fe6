"""What Dagster serves: it loads without key and network, and a setting that cannot be read stops it with its name."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner
from dagster._cli import create_dagster_cli

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.models.names import ASSETS
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline_tests.support.project import REPOSITORY
from soundlink_pipeline_tests.support.sql_folder import no_models


def definitions() -> dg.Definitions:
    return build_definitions(Settings(), lambda _: None)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a new process tells that loads the project and shows its graph."""
    folder = tmp_path_factory.mktemp("loaded")
    (folder / "data").mkdir()
    (folder / "data" / "warehouse.duckdb").write_bytes(b"whoever opens this fails")
    program = (
        "import duckdb, json, socket, sys\n"
        "def refuse(*_): raise AssertionError('the network was used')\n"
        "socket.socket.connect = refuse\n"
        "connect = duckdb.connect\n"
        "def in_memory(database=':memory:', *rest, **more):\n"
        "    assert database == ':memory:', f'{database} was opened'\n"
        "    return connect(database, *rest, **more)\n"
        "duckdb.connect = in_memory\n"
        "from soundlink_pipeline.definitions import defs\n"
        "repository = defs().get_repository_def()\n"
        "told = {'jobs': sorted(job.name for job in repository.get_all_jobs())}\n"
        "told['for a run only'] = [*{'httpx', 'pandas'} & sys.modules.keys()]\n"
        "from dagster._core.remote_representation.external_data import RepositorySnap\n"
        "told['assets shown'] = len(RepositorySnap.from_def(repository).asset_nodes)\n"
        "told['for data frames'] = [*{'pandas'} & sys.modules.keys()]\n"
        "print(json.dumps(told))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env={}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    known = {"data", "data/warehouse.duckdb", "data/bound_models.json"}  # the last one so that the next load is faster
    left = {str(path.relative_to(folder)) for path in folder.rglob("*")} - known
    told: dict[str, Any] = json.loads(done.stdout) | {"left behind": left}
    return told


def test_definitions_load_without_key_environment_and_network(loaded: dict[str, Any]) -> None:
    assert loaded["jobs"] == [
        "__ASSET_JOB",
        "compare_totals",
        "daily_refresh",
        "freshness",
        "models_and_publication",
        "rebuild_from_landing",
        "weekly_report",
    ]
    assert loaded["for a run only"] == []
    assert loaded["left behind"] == set()


def test_loading_and_showing_the_graph_reads_no_database_and_loads_no_data_frames(loaded: dict[str, Any]) -> None:
    assert loaded["assets shown"] > 20
    assert loaded["for data frames"] == []


@pytest.mark.filterwarnings("ignore::dagster.SupersessionWarning")
def test_a_setting_that_cannot_be_read_stops_dagster_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("SOUNDLINK_START_DATE", "yesterday")
    arguments = ["definitions", "validate", "-m", "soundlink_pipeline.definitions"]
    done = CliRunner().invoke(create_dagster_cli(), arguments)  # type: ignore[no-untyped-call]
    assert done.exit_code != 0
    assert "the setting SOUNDLINK_START_DATE cannot be read from 'yesterday'" in done.output + str(done.exception)


def test_only_the_composition_root_names_environment_variables() -> None:
    allowed = {"definitions.py", "doctor/__main__.py", "report/__main__.py"}
    # The proxy's variables are every program's.
    allowed |= {"settings/proxies.py", "channels/service_process.py"}
    # A store's address is in variables that its library reads by itself.
    allowed |= {"exporting/object_store.py"}
    # These name Dagster's own.
    allowed |= {"doctor/dagster_state.py", "orchestration/event_log.py", "orchestration/orphaned_runs.py"}
    package = REPOSITORY / "soundlink_pipeline"
    named = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"os\.environ|os\.getenv|EnvVar", path.read_text())
    }
    # Each command is a program, and so a composition root of its own.
    assert {name for name in named if not name.startswith("commands/")} == allowed


def test_no_model_can_have_the_name_of_an_asset_of_the_pipeline(tmp_path: Path) -> None:
    with_all = Settings(sql_dir=no_models(tmp_path), export_to=str(tmp_path / "parquet"))
    without_models = build_definitions(with_all, lambda _: None)
    assert {key.to_user_string() for key in without_models.resolve_asset_graph().get_all_asset_keys()} == ASSETS


def test_raw_assets_share_partitions_and_policy() -> None:
    graph = definitions().resolve_asset_graph()
    assets = [graph.get(dg.AssetKey(export.name)) for export in EXPORTS]
    assert len({asset.partitions_def for asset in assets}) == 1
    assert [asset.backfill_policy for asset in assets] == [dg.BackfillPolicy.multi_run(90)] * len(assets)
    assert assets[0].partitions_def is not None
    assert assets[0].partitions_def.get_first_partition_key() == "2026-01-01"
    for asset, export in zip(assets, EXPORTS, strict=True):
        assert list(asset.metadata)[-1] == "columns"
        schema = asset.metadata["columns"]
        names = [column.name for column in schema.columns]
        assert names[: len(export.columns)] == list(export.column_names)
        assert export.title in (asset.description or "")


def test_every_step_runs_in_one_process() -> None:
    resolved = definitions()
    assert resolved.executor is dg.in_process_executor
    for name in ("daily_refresh", "__ASSET_JOB"):
        assert resolved.resolve_job_def(name).executor_def is dg.in_process_executor


def test_the_schedule_is_on_and_in_utc() -> None:
    schedule = definitions().resolve_schedule_def("daily_refresh_schedule")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.execution_timezone == "UTC"
    assert schedule.cron_schedule == Settings().schedule


def test_the_instance_admits_one_run_and_one_writer() -> None:
    config = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text())
    assert config["concurrency"]["runs"]["max_concurrent_runs"] == 1
    # A run that waits for a place in a pool keeps a processor busy: a run waits for its turn instead.
    assert not any(asset.pools for asset in definitions().resolve_asset_graph().asset_nodes)
    assert config["run_retries"]["retry_on_asset_or_op_failure"] is False
    assert config["telemetry"]["enabled"] is False
    # 500 campaigns, two exports and the listing at 600 requests an hour
    assert config["run_monitoring"]["max_runtime_seconds"] > 1001 / 600 * 3600
