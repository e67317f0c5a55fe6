"""A published file with models and a history, made once, and folders to export it to."""

import shutil
from pathlib import Path

import pytest

from soundlink_pipeline_tests.exporting.shared import Source
from soundlink_pipeline_tests.support.report_database import published_database


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    published_database(folder)
    return folder


@pytest.fixture
def source(made: Path, tmp_path: Path) -> Source:
    """A data folder of its own, with warehouse and published file."""
    shutil.copytree(made, tmp_path / "data")
    return Source(tmp_path / "data")


@pytest.fixture(scope="session")
def made_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = Source(tmp_path_factory.mktemp("made-small"))
    source.pull("2026-04-01", "2026-04-02", streams=5, models=False)
    return source.folder


@pytest.fixture
def small(made_small: Path, tmp_path: Path) -> Source:
    """A data folder of its own with two days of one campaign, without models."""
    shutil.copytree(made_small, tmp_path / "small")
    return Source(tmp_path / "small")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"
