"""An empty landing."""

from pathlib import Path

import pytest

from soundlink_pipeline.landing.folder import Landing


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path / "data")
