"""A folder that is built and cleared away, in one warehouse for a module's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.warehouse.instances import in_memory
from soundlink_pipeline.warehouse.sql import quote_name
from soundlink_pipeline.warehouse.tables import create, warehouse_tables
from soundlink_pipeline_tests.models.dbt_folder import Folder


@pytest.fixture(scope="module")
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with in_memory() as connection:
        connection.execute("set threads = 1")
        for table in warehouse_tables(EXPORTS):
            connection.execute(create(table))
        yield connection


@pytest.fixture
def folder(tmp_path: Path, warehouse: duckdb.DuckDBPyConnection) -> Iterator[Folder]:
    made = Folder(tmp_path, warehouse)
    yield made
    for project in made.built:
        for model in reversed(project.models.values()):
            if model.materialized != "ephemeral":
                kind = "view" if model.materialized == "view" else "table"
                warehouse.execute(f"drop {kind} if exists {model.relation} cascade")
            if model.schema != "main":
                warehouse.execute(f"drop schema if exists {quote_name(model.schema)} cascade")
