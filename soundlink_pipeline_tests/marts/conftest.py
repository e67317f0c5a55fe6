"""One warehouse for each file of tests of the SQL models, empty for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from soundlink_pipeline.models.project import SqlProject, read_project
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.marts.shared import FOLDER, Marts


@pytest.fixture(scope="module")
def project() -> SqlProject:
    project = read_project(FOLDER)
    assert project.errors == {}
    return project


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, project: SqlProject) -> Iterator[Marts]:
    with NativeFile(tmp_path_factory.mktemp("marts")).write() as connection:
        yield Marts(connection, project)


@pytest.fixture
def marts(warehouse: Marts) -> Marts:
    """A warehouse without a row; every build without dates is in full."""
    warehouse.clear()
    return warehouse
