"""The daily schedule: one run over one range, right after an outage too, whatever state the warehouse is in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from soundlink_pipeline.contracts.account import DEFAULT_ACCOUNT, ListedId
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_ENGAGEMENT_DAILY as ENGAGEMENT
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.orchestration import schedules
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START, WHY
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.simulator import KeyInfo, SimClock, Simulator, World, running_simulator
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline_tests.support.deliveries import ledger
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS
from soundlink_pipeline_tests.support.instances import instance_at
from soundlink_pipeline_tests.support.project import KEY, pull, small_world, utc
from soundlink_pipeline_tests.support.sql_folder import no_models


@pytest.fixture
def soundlink(tmp_path: Path) -> Soundlink:
    """A project without a warehouse yet, and without an API."""
    return Soundlink(Settings(data_dir=tmp_path / "data", start_date=date(2026, 1, 1)), lambda _: KEY)


@pytest.fixture
def api() -> Iterator[Simulator]:
    with api_of(small_world(3)) as simulator:
        yield simulator


def api_of(world: World) -> AbstractContextManager[Simulator]:
    return running_simulator(
        world, SimClock(utc("2026-02-01T07:00")), keys={KEY: KeyInfo()}, per_minute=None, per_hour=None
    )


def pointed_at(api: Simulator, data: Path, **settings: object) -> Soundlink:
    limits = {"requests_per_minute": 100_000, "requests_per_hour": 100_000}
    return Soundlink(Settings(base_url=api.base_url, data_dir=data, **limits, **settings), lambda _: KEY)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with instance_at(tmp_path_factory.mktemp("schedules") / "instance") as made:
        yield made


@lru_cache(maxsize=8)
def _schedule(settings: Settings) -> dg.ScheduleDefinition:
    return build_definitions(settings, lambda _: KEY).resolve_schedule_def("daily_refresh_schedule")


def evaluated(instance: dg.DagsterInstance, soundlink: Soundlink, moment: datetime) -> dg.ScheduleExecutionData:
    # Where the API and the data are is the resource's to say, so that tests share what is made of the other settings.
    elsewhere = {"base_url": Settings().base_url, "data_dir": Settings().data_dir}
    without_models = {"sql_dir": no_models(Path(instance.root_directory) / "sql")}
    schedule = _schedule(replace(soundlink.settings, **elsewhere, **without_models))  # type: ignore[arg-type]
    with dg.build_schedule_context(instance, moment, resources={"soundlink": soundlink}) as context:
        return schedule.evaluate_tick(context)


def tick(instance: dg.DagsterInstance, soundlink: Soundlink, moment: datetime) -> tuple[str, str] | str:
    """The range that the schedule asks for at a moment, or why it asks for none."""
    asked = evaluated(instance, soundlink, moment)
    if not asked.run_requests:
        return asked.skip_message or ""
    (request,) = asked.run_requests
    assert request.run_key is None
    assert request.partition_key is None
    return request.tags[RANGE_START], request.tags[RANGE_END]


def why(instance: dg.DagsterInstance, soundlink: Soundlink, moment: datetime) -> str:
    """What the run's page says of its range."""
    (request,) = evaluated(instance, soundlink, moment).run_requests or []
    return str(request.tags[WHY])


@pytest.mark.parametrize(
    ("moment", "asked"),
    [
        ("2026-03-10T07:00", ("2026-01-01", "2026-03-09")),
        ("2026-03-10T00:00", ("2026-01-01", "2026-03-09")),
        ("2026-03-09T23:59", ("2026-01-01", "2026-03-08")),
        ("2026-12-01T07:00", ("2026-09-02", "2026-11-30")),
        ("2026-01-09T07:00", ("2026-01-01", "2026-01-08")),
        ("2026-01-04T07:00", ("2026-01-01", "2026-01-03")),
        ("2026-01-02T07:00", ("2026-01-01", "2026-01-01")),
    ],
)
def test_a_new_project_asks_for_ninety_days_clipped_to_the_first(
    instance: dg.DagsterInstance, soundlink: Soundlink, moment: str, asked: tuple[str, str]
) -> None:
    assert tick(instance, soundlink, utc(moment)) == asked


