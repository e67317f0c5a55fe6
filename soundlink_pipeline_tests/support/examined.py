"""A project and what the doctor says of it: what the tests of its checks share."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._daemon.types import DaemonHeartbeat

from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.doctor import installation
from soundlink_pipeline.doctor.checks import run_checks
from soundlink_pipeline.doctor.finding import Finding
from soundlink_pipeline.models.binding import BoundModels, load_models
from soundlink_pipeline.settings.receivers import RECEIVER_SETTINGS
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline_tests.support.instances import instance_settings
from soundlink_pipeline_tests.support.project import KEY, Project, models_of, project, pull, small_world, utc

NOW = utc("2026-03-02T06:00")


@lru_cache(maxsize=8)
def _definitions(
    settings: Settings, receivers: tuple[tuple[str, str | None], ...], models: BoundModels
) -> dg.Definitions:
    return build_definitions(settings, lambda _: None, read_receivers=dict(receivers).get, models=models)


def _models(folder: Path, environment: Mapping[str, str]) -> BoundModels:
    # A folder of a test's own may read the environment.
    return models_of(folder) if folder == Settings().sql_dir else load_models(folder, environment)


@contextmanager
def _definitions_shared() -> Iterator[None]:
    """Definitions are made once for projects that differ only in where their API and their data are.

    The doctor asks them for schedules and sensors alone.
    """

    def shared(
        settings: Settings, _: object, read_receivers: Callable[[str], str | None], models: BoundModels
    ) -> dg.Definitions:
        elsewhere = replace(settings, base_url=Settings().base_url, data_dir=Settings().data_dir)
        receivers = tuple((name, read_receivers(name)) for name in RECEIVER_SETTINGS)
        return _definitions(elsewhere, receivers, models)

    with pytest.MonkeyPatch.context() as patch:
        if vars(installation)["build_definitions"] is build_definitions:  # else a test has put its own there
            patch.setattr(installation, "build_definitions", shared)
            patch.setattr(installation, "load_models", _models)
        yield


class Examined:
    """What the doctor says, by group; a group is examined when it is first asked for."""

    def __init__(self, here: Project, now: datetime = NOW, home: Path | None = None, **settings: str) -> None:
        environment = {"SOUNDLINK_API_KEY": KEY, **here.settings, "DAGSTER_HOME": str(home or here.folder / "instance")}
        environment = {name: value for name, value in {**environment, **settings}.items() if value}
        with _definitions_shared():
            self._waiting = dict(run_checks({}, environment, lambda: now))
        self._found: dict[str, list[Finding]] = {}

    @property
    def titles(self) -> list[str]:
        return list(self._waiting)

    def group(self, title: str) -> list[Finding]:
        if title not in self._found:
            self._found[title] = list(self._waiting[title])
        return self._found[title]

    @property
    def all(self) -> list[Finding]:
        return [finding for title in self._waiting for finding in self.group(title)]

    def one(self, title: str, what: str) -> Finding:
        found = [finding for finding in self.group(title) if finding.what == what]
        assert len(found) == 1, self.group(title)
        return found[0]

    def bad(self, *titles: str) -> list[tuple[str, str]]:
        """Level and subject of all that is not in order."""
        found = [finding for title in titles or self._waiting for finding in self.group(title)]
        return [(finding.level, finding.what) for finding in found if finding.level != "ok"]


@contextmanager
def empty_project(folder: Path, like: Path | None = None) -> Iterator[Project]:
    """No data, no run, an API that works; or with the data of another, as in `project`."""
    with project(folder, small_world(3), like=like) as made:
        home = folder / "instance"
        (home / "dagster.yaml").write_text(yaml.safe_dump(instance_settings(home)))
        yield made


@contextmanager
def pulled_project(folder: Path) -> Iterator[Project]:
    """One with 2026-02-22 to 2026-03-01 pulled and nothing published."""
    with empty_project(folder, like=_pulled()) as made:
        yield made


@cache
def _pulled() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="soundlink-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with empty_project(folder) as made:
        pull(made.soundlink, "2026-02-22", "2026-03-01")
    return folder


def beat(here: Project, now: datetime = NOW) -> None:
    """Daemons that are alive at `now`."""
    for name in ("SCHEDULER", "QUEUED_RUN_COORDINATOR"):
        here.instance.add_daemon_heartbeat(DaemonHeartbeat(now.timestamp(), name, "daemon", []))


@contextmanager
def daemon_process(home: Path) -> Iterator[None]:
    """A process that looks like the Dagster daemon of `home`, and does nothing."""
    command = [sys.executable, "-c", "input()", "dagster._daemon", "run"]
    environment = {**os.environ, "DAGSTER_HOME": str(home)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        try:
            yield
        finally:
            process.kill()
