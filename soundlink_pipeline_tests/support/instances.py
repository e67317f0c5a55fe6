"""Dagster instances that begin as copies: their databases are made once a worker and then copied."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._serdes import ConfigurableClassData
from dagster._utils import ensure_file, touch_file


def instance_settings(home: Path) -> dict[str, Any]:
    """The storage that the project's dagster.yaml names, below `home`."""
    where = {"class": "PooledSqliteStorage", "config": {"base_dir": str(home / "storage")}}
    storage = {"custom": {"module": "soundlink_pipeline.orchestration.event_log", **where}}
    logs = {"module": __name__, "class": FiledOutput.__name__, "config": {"base_dir": str(home / "logs")}}
    return {"telemetry": {"enabled": False}, "storage": storage, "compute_logs": logs}


class FiledOutput(LocalComputeLogManager):
    """Writes what a run prints to Dagster's files, and does not show it: that takes four processes a run."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> FiledOutput:
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        out, err = (self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind]) for kind in ComputeIOType)
        ensure_file(out)
        ensure_file(err)
        with redirect_to_file(sys.stdout, out), redirect_to_file(sys.stderr, err):
            yield CapturedLogContext(log_key)
        touch_file(self.complete_artifact_path(log_key))  # type: ignore[no-untyped-call]


@contextmanager
def instance_at(home: Path, storage: Path | None = None, **settings: Any) -> Iterator[dg.DagsterInstance]:
    """An instance without a run, or with those of a storage."""
    home.mkdir()
    shutil.copytree(storage or _empty_storage(), home / "storage")
    with dg.DagsterInstance.local_temp(str(home), {**instance_settings(home), **settings}) as instance:
        yield instance


def copy_empty_storage(base_dir: Path) -> None:
    shutil.copytree(_empty_storage(), base_dir)


@cache
def _templates() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="soundlink-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _empty_storage() -> Path:
    """Dagster's storage as it is before the first run: making its databases takes half a second."""
    home = _templates() / "instance"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home), instance_settings(home)) as instance:
        instance.get_runs_count()
    return home / "storage"
