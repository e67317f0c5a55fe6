"""Whether the published file has fallen behind the warehouse: deliveries were loaded that it does not hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from soundlink_pipeline.publishing.file_copy import read_published
from soundlink_pipeline.warehouse.home import Home
from soundlink_pipeline.warehouse.ledger import Ledger


@dataclass(frozen=True)
class Lag:
    """The newest delivery of each, by its place in the order of loading. `published`: None without a readable file."""

    loaded: int
    published: int | None

    def __bool__(self) -> bool:
        # Not "less than": a warehouse that was rebuilt counts anew.
        return self.loaded > 0 and self.loaded != self.published


def lag_of(warehouse: Home, published: Path, wait_seconds: float | None = None) -> Lag:
    """Read from both files. Raises WarehouseLocked after `wait_seconds` (as `Home.read`), WarehouseUnusable."""
    if not warehouse.exists():
        return Lag(0, None)
    with warehouse.read(wait_seconds) as connection:
        loaded = Ledger(connection).newest_load()
    try:
        with read_published(published) as connection:
            return Lag(loaded, Ledger(connection).newest_load())
    except (duckdb.Error, OSError):  # missing, damaged, or from a version without this column: to be published again
        return Lag(loaded, None)
