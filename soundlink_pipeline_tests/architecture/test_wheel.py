"""The wheel: installed, it is the whole pipeline, with its SQL folder and nothing that only happens to lie about."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from soundlink_pipeline.commands import cli
from soundlink_pipeline_tests.architecture.rooms import PACKAGE, ROOMS
from soundlink_pipeline_tests.support.deployment import free_port, simulated_api
from soundlink_pipeline_tests.support.document import Serving, programs, run_shell, shell_blocks
from soundlink_pipeline_tests.support.project import KEY, REPOSITORY

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


@pytest.fixture
def dev_left(tmp_path: Path) -> Iterator[list[Serving]]:
    """What was served and must not outlive the test."""
    serving: list[Serving] = []
    yield serving
    for left in serving:
        left.kill()


@pytest.mark.slow  # a dozen commands, each a process of its own
def test_what_operators_are_told_of_the_package_alone_works_in_an_empty_folder(
    installed: Path, tmp_path: Path, dev_left: list[Serving]
) -> None:
    (block,) = shell_blocks(REPOSITORY / "docs" / "operators.md", "### The command")
    *commands, dev = block.splitlines()
    assert dev.split()[:2] == ["soundlink", "dev"]
    named = {line.split()[1] for line in block.splitlines() if line.startswith("soundlink ")}
    assert named == set(cli.soundlink.commands) - {"demo"}
    program = f"{sys.executable} {installed / 'bin' / 'soundlink'}"
    environment = {**programs(tmp_path / "bin", soundlink=program), "PYTHONPATH": str(installed)}
    folder = tmp_path / "my-project"
    with simulated_api(KEY) as sim:
        environment["SOUNDLINK_BASE_URL"] = sim.base_url
        said = run_shell("\n".join(commands), tmp_path, environment)
        assert "\nall checks passed\n" in said
        assert said.count(f"Published: {folder / 'data' / 'soundlink.duckdb'}") == 2
        assert f"Written: {folder / 'data' / 'report.html'}." in said
        assert "The rows of 1 campaign add up to Soundlink's own totals." in said
        assert not re.search(r"\bmake ", said)
        assert (tmp_path / "my-backup" / ".env").exists()
        query = "select count(*) as days from marts.data_status"
        asked = run_shell(f"soundlink sql '{query}' --format csv", folder, environment)
        assert int(asked.splitlines()[1]) == 180  # 90 days of two exports
        port = free_port()
        dev_left.append(Serving(f"{dev.partition('#')[0].strip()} --port={port}", folder, environment))
        dev_left[0].until(f"Dagster UI: http://127.0.0.1:{port}")
        assert dev_left[0].end() == 130
    assert dev_left[0].written.splitlines()[-1] == "Stopped: no scheduled run starts until the next soundlink dev."
    assert not re.search("DEBUG|WARNING|Traceback", dev_left[0].written)


def test_the_wheel_holds_every_file_of_the_package_and_no_leftover(installed: Path) -> None:
    assert files(installed / PACKAGE.name) == files(PACKAGE)
    of_dbt = {Path(name).parts[1] for name in LEFTOVERS} - {"models"}
    models = {path for path in files(REPOSITORY / SQL) if path.suffix in (".sql", ".yml")}
    assert files(installed / SQL) == {path for path in models if path.parts[0] not in of_dbt}


def files(folder: Path) -> set[Path]:
    below = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path for path in below if "__pycache__" not in path.parts}
