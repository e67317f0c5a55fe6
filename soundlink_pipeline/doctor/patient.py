"""What the doctor examines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import dagster as dg

from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.warehouse.home import Home
from soundlink_pipeline.warehouse.native_file import NativeFile

# Longer than any wait for the API's limits, which are counted by the hour: what is silent for so long is not at work.
LONGEST_SILENCE = timedelta(minutes=70)
# A run opens the warehouse for moments: who still has it after so long is no run that reads.
_WAREHOUSE_WAIT_SECONDS = 3.0


@dataclass(frozen=True)
class Patient:
    """A project. `repository` is what Dagster serves; `home` is DAGSTER_HOME as set; `clock` is aware."""

    settings: Settings
    repository: dg.RepositoryDefinition = field(repr=False)
    key: str = field(repr=False)
    home: str
    clock: Callable[[], datetime]

    @property
    def warehouse(self) -> Home:
        return NativeFile(self.settings.data_dir, wait_seconds=_WAREHOUSE_WAIT_SECONDS)
