"""What tests would make over and over in the same way, made once a process: a new warehouse, and equal charts.

A new warehouse is then a copy of one that the product has made, and a chart is drawn again only for other days.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.display import charts, trend
from soundlink_pipeline.warehouse.native_file import NativeFile

if TYPE_CHECKING:
    import pandas as pd

_connect = NativeFile._connect
_charts: dict[str, bytes] = {}


def share() -> None:
    """From now on, in this process."""
    NativeFile._connect = _connect_to_copy  # type: ignore[assignment, method-assign]
    trend.days_chart = _draw_once  # type: ignore[attr-defined]


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


def _draw_once(days: pd.DataFrame, measures: Mapping[str, str], **options: Any) -> bytes:
    """Equal charts are equal bytes; `display/test_charts.py` holds that."""
    asked = f"{days.sort_values('report_date').to_csv()}{dict(measures)}{options}"
    if asked not in _charts:
        _charts[asked] = charts.days_chart(days, measures, **options)
    return _charts[asked]
