"""The wheel: installed, it is the whole pipeline, with its SQL folder and nothing that only happens to lie about."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from soundlink_pipeline.simulator import KeyInfo, SimClock, running_simulator
from soundlink_pipeline_tests.architecture.rooms import PACKAGE, ROOMS
from soundlink_pipeline_tests.support.project import KEY, REPOSITORY, small_world, utc

SQL = "dbt_like_sql"
MODELS = {path.stem for path in (REPOSITORY / SQL / "models").rglob("*.sql")}
# What dbt and Python leave behind in a folder they were used in.
LEFTOVERS = (
    f"{SQL}/target/compiled/model.sql",
    f"{SQL}/target/manifest.yml",
    f"{SQL}/logs/dbt.log",
    f"{SQL}/dbt_packages/other/models/model.sql",
    f"{SQL}/.user.yml",
    f"{SQL}/models/marts/.campaign_daily.sql.swp",
)
LOADS = """
import importlib, json, pkgutil
import soundlink_pipeline
from soundlink_pipeline.commands.backfill import REFETCH
from soundlink_pipeline.definitions import defs
modules = [found.name for found in pkgutil.walk_packages(soundlink_pipeline.__path__, "soundlink_pipeline.")]
for module in modules:
    importlib.import_module(module)
keys = [key.to_user_string() for key in defs().resolve_asset_graph().get_all_asset_keys()]
print(json.dumps([soundlink_pipeline.__file__, REFETCH.read_text(), modules, keys]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel in it, built from a copy of the repository that has been worked in."""
    source, wheels = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, source)
    for name in (PACKAGE.name, SQL):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in LEFTOVERS:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("left over")
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    run(sys.executable, "-W", "error", "-c", build, str(wheels), cwd=source)
    (wheel,) = wheels.glob("*.whl")
    folder = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-index", "--no-deps")
    run(*pip, "--no-compile", "--target", str(folder), str(wheel), cwd=source)
    return folder


def run(*command: str, cwd: Path, **env: str) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_wheel_serves_everything_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    said = run(sys.executable, "-c", LOADS, cwd=tmp_path, PYTHONPATH=str(installed))
    where, refetch, modules, keys = json.loads(said.splitlines()[-1])
    assert Path(where).is_relative_to(installed)
    assert {module.split(".")[1] for module in modules} == set(ROOMS)
    assert set(keys) >= MODELS
    assert "refetch: true" in refetch
    assert list(tmp_path.iterdir()) == []


def test_a_wheel_a_key_and_init_are_all_that_a_user_needs(installed: Path, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(installed), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = (sys.executable, str(installed / "bin" / "soundlink"))
    run(*command, "init", "project", cwd=tmp_path, **environment)
    folder = tmp_path / "project"
    world, clock = small_world(2), SimClock(utc("2026-03-02T06:00"))
    with running_simulator(world, clock, keys={KEY: KeyInfo()}, per_minute=None, per_hour=None) as sim:
        text = (folder / ".env").read_text().replace("SOUNDLINK_API_KEY=", f"SOUNDLINK_API_KEY={KEY}", 1)
        (folder / ".env").write_text(f"{text}SOUNDLINK_BASE_URL={sim.base_url}\n")
        pulled = run(*command, "pull", "--from", "2026-02-10", "--to", "2026-02-12", cwd=folder, **environment)
    assert f"Published: {folder / 'data' / 'soundlink.duckdb'}" in pulled
    query = "select count(*) as campaigns from marts.campaign_summary"
    asked = run(*command, "sql", query, "--format", "csv", cwd=folder, **environment)
    assert asked.splitlines() == ["campaigns", "2"]
    validated = (sys.executable, "-m", "dagster", "definitions", "validate")
    run(*validated, cwd=folder, DAGSTER_HOME=str(folder), **environment)


def test_the_wheel_holds_every_file_of_the_package_and_no_leftover(installed: Path) -> None:
    assert files(installed / PACKAGE.name) == files(PACKAGE)
    of_dbt = {Path(name).parts[1] for name in LEFTOVERS} - {"models"}
    models = {path for path in files(REPOSITORY / SQL) if path.suffix in (".sql", ".yml")}
    assert files(installed / SQL) == {path for path in models if path.parts[0] not in of_dbt}


def files(folder: Path) -> set[Path]:
    below = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path for path in below if "__pycache__" not in path.parts}
