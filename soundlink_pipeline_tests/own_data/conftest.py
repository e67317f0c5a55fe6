"""A folder of own files, and a warehouse that takes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from soundlink_pipeline.own_data.loading import OwnFile, load_own_files
from soundlink_pipeline.warehouse.native_file import NativeFile

NOW = datetime(2026, 5, 24, tzinfo=UTC)


@dataclass
class Own:
    """`changed` counts how often the rows of statements were told to have changed."""

    connection: duckdb.DuckDBPyConnection
    data: Path
    now: datetime = NOW
    changed: list[None] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.data / "own"

    def put(self, name: str, content: str | bytes) -> Path:
        self.folder.mkdir(exist_ok=True)
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def load(self) -> list[OwnFile]:
        return load_own_files(
            self.connection,
            self.folder,
            self.data / "tmp",
            now=self.now,
            statements_changed=lambda: self.changed.append(None),
        )

    def problem(self) -> str:
        """Of the only file; it must have one."""
        (file,) = self.load()
        assert file.problem
        return file.problem

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with NativeFile(tmp_path_factory.mktemp("own")).write() as connection:
        yield connection


@pytest.fixture
def own(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> Iterator[Own]:
    """An empty folder, and a warehouse without own tables."""
    yield Own(warehouse, tmp_path)
    warehouse.execute("drop schema if exists own cascade")
    for table in ("own_files", "distributor_statements"):
        warehouse.execute(f"delete from {table}")
