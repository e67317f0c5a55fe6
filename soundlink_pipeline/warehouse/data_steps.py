"""What an upgrade does once to the rows of an older warehouse, beyond the change of its tables.

A step runs in the transaction of the migration, after its tables have the present columns, and is recorded in the
stored contract, so it never runs again. A new warehouse has nothing to catch up on: it begins with all of them
recorded. The models are then built in full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import duckdb

from soundlink_pipeline.contracts.schema import Export


@dataclass(frozen=True)
class DataStep:
    """A step by its `name`, which is kept for good; `run` gets the connection and the exports, and asks no API."""

    name: str
    run: Callable[[duckdb.DuckDBPyConnection, Sequence[Export]], None]


# In the order in which they run.
DATA_STEPS: tuple[DataStep, ...] = ()
