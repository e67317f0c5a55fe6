"""`python worker.py FOLDER`: a refresh of an account with stations, by the package that is first on the path.

Prints as JSON what came of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

import soundlink_pipeline
from soundlink_pipeline.simulator import KeyInfo, World
from soundlink_pipeline.simulator.campaigns import iso, midnight
from soundlink_pipeline.simulator.rekeying import LASTING_KEYS, Rekeying
from soundlink_pipeline.simulator.snapshot import Snapshot
from soundlink_pipeline.simulator.subjects import Export, Subject
from soundlink_pipeline_tests.support.project import KEY, failures_of, project

FIRST, LAST = date(2026, 2, 20), date(2026, 3, 1)
FOUNDED = midnight(FIRST)


@dataclass(frozen=True)
class Station:
    path_id: str
    row_id: str
    created_at: datetime = FOUNDED
    start: date = FIRST
    rekeying: Rekeying = LASTING_KEYS

    @property
    def ids(self) -> frozenset[str]:
        return frozenset((self.path_id, self.row_id))

    def listing(self, now: datetime) -> dict[str, Any]:
        return {"stationId": self.path_id, "city": "Oslo", "frequency": 98.5, "createdAt": iso(self.created_at)}

    def detail(self, now: datetime) -> dict[str, Any]:
        return self.listing(now)


def plays_of_day(seed: int, station: Station, day: date, seen: Snapshot) -> list[dict[str, Any]]:
    nothing = dict.fromkeys(f"station_target_{name}" for name in ("type", "isrc", "spotify_track_id", "playlist_id"))
    return [
        {
            **{"provider": "soundlink", "account_id": "org", "schema_version": "1.0", "report_date": str(day)},
            **{"report_date_timezone": "UTC", "exported_at": f"{day}T12:00:00Z"},
            **{"station_id": station.row_id, "station_name": "Nord", **nothing, "country_code": "NO"},
            "plays": day.day,
        }
    ]


def totals(rows: Sequence[Mapping[str, Any]], off: object) -> dict[str, Any]:
    return {"plays": sum(row["plays"] for row in rows)}


STATIONS = Subject(
    name="station",
    exports=(
        Export(
            name="station_daily",
            metric="plays",
            rows_of_day=plays_of_day,
            since=lambda station: station.start,
            has_rows_on=lambda station, day: True,
        ),
    ),
    totals=totals,
    read_scope="stations:read",
    metrics_scope="stations:read",
    not_found="not_found",
)


def main(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    world = World(campaigns=1, further={STATIONS: [Station("stat_1", "row-1")]})
    with project(folder, world, sql_dir=Path(soundlink_pipeline.__file__).parents[1] / "dbt_like_sql") as here:
        here.sim.keys[KEY] = KeyInfo(scopes=KeyInfo().scopes | {"stations:read"})
        result = here.refresh(str(FIRST), str(LAST))
        assert result.success, failures_of(result)
        checks = {
            event.asset_check_evaluation_data.check_name: event.asset_check_evaluation_data.passed
            for event in result.all_events
            if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
            and event.asset_check_evaluation_data.asset_key == dg.AssetKey("station_daily")
        }
        with duckdb.connect(str(here.data / "soundlink.duckdb"), read_only=True) as published:
            rows = published.execute("select report_date::varchar, station_id, plays from station_daily order by all")
            return {
                "package": soundlink_pipeline.__file__,
                "success": result.success,
                "rows": rows.fetchall(),
                "listed": published.execute("select station_id, frequency from stations").fetchall(),
                "asked": published.execute(
                    "select export, subject_id, row_subject_id from deliveries where export = 'station_daily'"
                ).fetchall(),
                "days": sorted(here.instance.get_materialized_partitions(dg.AssetKey("station_daily"))),
                "landed": sorted({path.parent.name for path in (here.data / "landing").glob("stat*/**/*.ndjson*")}),
                "checks": checks,
            }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
