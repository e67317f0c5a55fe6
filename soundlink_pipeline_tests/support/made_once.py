"""What tests would make over and over in the same way, made once a process.

A new warehouse is then a copy of one that the product has made, and Dagster's storages, of which a process has
otherwise one, share what they have read of its migrations and what SQLAlchemy has compiled of its statements.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import duckdb
import pytest
from alembic.script import ScriptDirectory
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from sqlalchemy import Engine, NullPool, create_engine

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.orchestration import event_log
from soundlink_pipeline.warehouse.native_file import NativeFile

_connect = NativeFile._connect


def share() -> None:
    """From now on, in this process."""
    NativeFile._connect = _connect_to_copy  # type: ignore[assignment, method-assign]
    ScriptDirectory.from_config = cache(ScriptDirectory.from_config)  # type: ignore[method-assign]
    for module in (event_log, sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):
        vars(module)["create_engine"] = _create_engine


@contextmanager
def new_warehouses() -> Iterator[None]:
    """A new warehouse is made by the product, for tests of just that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NativeFile, "_connect", _connect)
        yield


@cache
def _new_warehouse() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="soundlink-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = NativeFile(folder)
    with new_warehouses(), made.write():
        pass
    return made.path


def _connect_to_copy(
    home: NativeFile, closing: ExitStack, read_only: bool, wait_seconds: float
) -> duckdb.DuckDBPyConnection:
    if not read_only and home.exports == EXPORTS and not home.path.exists():
        try:
            shutil.copyfile(_new_warehouse(), home.path)
        except OSError:  # a full disk, which is for the product to find
            home.path.unlink(missing_ok=True)
    return _connect(home, closing, read_only, wait_seconds)


@cache
def _compiling() -> Engine:
    """An engine whose dialect and compiled statements are every engine's."""
    engine = create_engine("sqlite://")
    engine.connect().close()
    return engine


@lru_cache(maxsize=64)
def _engine_without_connections(url: str) -> Engine:
    return create_engine(url, poolclass=NullPool)


def _create_engine(url: str, **options: Any) -> Engine:
    """Dagster's run and schedule storages make an engine for each statement."""
    engine = _engine_without_connections(url) if options == {"poolclass": NullPool} else create_engine(url, **options)
    engine.dialect = _compiling().dialect
    engine._compiled_cache = _compiling()._compiled_cache
    return engine
