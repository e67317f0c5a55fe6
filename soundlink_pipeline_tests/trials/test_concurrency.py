"""Everything at once: two deployments with one data folder, backfills, a run from a shell, and twenty analysts.

Two deployments, because that is the harder case: within one, Dagster's queue and pool keep runs apart; between two,
only what lies in the data folder does, the writer's turn and the count of requests.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.publishing.file_copy import compare, figures_of
from soundlink_pipeline.simulator import KeyInfo, SimClock, Simulator, World, running_simulator
from soundlink_pipeline_tests.support.deployment import (
    BIN,
    FIRST_DAY,
    TODAY,
    Deployment,
    deployment,
    end_session,
    process_environment,
    until,
)
from soundlink_pipeline_tests.support.project import KEY, REPOSITORY, each_day, project
from soundlink_pipeline_tests.support.sql_folder import sql_folder

# Fewer than the runs need together, so that they wait for each other's requests to be a minute old.
PER_MINUTE = 24
READERS = 20
EVERY_MINUTE = "* * * * *"

# Opens the published file, asks, closes, again and again. A publication must be one whole state: what the marts sum up
# is what the raw tables hold, every row is of a delivery in the ledger, and whoever looks sees the same.
READER = """
import json, sys, time
from functools import partial
from pathlib import Path
from soundlink_pipeline.publishing.file_copy import read_published
database, stop = Path(sys.argv[1]), Path(sys.argv[2])
LOOK = '''
    with country as (
        select sum(streams) as streams, sum(spend_total) as spend, max(report_date) as newest, count(*) as rows
        from campaign_country_daily
    ), engagement as (
        select sum(streams) as streams, max(report_date) as newest, count(*) as rows from campaign_engagement_daily
    )
    select published_at::varchar,
        [country.streams, country.rows, engagement.streams, engagement.rows, (select count(*) from deliveries)],
        {
            'newest day': newest_report_date = greatest(country.newest, engagement.newest),
            'streams per campaign': country.streams = (select sum(streams) from marts.campaign_daily),
            'streams per country': country.streams = (select sum(streams) from marts.country_daily),
            'spend': country.spend = (select sum(spend_total) from marts.campaign_summary),
            'streams per track': engagement.streams = (select sum(streams) from marts.track_engagement_daily),
            'ledger': not exists (from campaign_country_daily anti join deliveries on delivery_id = _delivery_id)
                and not exists (from campaign_engagement_daily anti join deliveries on delivery_id = _delivery_id),
        }
    from publication, country, engagement
'''
looks, seen, wrong = 0, {}, {}
while not stop.exists():
    if database.exists():
        with read_published(database) as connection:
            ((published, state, holds),) = connection.execute(LOOK).fetchall()
        looks += 1
        if seen.setdefault(published, state) != state:
            wrong[published] = [seen[published], state]
        if not all(holds.values()):
            wrong[published] = [name for name, is_so in holds.items() if not is_so]
    time.sleep(4)  # for the runs, which share the machine
print(json.dumps({'looks': looks, 'seen': seen, 'wrong': wrong}))
"""


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """It keeps the limit itself, and answers 429 to every request too many."""
    world = World(campaigns=3, first_day=FIRST_DAY, countries_per_campaign=2, tracks_per_campaign=1)
    clock = SimClock(datetime.now(UTC).replace(microsecond=0))
    with running_simulator(world, clock, keys={KEY: KeyInfo()}, per_minute=PER_MINUTE, per_hour=600) as made:
        yield made


@contextmanager
def two_deployments(folder: Path, sim: Simulator) -> Iterator[list[Deployment]]:
    """Each with a Dagster instance of its own; the API, the data folder and the limits are the same."""

    settings = {
        "SOUNDLINK_DATA_DIR": str(folder / "data"),
        "SOUNDLINK_REQUESTS_PER_MINUTE": str(PER_MINUTE),
        "SOUNDLINK_REQUESTS_PER_HOUR": "600",
        "SOUNDLINK_SCHEDULE": EVERY_MINUTE,
    }
    with ExitStack() as stack:
        homes = [folder / name / "project" for name in ("one", "two")]
        for home in homes:
            home.parent.mkdir()
        yield [stack.enter_context(deployment(home, sim, **settings)) for home in homes]


@contextmanager
def readers(folder: Path) -> Iterator[list[dict[str, Any]]]:
    """Reader processes; what each has seen is there once the block has ended."""
    stop, told = folder / "stop", list[dict[str, Any]]()
    command = [sys.executable, "-c", READER, str(folder / "data" / "soundlink.duckdb"), str(stop)]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(READERS)
    ]
    try:
        yield told
    finally:
        stop.touch()
        ended = [(process, *process.communicate(timeout=60)) for process in started]
    for process, out, error in ended:
        assert process.returncode == 0, error
        told.append(json.loads(out))


@contextmanager
def make_backfill(here: Deployment, start: date, end: date) -> Iterator[subprocess.Popen[bytes]]:
    """`make backfill` in the folder of a deployment that is running."""
    variables = [f"HOME_DIR={here.home}", f"BIN={BIN}", f"FROM={start}", f"TO={end}"]
    with (here.home.parent / "backfill.log").open("wb") as log:
        process = subprocess.Popen(
            ["make", "--old-file=install", "backfill", *variables],
            cwd=REPOSITORY,
            env=process_environment(here.home, here.environment),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end_session(process)


def launch_backfill(here: Deployment, start: date, end: date) -> str:
    """A backfill of both exports, as the UI launches it."""
    days = [str(day) for day, _ in each_day(str(start), str(end), datetime.now(UTC))]
    launched = here.graphql(
        "mutation($p: LaunchBackfillParams!){launchPartitionBackfill(backfillParams: $p)"
        " {__typename ... on LaunchBackfillSuccess {backfillId} ... on PythonError {message stack}}}",
        p={"assetSelection": [{"path": [export.name]} for export in EXPORTS], "partitionNames": days},
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    return str(launched["backfillId"])


def until_backfill_ends(here: Deployment, backfill_id: str) -> str:
    query = "query($id: String!){partitionBackfillOrError(backfillId: $id){... on PartitionBackfill {status}}}"

    def status() -> str | None:
        found: str = here.graphql(query, id=backfill_id)["partitionBackfillOrError"]["status"]
        return found if found != "REQUESTED" else None

    return until(status, "the backfill ends", 400)


def schedule(here: Deployment) -> dict[str, Any]:
    """The daily refresh's schedule, with its ticks."""
    (repository,) = here.graphql(
        "{repositoriesOrError {... on RepositoryConnection {nodes {schedules {name scheduleState {id ticks"
        " {status skipReason runIds error {message}}}}}}}}"
    )["repositoriesOrError"]["nodes"]
    found = next(s for s in repository["schedules"] if s["name"] == "daily_refresh_schedule")
    state: dict[str, Any] = found["scheduleState"]
    return state


