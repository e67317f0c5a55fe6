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
from soundlink_pipeline.warehouse.presence import Presence
from soundlink_pipeline.warehouse.row_ids import note_row_ids
from soundlink_pipeline.warehouse.tables import export_tables


@dataclass(frozen=True)
class DataStep:
    """A step by its `name`, which is kept for good; `run` gets the connection and the exports, and asks no API."""

    name: str
    run: Callable[[duckdb.DuckDBPyConnection, Sequence[Export]], None]


def _take_out_vanished(connection: duckdb.DuckDBPyConnection, exports: Sequence[Export]) -> None:
    """Until version 0.2 rows that a newer delivery lacked stayed in the tables, and `vanished_rows` was a view."""
    for export in exports:
        Presence(connection, export).settle_all()


def _say_what_did_not_vanish(connection: duckdb.DuckDBPyConnection, exports: Sequence[Export]) -> None:
    """Until version 0.4 an upgrade left null where a fresh warehouse says that other values replaced a version."""
    for export in exports:
        _, history = export_tables(export)
        connection.execute(f"update {history.name} set _vanished = false where _vanished is null")


# In the order in which they run.
DATA_STEPS: tuple[DataStep, ...] = (
    DataStep("rows that the newest delivery of their day lacks leave the tables", _take_out_vanished),
    DataStep("the history says of each version whether it vanished", _say_what_did_not_vanish),
    DataStep("what is listed says which id its rows have", note_row_ids),
)
