from collections.abc import Iterator
from pathlib import Path

import pytest

from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import arrival, load, row
from soundlink_pipeline_tests.support.made_once import new_warehouses


@pytest.fixture(autouse=True)
def _made_by_the_product() -> Iterator[None]:
    """These tests are about how a warehouse is made, too."""
    with new_warehouses():
        yield


@pytest.fixture
def warehouse(tmp_path: Path) -> NativeFile:
    """One with a row in it that does not wait for anybody."""
    warehouse = NativeFile(tmp_path, wait_seconds=0)
    load(warehouse, arrival(tmp_path / "in", [row()]))
    return warehouse
