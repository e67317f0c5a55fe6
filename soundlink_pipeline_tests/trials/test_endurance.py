"""Eleven days of the endurance benchmark, and that its comparisons notice when something is not true."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from benchmarks.endurance.picture import flatness
from benchmarks.endurance.promises import Place, hold_to_promises
from benchmarks.endurance.truth import Found, Known, hold_against_the_world, late_rows
from benchmarks.endurance.world import FIRST_DAY, KINDS, Year, calendar
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY, LISTENING
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.subject import expected_days
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline.simulator import BREAKDOWN
from soundlink_pipeline.simulator.campaigns import midnight
from soundlink_pipeline_tests.support.project import KEY, REPOSITORY

# Ten seconds of work and more for a busy machine: five refreshes, each a process that builds everything.
pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]
DAYS, SEED, RETENTION = 11, 1492, 3
# A run is killed on the second day, and the laptop is closed for six.
BEFALLS = ["", "kill", "", *["closed"] * 6, "", ""]
LAST = midnight(FIRST_DAY + timedelta(days=DAYS)) + timedelta(hours=7)
ONE_SETTLED_ROW = (
    "(select min(rowid) from campaign_country_daily"
    " where report_date = (select min(report_date) from campaign_country_daily))"
)


@dataclass
class Finished:
    """What the benchmark left behind."""

    folder: Path
    measured: dict[str, Any]

    def known(self) -> Known:
        first = self.measured["days"][0]
        compared = DateRange(date.fromisoformat(first["start"]), date.fromisoformat(first["end"]))
        moment = midnight(date.fromisoformat(first["day"])) + timedelta(hours=7)
        return Known(RETENTION, ranges=[(compared, moment)])

    def compare(self, data: Path, known: Known, *, everything: bool = True) -> Found:
        """The comparison that the benchmark made on the last day, with the files in `data`."""
        soundlink = Soundlink(settings_from({"SOUNDLINK_DATA_DIR": str(data)}), lambda _: KEY)
        with duckdb.connect(str(soundlink.published_path), read_only=True) as connection:
            ((run_id,),) = connection.execute("select run_id from publication").fetchall()
        run = self.measured["days"][-1] | {"run_id": run_id, "red": []}
        return hold_against_the_world(soundlink, Year(SEED, DAYS), known, run, LAST, everything=everything)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("endurance")
    command = [sys.executable, "-m", "benchmarks.endurance", "--days", str(DAYS), "--seed", str(SEED), "--quiet", "1"]
    command += ["--longest", "7", "--retention", str(RETENTION), "--dagster-retention", "90", "--out", str(folder)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return Finished(folder, json.loads((folder / "endurance.json").read_text()))


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> Path:
    """The data folder, to be tampered with."""
    return Path(shutil.copytree(finished.folder / "data", tmp_path / "data"))


def test_rows_are_true_through_a_killed_run_and_a_closed_laptop(finished: Finished) -> None:
    days = finished.measured["days"]
    assert [day["befalls"] for day in days] == BEFALLS
    assert [day["success"] for day in days] == [kind != "closed" for kind in BEFALLS]
    assert days[1]["killed"]
    healing, usual = days[-2:]
    assert (healing["start"], healing["end"]) == ("2024-12-31", "2025-01-09")  # what was open before, and the gap
    assert (usual["start"], usual["end"]) == ("2025-01-03", "2025-01-10")


def test_every_refresh_is_measured_and_drawn(finished: Finished) -> None:
    good = [day for day in finished.measured["days"] if day["success"]]
    for measure in ("seconds", "cpu_seconds", "peak_mb", "requests", "rows", "warehouse_mb", "dagster_mb"):
        assert all(day[measure] > 0 for day in good), measure
    with (finished.folder / "endurance.csv").open(newline="") as file:
        assert [row["day"] for row in csv.DictReader(file)] == [day["day"] for day in finished.measured["days"]]
    assert (finished.folder / "endurance.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (finished.folder / "endurance.svg").read_text()


def test_what_is_true_is_told_so(finished: Finished, copied: Path) -> None:
    finished.compare(copied, finished.known())


@pytest.mark.parametrize(
    ("tampering", "told"),
    [
        (f"update campaign_country_daily set streams = streams + 1 where rowid = {ONE_SETTLED_ROW}", "the world has"),
        (f"delete from campaign_country_daily where rowid = {ONE_SETTLED_ROW}", "the world has"),
        ("update campaign_engagement_daily_history set streams = streams + 1", "as it was believed"),
        ("delete from campaign_engagement_daily_history where report_date = '2025-01-06'", "ledger counts"),
        (
            "update campaign_country_daily_history set _valid_until = _valid_until - interval 1 second",
            "follow one another",
        ),
        ("update deliveries set pulled_at = pulled_at - interval 5 days", "the world has"),
        ("update marts.campaign_daily set spend_total = spend_total + 1", "marts.campaign_daily"),
        ("delete from marts.track_engagement_daily where report_date = '2025-01-02'", "marts.track_engagement_daily"),
        ("update campaigns set status = 'active'", "published.main.campaigns"),
    ],
)
def test_what_is_not_true_is_noticed(finished: Finished, copied: Path, tampering: str, told: str) -> None:
    with duckdb.connect(str(copied / "warehouse.duckdb")) as connection:
        connection.execute(tampering)
    with pytest.raises(AssertionError, match=told):
        finished.compare(copied, finished.known())


def test_a_settled_day_that_changes_is_noticed_without_the_world(finished: Finished, copied: Path) -> None:
    known = finished.known()
    found = finished.compare(copied, known, everything=False)
    known.asked, known.checksums = found.asked, found.checksums
    with duckdb.connect(str(copied / "warehouse.duckdb")) as connection:
        connection.execute(f"update campaign_country_daily set streams = 0 where rowid = {ONE_SETTLED_ROW}")
    with pytest.raises(AssertionError, match="settled numbers changed"):
        finished.compare(copied, known, everything=False)


def test_a_day_that_was_not_asked_for_soon_enough_is_noticed(finished: Finished, copied: Path) -> None:
    asked = finished.compare(copied, finished.known()).asked
    world = Year(SEED, DAYS)
    running = next(c for c in world.campaigns if c.start <= FIRST_DAY and c.last_day >= LAST.date())
    over = next(c for c in world.campaigns if c.last_day + timedelta(days=60) < FIRST_DAY)

    def hold(asked: dict[Place, datetime]) -> None:
        with duckdb.connect(str(copied / "warehouse.duckdb"), read_only=True) as connection:
            hold_to_promises(connection, world, asked, LAST, everything=True)

    hold(asked)
    # Not once a day after it has settled; not since the morning.
    for day, moment in (("2025-01-01", "2025-01-08T23:00"), ("2025-01-10", "2025-01-10T23:00")):
        place = (BREAKDOWN, running.uuid, date.fromisoformat(day))
        with pytest.raises(AssertionError, match="have not been asked for since they should"):
            hold(asked | {place: datetime.fromisoformat(moment).replace(tzinfo=UTC)})
    # Of one that is over nothing has to be known yet, unless rows have come.
    hold({place: moment for place, moment in asked.items() if place[1] != over.uuid})
    with duckdb.connect(str(copied / "warehouse.duckdb")) as connection:
        connection.execute(
            "update campaign_engagement_daily set campaign_id = ? where report_date = '2025-01-02'", [over.uuid]
        )
    with pytest.raises(AssertionError, match="have not been asked for since they should"):
        hold({place: moment for place, moment in asked.items() if place[1] != over.uuid})


def test_a_row_that_comes_of_a_settled_day_is_counted_if_it_is_late_and_noticed_if_not(
    finished: Finished, copied: Path
) -> None:
    found = finished.compare(copied, finished.known())
    columns = ", ".join(CAMPAIGN_COUNTRY_DAILY.column_names)
    before = LAST - timedelta(hours=1)
    with duckdb.connect(str(copied / "warehouse.duckdb")) as connection:
        ((campaign, day, row),) = connection.execute(
            f"select campaign_id, report_date, hash({columns}) from campaign_country_daily"
            f" where rowid = {ONE_SETTLED_ROW}"
        ).fetchall()
        asked = found.asked | {(BREAKDOWN, campaign, day): before}
        known = Known(RETENTION, asked=asked, checksums=found.checksums, ranges=[(DateRange(day, day), before)])
        assert late_rows(connection, known, found.asked) == 0
        connection.execute(f"update campaign_country_daily set _valid_from = '{LAST}' where rowid = {ONE_SETTLED_ROW}")
        with pytest.raises(AssertionError, match="settled numbers changed"):
            late_rows(connection, known, found.asked)
        known.checksums[BREAKDOWN, campaign, day] ^= row  # as if it had not been there
        with pytest.raises(AssertionError, match="there when their day was final"):
            late_rows(connection, known, found.asked)
        connection.execute(
            "update campaign_country_daily set exported_at = report_date + interval 9 days"
            f" where rowid = {ONE_SETTLED_ROW}"
        )
        assert late_rows(connection, known, found.asked) == 1


def test_a_lost_an_old_and_an_abandoned_file_in_landing_are_noticed(finished: Finished, copied: Path) -> None:
    landing = copied / "landing"
    newest = max(landing.glob("campaign_country_daily/*/*"), key=lambda path: path.name)
    kept = newest.rename(copied / "elsewhere")
    with pytest.raises(AssertionError, match=r"missing .'campaign") as lost:
        finished.compare(copied, finished.known())
    assert newest.name in str(lost.value)
    kept.rename(newest)
    with duckdb.connect(str(copied / "soundlink.duckdb"), read_only=True) as connection:
        ((old,),) = connection.execute("select landed_file from deliveries order by pulled_at limit 1").fetchall()
    (landing / old).touch()
    with pytest.raises(AssertionError, match=r"too old .'campaign"):
        finished.compare(copied, finished.known())
    (landing / old).unlink()
    (landing / ".1-abandoned.part").touch()
    os.utime(landing / ".1-abandoned.part", (0, 0))
    with pytest.raises(AssertionError, match="abandoned"):
        finished.compare(copied, finished.known())


def test_a_year_has_every_kind_of_bad_day_and_about_one_in_six() -> None:
    for seed in range(1, 20):
        plan = calendar(365, seed, 9, 10)
        assert len(plan) == 365
        assert set(plan) == {"", *KINDS}
        assert 1 / 9 < 1 - plan.count("") / 365 < 1 / 3
        assert plan[0] == plan[-1] == ""


def test_some_campaigns_are_live_all_the_year() -> None:
    world = Year(1, 365)
    for number in range(365):
        now = midnight(FIRST_DAY + timedelta(days=number + 1)) + timedelta(hours=7)
        window = DateRange(now.date() - timedelta(days=8), now.date() - timedelta(days=1))
        assert (
            3
            <= sum(expected_days(CAMPAIGN.lifetime(listed), LISTENING).meet(window) for listed in world.listing(now))
            <= 12
        ), now


def test_slower_refreshes_are_told_among_equally_many_campaigns() -> None:
    def record(number: int, seconds: float, campaigns: int) -> dict[str, Any]:
        day = FIRST_DAY + timedelta(days=number)
        measures = {"seconds": seconds, "cpu_seconds": 1.0, "peak_mb": 200.0, "mb_per_1000_rows": 0.5}
        dates = {"start": str(day - timedelta(days=8)), "end": str(day - timedelta(days=1))}
        return {"day": str(day), "befalls": "", "success": True, "campaigns": campaigns, **measures, **dates}

    more_campaigns = [record(number, 2.0 if number < 30 else 4.0, 5 if number < 30 else 9) for number in range(60)]
    assert flatness(more_campaigns)["seconds"] is None
    slower = [record(number, 2.0 if number < 30 else 4.0, 5 + number % 2) for number in range(60)]
    assert flatness(slower) == {"seconds": 2.0, "cpu_seconds": 1.0, "peak_mb": 1.0, "mb_per_1000_rows": 1.0}
