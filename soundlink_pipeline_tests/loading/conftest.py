"""Warehouses to load into."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline.warehouse.native_file import NativeFile


@pytest.fixture
def warehouse(tmp_path: Path) -> NativeFile:
    return NativeFile(tmp_path / "data")


@pytest.fixture(scope="module")
def kept_open(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with NativeFile(tmp_path_factory.mktemp("open")).write() as connection:
        connection.execute("set threads = 1")  # the files are tiny: a second thread costs more than it brings
        yield connection


@pytest.fixture
def connection(kept_open: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A warehouse's connection, its tables empty: for the many cases that need no file of their own."""
    empty(kept_open)
    return kept_open


def empty(connection: duckdb.DuckDBPyConnection) -> None:
    for table in ("deliveries", CAMPAIGN_COUNTRY_DAILY.name, CAMPAIGN_ENGAGEMENT_DAILY.name):
        connection.execute(f"truncate {table}")
