"""dbt builds the same tables from `dbt_like_sql` as the pipeline does, in full and by days.

Needs dbt in an environment of its own (`dbt_like_sql/requirements-dbt.txt`); SOUNDLINK_DBT is the path of its command.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange, refresh_range
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.models.build import build_models
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.simulator import World
from soundlink_pipeline.simulator.encoding import dumps, ndjson
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import arrival, load, save

FOLDER = Path(__file__).parents[2] / "dbt_like_sql"
DBT = os.environ.get("SOUNDLINK_DBT", "")
FIRST_DAY = date(2026, 1, 1)
BACKFILL = datetime(2026, 1, 20, 7, tzinfo=UTC)

pytestmark = [
    pytest.mark.dbt,
    pytest.mark.skipif(not DBT, reason="dbt is not installed: SOUNDLINK_DBT does not name its command"),
]


@dataclass
class Twins:
    """Two warehouses with the same deliveries: one for the pipeline to build the models in, one for dbt."""

    folder: Path
    world: World

    @property
    def ours(self) -> NativeFile:
        return NativeFile(self.folder / "ours")

    @property
    def dbts(self) -> NativeFile:
        return NativeFile(self.folder / "dbts")

    def pull(self, now: datetime, dates: DateRange) -> None:
        """What a run at `now` loads, into both."""
        items = [dumps(item).encode() for item in self.world.listing(now)]
        arrivals = [
            arrival(
                self.folder / "in",
                ndjson(self.world.rows(export.name, campaign.path_id, dates.start, dates.end, now)),
                export=export,
                campaign=campaign.path_id,
                dates=dates,
                pulled=now,
            )
            for export in EXPORTS
            for campaign in self.world.campaigns
            if campaign.created_at <= now
        ]
        for warehouse in (self.ours, self.dbts):
            landing = Landing(warehouse.path.parent)
            save(warehouse, landing.land_listing(CAMPAIGN, items, now, now, "run-1"))
            assert not load(warehouse, *arrivals).rejected

    def build(self, dates: DateRange | None = None) -> None:
        """All models, by both; dbt's own tests pass, too."""
        with self.ours.write() as connection:
            build_models(connection, read_project(FOLDER), dates)
        window = {"start_date": str(dates.start), "end_date": str(dates.end)} if dates else {}
        command: list[str | Path] = [DBT or "dbt", "--no-use-colors", "--log-path", self.folder / "logs", "build"]
        command += ["--project-dir", FOLDER, "--profiles-dir", FOLDER, "--target-path", self.folder / "target"]
        done = subprocess.run(
            [*command, "--vars", json.dumps(window)],
            env=os.environ | {"SOUNDLINK_WAREHOUSE": str(self.dbts.path), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "WARN=0 ERROR=0 SKIP=0" in done.stdout, done.stdout


def contents(warehouse: NativeFile) -> dict[str, Any]:
    """Every model with columns, types, comments and rows."""
    found: dict[str, Any] = {}
    with warehouse.read() as connection:
        for model in read_project(FOLDER).models.values():
            found[f"{model.table}: columns"] = connection.execute(
                "select column_name, data_type, comment from duckdb_columns()"
                " where schema_name = ? and table_name = ? order by column_index",
                [model.schema, model.name],
            ).fetchall()
            found[model.table] = connection.execute(f"from {model.table} order by all").fetchall()
    return found


def same(twins: Twins) -> dict[str, Any]:
    """What both warehouses hold, which must be the same and not nothing."""
    ours, dbts = contents(twins.ours), contents(twins.dbts)
    assert ours.keys() == dbts.keys()
    for name, found in ours.items():
        assert dbts[name] == found, name
    empty = {name for name, found in ours.items() if not found}
    assert empty <= {"staging.stg_vanished_rows"}
    return ours


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    """A backfill and ten mornings' refreshes."""
    twins = Twins(tmp_path, World(campaigns=8, first_day=FIRST_DAY, countries_per_campaign=3, tracks_per_campaign=2))
    twins.pull(BACKFILL, DateRange(FIRST_DAY, date(2026, 1, 19)))
    for morning in range(1, 11):
        refresh(twins, morning)
    return twins


def refresh(twins: Twins, morning: int) -> DateRange:
    now = BACKFILL + timedelta(days=morning)
    dates = refresh_range(now, FIRST_DAY)
    assert dates is not None
    twins.pull(now, dates)
    return dates


def test_dbt_and_the_pipeline_build_the_same_tables_in_full_and_by_days(twins: Twins) -> None:
    assert shutil.which(DBT), f"SOUNDLINK_DBT is {DBT}, which is no command"
    twins.build()
    first = same(twins)
    twins.build(refresh(twins, 11))
    second = same(twins)
    changed = {name for name, found in second.items() if found != first[name]}
    assert {f"marts.{name}" for name in ("campaign_daily", "country_daily", "data_status", "revision_curve")} <= changed
