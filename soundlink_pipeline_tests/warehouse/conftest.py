from pathlib import Path

import pytest

from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import arrival, load, row


@pytest.fixture
def warehouse(tmp_path: Path) -> NativeFile:
    """One with a row in it that does not wait for anybody."""
    warehouse = NativeFile(tmp_path, wait_seconds=0)
    load(warehouse, arrival(tmp_path / "in", [row()]))
    return warehouse
