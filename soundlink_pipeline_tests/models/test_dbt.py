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
from soundlink_pipeline.contracts.soundlinks import SOUNDLINK
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.models.build import build_models
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.simulator import World, subjects
from soundlink_pipeline.simulator.encoding import dumps, ndjson
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import arrival, load, save

FOLDER = Path(__file__).parents[2] / "dbt_like_sql"
DBT = os.environ.get("SOUNDLINK_DBT", "")
FIRST_DAY = date(2026, 1, 1)
SUBJECTS = {CAMPAIGN: subjects.CAMPAIGN, SOUNDLINK: subjects.SOUNDLINK}  # the pipeline's, and the simulator's
BACKFILL = datetime(2026, 1, 20, 7, tzinfo=UTC)

pytestmark = [
    pytest.mark.dbt,
    pytest.mark.skipif(not DBT, reason="dbt is not installed: SOUNDLINK_DBT does not name its command"),
]

# In two currencies, with a row of no country, and with fewer streams than Soundlink counts in one country.
_STATEMENT = """
    insert into distributor_statements by name
    select 's.csv' as file, row_number() over (order by isrc, sale_month, country_code, streams) as row, *
    from (
        select
            engaged_track_isrc as isrc, 'Spotify' as store, date_trunc('month', report_date)::date as sale_month,
            nullif(country_code, 'US') as country_code, sum(streams) // 2 + 20 as streams,
            sum(streams) * 0.00317 as revenue, if(length(engaged_track_name) % 2 = 0, 'USD', 'EUR') as currency
        from campaign_engagement_daily where engaged_track_isrc is not null
        group by engaged_track_isrc, date_trunc('month', report_date), country_code, engaged_track_name
    )
"""


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

    @property
    def made(self) -> tuple[NativeFile, ...]:
        """Ours, and dbt's once there is one."""
        return (self.ours, self.dbts) if self.dbts.path.exists() else (self.ours,)

    def make_dbts(self) -> None:
        """As ours is by now: to load all of it once more takes as long as to build the models."""
        self.dbts.path.parent.mkdir()
        shutil.copyfile(self.ours.path, self.dbts.path)

    def pull(self, now: datetime, dates: DateRange) -> None:
        """What a run at `now` loads, into all that are made."""
        listings = {ours: self.world.listing(now, theirs) for ours, theirs in SUBJECTS.items()}
        arrivals = [
            arrival(
                self.folder / "in",
                ndjson(self.world.rows(export.name, export.subject.id_of(item), dates.start, dates.end, now)),
                export=export,
                campaign=export.subject.id_of(item),
                dates=dates,
                pulled=now,
            )
            for export in EXPORTS
            for item in listings[export.subject]
        ]
        for warehouse in self.made:
            landing = Landing(warehouse.path.parent)
            for subject, listed in listings.items():
                items = [dumps(item).encode() for item in listed]
                save(warehouse, landing.land_listing(subject, items, now, now, "run-1"), subject)
            assert not load(warehouse, *arrivals).rejected

    def pay(self) -> None:
        """A distributor's statement of every track, as the folder of own files would bring it."""
        for warehouse in self.made:
            with warehouse.write() as connection:
                connection.execute(_STATEMENT)

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
    world = World(campaigns=8, soundlinks=8, first_day=FIRST_DAY, countries_per_campaign=3, tracks_per_campaign=2)
    twins = Twins(tmp_path, world)
    twins.pull(BACKFILL, DateRange(FIRST_DAY, date(2026, 1, 19)))
    for morning in range(1, 11):
        refresh(twins, morning)
    twins.pay()
    twins.make_dbts()
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
    daily = ("campaign_daily", "country_daily", "soundlink_daily", "soundlink_track_daily")
    assert {f"marts.{name}" for name in (*daily, "data_status", "revision_curve")} <= changed
