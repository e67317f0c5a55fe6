"""A project that benchmarks refresh, as Dagster runs it: all models, checks and the publication."""

import os
import shutil
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import dagster as dg

from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline.simulator import Simulator


class Folder:
    """A project's data folder and Dagster instance, refreshed with the secrets of these variables."""

    def __init__(self, folder: Path, simulator: Simulator, secrets: Mapping[str, str], **settings: str) -> None:
        folder.mkdir()
        shutil.copy("dagster.yaml", folder)
        known = {f"SOUNDLINK_REQUESTS_PER_{unit}": "1000000" for unit in ("MINUTE", "HOUR")} | settings
        known |= {"SOUNDLINK_BASE_URL": simulator.base_url, "SOUNDLINK_DATA_DIR": str(folder / "data")}
        self._folder, self._home = folder, Path.cwd()
        self._job = build_definitions(settings_from(known), secrets.get).resolve_job_def(DAILY_REFRESH)

    def refresh(self, start: date, end: date) -> float:
        """How many seconds it takes."""
        os.chdir(self._folder)  # the paths in dagster.yaml are relative
        try:
            with dg.DagsterInstance.from_config(str(self._folder)) as instance:
                started = time.perf_counter()
                result = self._job.execute_in_process(
                    instance=instance,
                    run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                    tags={RANGE_START: start.isoformat(), RANGE_END: end.isoformat()},
                )
                seconds = time.perf_counter() - started
        finally:
            os.chdir(self._home)
        assert result.success
        return seconds