def scheduled_runs(here: Deployment) -> list[dict[str, Any]]:
    return [run for run in here.runs() if "dagster/schedule_name" in run["tags"]]


def stop_schedule(here: Deployment) -> None:
    stopped = here.graphql(
        "mutation($id: String!){stopRunningSchedule(id: $id){__typename ... on PythonError {message}}}",
        id=schedule(here)["id"],
    )["stopRunningSchedule"]
    assert stopped["__typename"] == "ScheduleStateResult", stopped


def assert_runs_ended_well(here: Deployment) -> None:
    failed = [run["id"] for run in here.runs() if run["status"] != "SUCCESS"]
    assert not failed, [here.messages(run_id)[-5:] for run_id in failed]
    ticks = schedule(here)["ticks"]
    assert {tick["status"] for tick in ticks} <= {"SUCCESS", "SKIPPED"}, ticks
    assert all(tick["skipReason"] for tick in ticks if tick["status"] == "SKIPPED")


@pytest.mark.daemon
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_runs_of_two_deployments_and_readers_all_at_once_end_well_within_the_limits_and_true(
    tmp_path: Path, sim: Simulator
) -> None:
    def day(number: int) -> date:
        return FIRST_DAY + timedelta(days=number)

    with two_deployments(tmp_path, sim) as (one, two), readers(tmp_path) as told:
        with make_backfill(one, day(100), day(160)) as by_hand:
            backfills = [
                (one, launch_backfill(one, day(0), day(89))),
                (one, launch_backfill(one, day(60), day(149))),
                (two, launch_backfill(two, day(30), day(119))),
            ]
            for here in (one, two):
                until(partial(scheduled_runs, here), "the schedule has ticked", 120)
                stop_schedule(here)
            assert [until_backfill_ends(*backfill) for backfill in backfills] == ["COMPLETED_SUCCESS"] * 3
            assert by_hand.wait(300) == 0, (one.home.parent / "backfill.log").read_text()[-3000:]
        for here in (one, two):
            here.until_all_runs_ended()
            assert_runs_ended_well(here)
        # Whatever came last may have been a backfill of the exports alone: a last run publishes it all.
        last = one.launch(TODAY - timedelta(days=2), TODAY - timedelta(days=2))
        until(lambda: one.status(last) in ("SUCCESS", "FAILURE"), "the last run ends", 300)
        assert_runs_ended_well(one)
        asked = [record.status for record in sim.stats.records]
        assert set(asked) == {200}
        assert len(asked) > PER_MINUTE
        # However slow the machine: the requests of all processes are counted in one place.
        with closing(sqlite3.connect(tmp_path / "data" / "requests.sqlite")) as counted:
            assert counted.execute("select count(*) from requests").fetchall() == [(len(asked),)]
        one.assert_tables_are_true(day(0), day(160))
        one.assert_tables_are_true(TODAY - timedelta(days=8), TODAY - timedelta(days=1))
        assert compare(figures_of(one.warehouse), EXPORTS, tmp_path / "data" / "soundlink.duckdb") == []
        newest = one.query("select count(*), count(distinct delivery_id), count(distinct load_order) from deliveries")
        assert newest[0][0] == newest[0][1] == newest[0][2]
    assert len(told) == READERS
    assert [reader["wrong"] for reader in told] == [{}] * READERS
    seen: dict[str, Any] = {}
    for reader in told:
        for published, state in reader["seen"].items():
            assert seen.setdefault(published, state) == state
    assert len(seen) > 2
    assert min(reader["looks"] for reader in told) > len(seen)


# Two runs of one deployment take turns by the step: one from a shell may load between another's models and publication


def test_what_is_published_is_one_state_when_another_run_loads_between_models_and_publication(tmp_path: Path) -> None:
    exports, published = [export.name for export in EXPORTS], "published_database"
    with project(tmp_path, sql_dir=sql_folder(tmp_path / "sql")) as here:
        assert here.refresh("2026-01-10", "2026-01-12").success
        assert here.refresh("2026-01-20", "2026-01-22", asset_selection=[dg.AssetKey(name) for name in exports]).success
        assert here.refresh("2026-01-10", "2026-01-12", asset_selection=[dg.AssetKey(published)]).success
        with duckdb.connect(str(here.soundlink.published_path), read_only=True) as connection:
            for mart in ("daily", "total"):  # one is built day by day, the other in full
                query = f"select (select sum(streams) from {exports[0]}), (select sum(streams) from marts.{mart})"
                ((raw, summed),) = connection.execute(query).fetchall()
                assert raw == summed > 0, mart
