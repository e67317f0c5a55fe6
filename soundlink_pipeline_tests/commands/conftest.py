"""A project folder that commands are called in, with a local Soundlink API."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from soundlink_pipeline.publishing import file_copy
from soundlink_pipeline.simulator import KeyInfo, SimClock, Simulator, running_simulator
from soundlink_pipeline_tests.support.instances import copy_empty_storage
from soundlink_pipeline_tests.support.project import KEY, REPOSITORY, environment, small_world, utc
from soundlink_pipeline_tests.support.sql_folder import no_models
from soundlink_pipeline_tests.support.terminal import Said, soundlink

# Instead of `dagster dev`, with a child as its daemon is: that inherits standard input, output and errors alone.
WITH_A_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("serves", flush=True)
time.sleep(60)
"""


@dataclass
class Folder:
    """A project folder, and the API that its `.env` names. Its clock stands at 2026-03-02 06:00 UTC."""

    path: Path
    sim: Simulator

    def soundlink(self, *arguments: str, **env: str) -> Said:
        return soundlink(*arguments, cwd=self.path, **env)


def make_folder(path: Path, sim: Simulator) -> Folder:
    """Without models; Dagster's storage is there, and empty."""
    path.mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(REPOSITORY / name, path)
    copy_empty_storage(path / ".dagster" / "storage")
    settings = environment(sim.base_url, path / "data", SOUNDLINK_SQL_DIR=str(no_models(path.parent / "sql")))
    del settings["SOUNDLINK_DATA_DIR"]  # the folder's own
    (path / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return Folder(path, sim)


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with running_simulator(
        small_world(4), SimClock(utc("2026-03-02T06:00")), keys={KEY: KeyInfo()}, per_minute=None, per_hour=None
    ) as simulator:
        yield simulator


@pytest.fixture
def here(tmp_path: Path, sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(file_copy, "_OPENING_SECONDS", 0.01)  # no other process opens what is published here
    return make_folder(tmp_path / "project", sim)
