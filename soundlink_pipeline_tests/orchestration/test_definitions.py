"""What Dagster serves and where its settings come from: no key, no network, and an error that names the setting."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
import yaml

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.settings.settings import Settings, settings_from
from soundlink_pipeline_tests.support.project import REPOSITORY

SETTINGS = (
    "SOUNDLINK_API_KEY",
    "SOUNDLINK_BASE_URL",
    "SOUNDLINK_AUTH",
    "SOUNDLINK_CAMPAIGN_IDS",
    "SOUNDLINK_DATA_DIR",
    "SOUNDLINK_SQL_DIR",
    "SOUNDLINK_START_DATE",
    "SOUNDLINK_SCHEDULE",
    "SOUNDLINK_REQUESTS_PER_MINUTE",
    "SOUNDLINK_REQUESTS_PER_HOUR",
    "SOUNDLINK_LANDING_RETENTION_DAYS",
    "SOUNDLINK_ALERT_URL",
    "SOUNDLINK_UI_URL",
)


def definitions() -> dg.Definitions:
    return build_definitions(Settings(), lambda: None)


def test_definitions_load_without_key_environment_and_network(tmp_path: Path) -> None:
    program = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('the network was used')\n"
        "socket.socket.connect = refuse\n"
        "from soundlink_pipeline.definitions import defs\n"
        "jobs = [job.name for job in defs().get_repository_def().get_all_jobs()]\n"
        "assert not {'httpx', 'pandas', 'matplotlib'} & sys.modules.keys(), 'what only a run needs'\n"
        "print(sorted(jobs))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['__ASSET_JOB', 'daily_refresh', 'freshness', 'rebuild_from_landing']"
    assert list(tmp_path.iterdir()) == []  # loading leaves nothing behind


def test_a_setting_that_cannot_be_read_stops_dagster_with_its_name(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-m", "soundlink_pipeline.definitions"]
    environment = {"SOUNDLINK_START_DATE": "yesterday", "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode != 0
    assert "the setting SOUNDLINK_START_DATE cannot be read from 'yesterday'" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("SOUNDLINK_BASE_URL", "https://api.example.com/", "base_url", "https://api.example.com"),
        ("SOUNDLINK_BASE_URL", "http://127.0.0.1:8765", "base_url", "http://127.0.0.1:8765"),
        ("SOUNDLINK_AUTH", "bearer", "auth", "bearer"),
        ("SOUNDLINK_AUTH", "X-API-Key", "auth", "x-api-key"),
        ("SOUNDLINK_CAMPAIGN_IDS", " a, b ,,a", "campaign_ids", ("a", "b")),
        ("SOUNDLINK_DATA_DIR", "/somewhere/else", "data_dir", Path("/somewhere/else")),
        ("SOUNDLINK_DATA_DIR", "here", "data_dir", Path.cwd() / "here"),
        ("SOUNDLINK_DATA_DIR", "~/soundlink", "data_dir", Path.home() / "soundlink"),
        ("SOUNDLINK_START_DATE", "2025-06-01", "start_date", date(2025, 6, 1)),
        ("SOUNDLINK_SCHEDULE", "30 5 * * *", "schedule", "30 5 * * *"),
        ("SOUNDLINK_REQUESTS_PER_MINUTE", "30", "requests_per_minute", 30),
        ("SOUNDLINK_REQUESTS_PER_HOUR", "300", "requests_per_hour", 300),
        ("SOUNDLINK_LANDING_RETENTION_DAYS", "30", "landing_retention_days", 30),
    ],
)
def test_each_setting_is_read(name: str, text: str, field: str, value: object) -> None:
    assert getattr(settings_from({name: text}), field) == value
    others = {name: getattr(settings_from({}), name) for name in vars(Settings()) if name != field}
    assert {name: getattr(settings_from({"X": "1", name: ""}), name) for name in others} == others


@pytest.mark.parametrize(
    "name", [name for name in SETTINGS if name not in ("SOUNDLINK_API_KEY", "SOUNDLINK_ALERT_URL")]
)
def test_an_empty_setting_is_the_default(name: str) -> None:
    assert settings_from({name: "  "}) == settings_from({})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SOUNDLINK_BASE_URL", "ftp://x"),
        ("SOUNDLINK_BASE_URL", "http://api.getsoundlink.com"),
        ("SOUNDLINK_AUTH", "basic"),
        ("SOUNDLINK_START_DATE", "01.02.2026"),
        ("SOUNDLINK_START_DATE", "2026-02-30"),
        ("SOUNDLINK_START_DATE", "9999-12-31"),
        ("SOUNDLINK_SCHEDULE", "every day"),
        ("SOUNDLINK_SCHEDULE", "0 25 * * *"),
        ("SOUNDLINK_REQUESTS_PER_MINUTE", "0"),
        ("SOUNDLINK_REQUESTS_PER_HOUR", "many"),
        ("SOUNDLINK_LANDING_RETENTION_DAYS", "-1"),
    ],
)
def test_a_bad_setting_is_an_error_that_names_it(name: str, text: str) -> None:
    with pytest.raises(
        ValueError, match=f"^the setting {name} cannot be read from {re.escape(repr(text))}: ."
    ) as caught:
        build_definitions(settings_from({name: text}), lambda: None)
    assert str(caught.value).count(name) <= 2


@pytest.mark.parametrize("text", ["sk_live_abcdefgh12345678", "https://someone:secret@api.getsoundlink.com"])
@pytest.mark.parametrize("name", ["SOUNDLINK_BASE_URL", "SOUNDLINK_AUTH", "SOUNDLINK_START_DATE", "SOUNDLINK_SCHEDULE"])
def test_a_key_pasted_into_another_setting_is_not_shown(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        build_definitions(settings_from({name: text}), lambda: None)
    assert text not in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_the_data_folder_does_not_move_with_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = settings_from({})
    assert settings.data_dir == tmp_path / "data"
    assert settings.data_dir.is_absolute()


@pytest.mark.parametrize("document", ["docs/settings.md", ".env.example"])
def test_every_setting_is_documented(document: str) -> None:
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    if len(text) < 200:
        pytest.skip(f"{document} is not written yet")
    files = ("definitions.py", "settings/settings.py")
    code = "".join((REPOSITORY / "soundlink_pipeline" / file).read_text() for file in files)
    read = set(re.findall(r"SOUNDLINK_[A-Z_]+", code))
    assert read == set(SETTINGS)
    assert [name for name in SETTINGS if name not in text] == []


def test_the_defaults_in_the_example_are_the_defaults() -> None:
    lines = (REPOSITORY / ".env.example").read_text(encoding="utf-8").splitlines()
    shown = dict(line.lstrip("#").split("=", 1) for line in lines if re.match("#?SOUNDLINK_[A-Z_]+=", line))
    assert set(shown) == set(SETTINGS)
    assert settings_from(shown) == settings_from({})


def test_only_the_composition_root_names_environment_variables() -> None:
    allowed = {"definitions.py", "doctor/__main__.py", "report/__main__.py"}
    allowed |= {"commands/demo.py", "commands/dev.py", "commands/execution.py"}
    # These name Dagster's own.
    allowed |= {"doctor/dagster_state.py", "orchestration/event_log.py", "orchestration/orphaned_runs.py"}
    package = REPOSITORY / "soundlink_pipeline"
    named = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"os\.environ|os\.getenv|EnvVar", path.read_text())
    }
    assert named == allowed


def test_raw_assets_share_partitions_policy_and_pool() -> None:
    graph = definitions().resolve_asset_graph()
    assets = [graph.get(dg.AssetKey(export.name)) for export in EXPORTS]
    assert {asset.pools and frozenset(asset.pools) for asset in assets} == {frozenset({"warehouse"})}
    assert len({asset.partitions_def for asset in assets}) == 1
    assert [asset.backfill_policy for asset in assets] == [dg.BackfillPolicy.multi_run(90)] * len(assets)
    assert assets[0].partitions_def is not None
    assert assets[0].partitions_def.get_first_partition_key() == "2026-01-01"
    for asset, export in zip(assets, EXPORTS, strict=True):
        schema = asset.metadata["dagster/column_schema"]
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
    assert config["concurrency"]["pools"] == {"default_limit": 1, "granularity": "op"}
    assert config["run_retries"]["retry_on_asset_or_op_failure"] is False
    assert config["telemetry"]["enabled"] is False
    # 500 campaigns, two exports and the listing at 600 requests an hour
    assert config["run_monitoring"]["max_runtime_seconds"] > 1001 / 600 * 3600


def test_loading_and_showing_the_graph_reads_no_database_and_loads_no_data_frames(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "warehouse.duckdb").write_bytes(b"whoever opens this fails")
    program = (
        "import duckdb, sys\n"
        "connect = duckdb.connect\n"
        "def in_memory(database=':memory:', *rest, **more):\n"
        "    assert database == ':memory:', f'{database} was opened'\n"
        "    return connect(database, *rest, **more)\n"
        "duckdb.connect = in_memory\n"
        "from soundlink_pipeline.definitions import defs\n"
        "from dagster._core.remote_representation.external_data import RepositorySnap\n"
        "snapshot = RepositorySnap.from_def(defs().get_repository_def())\n"
        "assert len(snapshot.asset_nodes) > 20, snapshot\n"
        "print([name for name in ('pandas', 'matplotlib') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