@pytest.mark.parametrize(
    ("moment", "asked"),
    [
        # The clocks of Berlin and New York change; UTC has no such hour.
        ("2026-03-29T01:30", ("2026-01-01", "2026-03-28")),
        ("2026-10-25T00:30", ("2026-07-27", "2026-10-24")),
        ("2026-11-01T06:30", ("2026-08-03", "2026-10-31")),
        ("2027-01-01T07:00", ("2026-10-03", "2026-12-31")),
        ("2028-03-01T07:00", ("2027-12-02", "2028-02-29")),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati"])
def test_changing_clocks_and_ends_of_months_and_years_make_no_difference(
    instance: dg.DagsterInstance, soundlink: Soundlink, moment: str, asked: tuple[str, str], zone: str
) -> None:
    # Whatever zone the tick's moment comes in.
    assert tick(instance, soundlink, utc(moment).astimezone(ZoneInfo(zone))) == asked


def test_the_run_says_why_it_asks_for_its_range(instance: dg.DagsterInstance, api: Simulator, tmp_path: Path) -> None:
    soundlink = pointed_at(api, tmp_path)
    assert why(instance, soundlink, utc("2026-01-04T07:00")) == (
        "the days since the first partition, 2026-01-01: all of them may still be revised"
    )
    assert why(instance, soundlink, utc("2026-02-02T07:00")) == (
        "nothing has been pulled yet, so this run pulls 32 days instead of 8"
    )
    pull(soundlink, "2026-01-01", "2026-01-31")
    assert why(instance, soundlink, utc("2026-02-02T07:00")) == (
        "2026-02-01 has just closed, 2026-01-25 gets its final pull, those between may still be revised"
    )
    assert why(instance, soundlink, utc("2026-02-13T07:00")) == (
        "2026-01-25 has not been pulled since it settled, so this run pulls 19 days instead of 8"
    )


@pytest.mark.parametrize(
    ("status", "start", "end", "skipped"),
    [
        (dg.DagsterRunStatus.STARTED, "2026-01-01", "2026-03-09", True),
        (dg.DagsterRunStatus.NOT_STARTED, "2026-01-01", "2026-03-09", True),
        (dg.DagsterRunStatus.STARTED, "2026-01-01", "2026-03-08", False),  # yesterday's: today's waits behind it
        (dg.DagsterRunStatus.STARTED, "2026-01-02", "2026-03-09", False),
        (dg.DagsterRunStatus.SUCCESS, "2026-01-01", "2026-03-09", False),
        (dg.DagsterRunStatus.FAILURE, "2026-01-01", "2026-03-09", False),
    ],
)
def test_a_tick_does_not_ask_for_what_a_run_is_pulling_already(
    instance: dg.DagsterInstance,
    soundlink: Soundlink,
    status: dg.DagsterRunStatus,
    start: str,
    end: str,
    skipped: bool,
) -> None:
    job = build_definitions(soundlink.settings, lambda _: KEY).resolve_job_def("daily_refresh")
    run = instance.create_run_for_job(job, status=status, tags={RANGE_START: start, RANGE_END: end})
    try:
        asked = tick(instance, soundlink, utc("2026-03-10T07:00"))
    finally:
        instance.delete_run(run.run_id)
    if skipped:
        assert asked == (
            f"run {run.run_id} of an earlier tick is still going and already pulls all of 2026-01-01 to 2026-03-09"
        )
    else:
        assert asked == ("2026-01-01", "2026-03-09")


@pytest.mark.parametrize("moment", ["2026-01-01T07:00", "2025-11-30T07:00"])
def test_before_any_day_has_closed_there_is_no_run(
    instance: dg.DagsterInstance, soundlink: Soundlink, moment: str
) -> None:
    assert tick(instance, soundlink, utc(moment)) == "no day since the first partition, 2026-01-01, has closed yet"
    assert not soundlink.warehouse.exists()


def test_a_healthy_project_asks_for_the_trailing_days_only(
    instance: dg.DagsterInstance, api: Simulator, tmp_path: Path
) -> None:
    soundlink = pointed_at(api, tmp_path)
    pull(soundlink, "2026-01-01", "2026-01-31")
    assert tick(instance, soundlink, utc("2026-02-02T07:00")) == ("2026-01-25", "2026-02-01")


def test_after_an_outage_the_next_run_starts_at_the_earliest_unsettled_day(
    instance: dg.DagsterInstance, api: Simulator, tmp_path: Path
) -> None:
    soundlink = pointed_at(api, tmp_path)
    pull(soundlink, "2026-01-01", "2026-01-31")  # on February 1: settled up to January 24
    assert tick(instance, soundlink, utc("2026-02-13T07:00")) == ("2026-01-25", "2026-02-12")
    api.clock.set(utc("2026-02-13T07:00"))
    pull(soundlink, "2026-01-25", "2026-02-12", "run-2")
    assert tick(instance, soundlink, utc("2026-02-14T07:00")) == ("2026-02-06", "2026-02-13")


def test_one_export_left_behind_is_enough_to_reach_back(
    instance: dg.DagsterInstance, api: Simulator, tmp_path: Path
) -> None:
    soundlink = pointed_at(api, tmp_path)
    pull(soundlink, "2026-01-28", "2026-01-31")
    api.clock.set(utc("2026-02-20T07:00"))
    pull(soundlink, "2026-01-28", "2026-02-19", "run-2", exports=soundlink.warehouse.exports[:1])
    assert tick(instance, soundlink, utc("2026-02-21T07:00")) == ("2026-01-28", "2026-02-20")


def test_days_older_than_ninety_are_not_reached_for(
    instance: dg.DagsterInstance, api: Simulator, tmp_path: Path
) -> None:
    soundlink = pointed_at(api, tmp_path)
    pull(soundlink, "2026-01-25", "2026-01-31")
    assert tick(instance, soundlink, utc("2026-04-26T07:00")) == ("2026-01-26", "2026-04-25")
    assert tick(instance, soundlink, utc("2026-05-02T07:00")) == ("2026-04-24", "2026-05-01")


def test_a_campaign_that_is_no_longer_listed_does_not_hold_the_schedule_back(
    instance: dg.DagsterInstance, api: Simulator, tmp_path: Path
) -> None:
    soundlink = pointed_at(api, tmp_path)
    pull(soundlink, "2026-01-28", "2026-01-31")
    with api_of(World(campaigns=2, countries_per_campaign=3, tracks_per_campaign=2)) as fewer:
        fewer.clock.set(utc("2026-02-20T07:00"))
        pull(pointed_at(fewer, tmp_path), "2026-01-28", "2026-02-19", "run-2")
    assert tick(instance, soundlink, utc("2026-02-21T07:00")) == ("2026-02-13", "2026-02-20")


def test_a_campaign_that_has_long_ended_does_not_hold_the_schedule_back(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    world = World(campaigns=3, countries_per_campaign=2, tracks_per_campaign=1)
    finished = world.campaigns[2]
    end = max(finished.ended_at, finished.created_at + timedelta(days=finished.duration)).date()
    last_expected = end + timedelta(days=30)  # of listening; its small world has no rows on the last 7 of them
    with api_of(world) as api:
        soundlink = pointed_at(api, tmp_path)

        def morning(days_later: int) -> datetime:
            return datetime.combine(last_expected + timedelta(days=days_later), time(7), UTC)

        for number in (8, 9):
            api.clock.set(morning(number))
            api.stats.reset()
            first, last = eight_days_before(morning(number))
            pull(soundlink, str(first), str(last), f"run-{number}")
            assert api.stats.count(path_contains=finished.path_id) == (1 if number == 8 else 0)  # of engagement
        # The days after its last are asked for no more, and so were never settled.
        left = "select count(distinct report_date) from report_date_status where subject_id = $id and not is_settled"
        with soundlink.warehouse.read() as connection:
            assert connection.execute(left, {"id": finished.path_id}).fetchall() == [(7,)]
            assert (
                Ledger(connection).expected_days(ENGAGEMENT)[ListedId(DEFAULT_ACCOUNT, finished.path_id)].last
                == last_expected
            )
        assert tick(instance, soundlink, morning(10)) == tuple(map(str, eight_days_before(morning(10))))
        first, last = eight_days_before(morning(9))
        for export in CAMPAIGN_EXPORTS:
            with ledger(soundlink.warehouse) as asked:
                statuses = asked.date_status(export, DateRange(first, last))
            # The day that has been pulled for the last time is settled for all that still have rows.
            assert [status.settled for status in statuses] == [True] + [False] * 7


def eight_days_before(moment: datetime) -> tuple[date, date]:
    return moment.date() - timedelta(days=8), moment.date() - timedelta(days=1)


def test_a_locked_warehouse_costs_the_reach_back_but_not_the_run(
    instance: dg.DagsterInstance, api: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundlink = pointed_at(api, tmp_path)
    pull(soundlink, "2026-01-01", "2026-01-31")
    monkeypatch.setattr(schedules, "_WAIT_SECONDS", 0.2)
    program = "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(soundlink.warehouse.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "open\n"
            assert tick(instance, soundlink, utc("2026-02-13T07:00")) == ("2026-02-05", "2026-02-12")
            said = why(instance, soundlink, utc("2026-02-13T07:00"))
        finally:
            holder.kill()
    assert f"is open in process {holder.pid}" in said
    assert said.startswith("2026-02-12 has just closed, 2026-02-05 gets its final pull, ")
    assert "older unsettled days wait for the next tick" in said
    assert tick(instance, soundlink, utc("2026-02-13T07:00")) == ("2026-01-25", "2026-02-12")


def test_a_damaged_warehouse_does_not_stop_the_schedule(instance: dg.DagsterInstance, soundlink: Soundlink) -> None:
    soundlink.warehouse.path.parent.mkdir(parents=True)
    soundlink.warehouse.path.write_bytes(b"not a database" * 1000)
    assert tick(instance, soundlink, utc("2026-03-10T07:00")) == ("2026-03-02", "2026-03-09")
