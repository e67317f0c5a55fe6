"""`dagster` and `dg` know the project in the repository, and call its code location what workspace.yaml does."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from soundlink_pipeline_tests.support.deployment import NEVER, end_session, process_environment, until
from soundlink_pipeline_tests.support.project import REPOSITORY

# `dg` is not installed with the package: SOUNDLINK_DG names one whose Python has what the package needs.
DG = os.environ.get("SOUNDLINK_DG") or shutil.which("dg")
LOCATION = "soundlink_pipeline.definitions"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what `dg` and `dagster` read in the repository's."""
    for name in ("pyproject.toml", "dagster.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "soundlink_pipeline").symlink_to(REPOSITORY / "soundlink_pipeline")
    (tmp_path / "dbt_like_sql").symlink_to(REPOSITORY / "dbt_like_sql")
    return tmp_path


def said(*command: str, cwd: Path) -> str:
    environment = process_environment(cwd, {}) | {"PYTHONPATH": str(cwd)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_dagster_validates_the_project(folder: Path) -> None:
    assert f"Validation successful for code location {LOCATION}" in said(
        sys.executable, "-m", "dagster", "definitions", "validate", cwd=folder
    )


def test_both_files_name_the_same_code_location() -> None:
    project: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    workspace = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())
    assert project["code_location_target_module"] == LOCATION
    assert project["code_location_name"] == LOCATION  # what a location of a module is called where nothing else is said
    assert workspace == {"load_from": [{"python_module": LOCATION}]}


@pytest.mark.skipif(DG is None, reason="needs dagster-dg-cli; SOUNDLINK_DG names its dg")
def test_dg_lists_and_checks_the_definitions(folder: Path) -> None:
    assert DG is not None
    assert "campaign_country_daily" in said(DG, "list", "defs", cwd=folder)
    assert "All definitions loaded successfully" in said(DG, "check", "defs", cwd=folder)


@pytest.mark.skipif(DG is None, reason="needs dagster-dg-cli; SOUNDLINK_DG names its dg")
def test_dg_serves_the_code_location_under_its_name(folder: Path) -> None:
    assert DG is not None
    with served(folder, DG) as url:
        query = {"query": "{repositoriesOrError {... on RepositoryConnection {nodes {location {name}}}}}"}

        def names() -> list[str]:
            try:
                answer = httpx.post(f"{url}/graphql", json=query, timeout=10, trust_env=False).json()
            except (httpx.TransportError, ValueError):
                return []
            return [node["location"]["name"] for node in answer["data"]["repositoriesOrError"].get("nodes", [])]

        until(lambda: bool(names()), "the code location is served", 120)
        assert names() == [LOCATION]


@contextmanager
def served(folder: Path, program: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = process_environment(folder, {"SOUNDLINK_SCHEDULE": NEVER}) | {"PYTHONPATH": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "dev", "-p", str(port)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        end_session(process)
