"""A subject that no document knows, as data: it is listed, summed up, paged and exported as the others are."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import httpx

from soundlink_pipeline.simulator import KeyInfo, SimClock, World, running_simulator
from soundlink_pipeline.simulator.campaigns import iso, midnight
from soundlink_pipeline.simulator.rekeying import LASTING_KEYS, Rekeying
from soundlink_pipeline.simulator.snapshot import Snapshot
from soundlink_pipeline.simulator.subjects import Export, Subject
from soundlink_pipeline_tests.simulator.shared import NOW, error_of

START = date(2026, 2, 1)
CREATED_AT = midnight(START)


@dataclass(frozen=True)
class Station:
    path_id: str
    row_id: str
    created_at: datetime = CREATED_AT
    start: date = START
    rekeying: Rekeying = LASTING_KEYS

    @property
    def ids(self) -> frozenset[str]:
        return frozenset((self.path_id, self.row_id))

    def listing(self, now: datetime) -> dict[str, Any]:
        return {"stationId": self.path_id, "createdAt": iso(self.created_at)}

    def detail(self, now: datetime) -> dict[str, Any]:
        return self.listing(now) | {"frequency": 98.5}


def plays_of_day(seed: int, station: Station, day: date, seen: Snapshot) -> list[dict[str, Any]]:
    return [{"report_date": str(day), "station_id": station.row_id, "country_code": "NA", "plays": day.day}]


def totals(rows: Sequence[dict[str, Any]], off: Any) -> dict[str, Any]:
    return {"plays": sum(row["plays"] for row in rows)}


STATIONS = Subject(
    name="station",
    exports=(
        Export(
            name="station_daily",
            metric="plays",
            rows_of_day=plays_of_day,
            since=lambda station: station.start,
            has_rows_on=lambda station, day: day.weekday() < 5,
        ),
    ),
    totals=totals,
    read_scope="stations:read",
    metrics_scope="stations:read",
    not_found="not_found",
    kind="station_",
)


def test_a_third_subject_is_served_as_the_others_are(web: httpx.Client) -> None:
    world = World(campaigns=1, further={STATIONS: [Station("stat_1", "row-1")]})
    keys = {"sk_test_stations": KeyInfo(frozenset({"stations:read"}))}
    with running_simulator(world, SimClock(NOW), keys=keys) as sim:

        def ask(path: str) -> httpx.Response:
            return web.get(sim.base_url + path, headers={"authorization": "Bearer sk_test_stations"})

        item = {"stationId": "stat_1", "createdAt": "2026-02-01T00:00:00Z"}
        assert ask("/v1/stations").json()["data"]["items"] == [item]
        assert ask("/v1/stations/stat_1").json()["data"] == {**item, "frequency": 98.5}
        assert error_of(ask("/v1/stations/stat_2")) == (404, "not_found")
        metrics = "/v1/stations/stat_1/metrics"
        days = [START + timedelta(days=number) for number in range(30)]
        plays = [day.day for day in days if day.weekday() < 5]
        assert ask(f"{metrics}/overview").json()["data"] == {"plays": sum(plays)}
        assert [row["plays"] for row in ask(f"{metrics}/plays").json()["data"]["items"]] == plays
        exported = ask(f"{metrics}/plays/export?startDate=2026-02-28&endDate=2026-03-02")
        assert json.loads(exported.content)["report_date"] == "2026-03-02"
        assert [record.kind for record in sim.stats.records[-1:]] == ["station_plays_export"]
        assert error_of(ask("/v1/campaigns")) == (403, "insufficient_scope")
