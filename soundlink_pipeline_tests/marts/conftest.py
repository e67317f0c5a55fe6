"""One warehouse for each file of tests of the SQL models, empty for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.models.project import SqlProject, read_project
from soundlink_pipeline.warehouse.instances import in_memory
from soundlink_pipeline.warehouse.migration import migrate
from soundlink_pipeline_tests.marts.shared import FOLDER, Marts


@pytest.fixture(scope="module")
def project() -> SqlProject:
    project = read_project(FOLDER)
    assert project.errors == {}
    return project


@pytest.fixture(scope="module")
def warehouse(project: SqlProject) -> Iterator[Marts]:
    with in_memory() as connection:
        migrate(connection, EXPORTS)
        connection.execute("set threads = 1")  # of so few rows, a second one costs more than it brings
        yield Marts(connection, project)


@pytest.fixture
def marts(warehouse: Marts) -> Marts:
    """A warehouse without a row; every build without dates is in full."""
    warehouse.clear()
    return warehouse
