"""A project and what the doctor says of it: what the tests of its checks share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import yaml
from dagster._daemon.types import DaemonHeartbeat

from soundlink_pipeline.doctor.checks import run_checks
from soundlink_pipeline.doctor.finding import Finding
from soundlink_pipeline_tests.support.instances import instance_settings
from soundlink_pipeline_tests.support.project import KEY, Project, project, small_world, utc

NOW = utc("2026-03-02T06:00")


class Examined:
    """What the doctor says, by group; a group is examined when it is first asked for."""

    def __init__(self, here: Project, now: datetime = NOW, home: Path | None = None, **settings: str) -> None:
        environment = {"SOUNDLINK_API_KEY": KEY, **here.settings, "DAGSTER_HOME": str(home or here.folder / "instance")}
        environment = {name: value for name, value in {**environment, **settings}.items() if value}
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
def empty_project(folder: Path) -> Iterator[Project]:
    """No data, no run, an API that works."""
    with project(folder, small_world(3)) as made:
        home = folder / "instance"
        (home / "dagster.yaml").write_text(yaml.safe_dump(instance_settings(home)))
        yield made


def beat(here: Project, now: datetime = NOW) -> None:
    """Daemons that are alive at `now`."""
    for name in ("SCHEDULER", "QUEUED_RUN_COORDINATOR"):
        here.instance.add_daemon_heartbeat(DaemonHeartbeat(now.timestamp(), name, "daemon", []))
