"""Real Dagster processes with the project's own configuration: a backfill from the UI, the schedule's tick, a kill."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.orchestration.run_tags import DAYS, STARTED_BY
from soundlink_pipeline.simulator import (
    BREAKDOWN,
    ENGAGEMENT,
    Fault,
    KeyInfo,
    Record,
    SimClock,
    Simulator,
    World,
    running_simulator,
)
from soundlink_pipeline_tests.processes.story import BACKFILLED, BY_HAND, MIXED, Story
from soundlink_pipeline_tests.support.deployment import (
    FIRST_DAY,
    TODAY,
    Deployment,
    end_session,
    plain_command,
    process_environment,
    processor_seconds,
    pull_command,
    session,
    until,
)
from soundlink_pipeline_tests.support.project import KEY, REPOSITORY, asked, environment
from soundlink_pipeline_tests.support.sql_folder import sql_folder

pytestmark = pytest.mark.timeout(900)


# The campaigns, by their place in the deployment's world, that each run of the backfill asks for. The first runs on,
# the second ends within the second run's days, the others within the first's. Breakdown goes on for a week after that,
# engagement for as long as the run before has found rows.
ASKED_FOR = {
    BREAKDOWN: ({0, 1, 2, 3, 4, 5}, {0, 1}, {0}),
    ENGAGEMENT: ({0, 1, 2, 3, 4, 5}, {0, 1, 2, 3, 4, 5}, {0, 1, 2, 3}),
}
# And the requests of a run over a day in the second run's: it knows of no day without engagement before it.
PULLS_OF_A_DAY = 2 + 6


def test_the_daemon_ticks_the_schedule_and_its_one_run_succeeds(here: Deployment, scheduled: str) -> None:
    def ended() -> dict[str, Any] | None:
        return next((run for run in here.runs() if run["id"] == scheduled and run["endTime"]), None)

    run = until(ended, "its run ends", 240)
    assert run["status"] == "SUCCESS", here.messages(run["id"])[-5:]
    start, end = date.fromisoformat(run["tags"][RANGE_START]), date.fromisoformat(run["tags"][RANGE_END])
    assert (end - start).days == 7
    assert end - TODAY in (timedelta(days=-1), timedelta(days=0))  # midnight may pass
    here.assert_tables_are_true(start, end)
    ticks = here.schedule_ticks("daily_refresh_schedule")
    assert {tick["status"] for tick in ticks} <= {"SUCCESS", "STARTED", "SKIPPED"}
    assert {len(tick["runIds"]) for tick in ticks if tick["status"] == "SUCCESS"} == {1}


@contextmanager
def in_shell(
    home: Path, sim: Simulator, command: list[str], log: str = "backfill.log"
) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a project folder of its own with a few models."""
    sql_dir = home.with_name("sql")
    if not home.exists():
        home.mkdir()
        shutil.copy(REPOSITORY / "dagster.yaml", home / "dagster.yaml")
        sql_folder(sql_dir)
    with (home / log).open("wb") as said:
        process = subprocess.Popen(
            command,
            cwd=home,
            env=process_environment(home, environment(sim.base_url, home / "data", SOUNDLINK_SQL_DIR=str(sql_dir))),
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end_session(process)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_backfill_from_the_shell_can_be_stopped_and_the_run_that_waits_for_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    home, start, end = tmp_path / "project", date(2026, 2, 18), date(2026, 2, 22)
    world = World(campaigns=6, countries_per_campaign=2, tracks_per_campaign=1)
    pulls = 2 * 5 + 1  # the ads of one ended weeks before: it may have engagement only
    clock = SimClock(datetime(2026, 3, 10, 6, tzinfo=UTC))
    with running_simulator(world, clock, keys={KEY: KeyInfo()}, per_minute=None, per_hour=None) as sim:
        hanging = world.campaigns[0]
        sim.faults.add(Fault("hang", export=BREAKDOWN, campaign=hanging.uuid, seconds=600))
        here = Deployment(home, sim, "", environment(sim.base_url, home / "data"), 0)
        with in_shell(home, sim, pull_command(start, end)) as process:
            here.until_only_one_is_missing(start, pulls)
            with in_shell(home, sim, plain_command(start, end), "waiting.log") as waiting:
                until(lambda: "Waiting for run " in (home / "waiting.log").read_text(), "the next run waits")
                used = processor_seconds(waiting)
                time.sleep(1)
                assert processor_seconds(waiting) - used < 0.5, "it waits with a processor"
                stopped = time.monotonic()
                process.send_signal(how)
                process.wait(120)
                assert time.monotonic() - stopped < 60
                waiting.wait(120)
            assert waiting.returncode == 0
        assert process.returncode != 0
        monkeypatch.chdir(home)  # where the paths in dagster.yaml begin
        with dg.DagsterInstance.from_config(str(home)) as instance:
            last, first = instance.get_runs()
        assert last.status is dg.DagsterRunStatus.SUCCESS
        if how is signal.SIGKILL:
            assert first.status is dg.DagsterRunStatus.FAILURE
        else:  # who is killed loads no more
            assert first.status is dg.DagsterRunStatus.CANCELED
            kept = "Interrupted: what has arrived is kept; the same command goes on from there."
            assert (home / "backfill.log").read_text().rstrip().endswith(kept)
            loaded = here.query(f"select count(*) from deliveries where run_id = '{first.run_id}'")
            assert loaded == [(pulls - 1,)]
        here.assert_tables_are_true(start, end)
        # These days are settled: only the one that was stopped was asked for again.
        assert here.query("select count(*), count(distinct delivery_id) from deliveries") == [(pulls, pulls)]


def test_a_backfill_from_the_shell_tells_what_is_wrong_with_its_range(tmp_path: Path) -> None:
    with (
        running_simulator(World(campaigns=2)) as sim,
        in_shell(tmp_path / "project", sim, pull_command(date(2026, 2, 22), date(2026, 2, 18))) as process,
    ):
        assert process.wait(120) != 0
        said = (tmp_path / "project" / "backfill.log").read_text()
        assert "the range 2026-02-22 to 2026-02-18 is reversed: it ends before it starts" in said
        assert sim.stats.records == []


def test_a_run_terminated_in_the_ui_ends_at_once_with_what_has_arrived(here: Deployment) -> None:
    start = end = FIRST_DAY + timedelta(days=99)
    hanging = here.sim.world.campaigns[0]
    here.sim.faults.add(Fault("hang", export=BREAKDOWN, campaign=hanging.uuid, match=f"startDate={start}", seconds=600))
    run_id = here.launch(start, end, priority=1, refetch=True)  # before what waits
    here.until_only_one_is_missing(start, PULLS_OF_A_DAY)
    worker = here.worker(run_id)
    here.graphql("mutation($id: String!){terminateRun(runId: $id){__typename}}", id=run_id)
    until(lambda: here.status(run_id) == "CANCELED", "the run is canceled", 60)
    assert any(line.startswith("Canceled: deliveries that arrived whole are kept") for line in here.messages(run_id))
    until(lambda: worker not in session(here.leader), "its process ends", 60)
    assert here.query(f"select count(*) from deliveries where run_id = '{run_id}'") == [(PULLS_OF_A_DAY - 1,)]


def test_a_run_from_a_shell_has_the_origin_of_one_from_the_ui(story: Story) -> None:
    runs = story.here.graphql(
        "{runsOrError {... on Runs {results {id tags {key value} repositoryOrigin {repositoryName"
        " repositoryLocationName}}}}}"
    )["runsOrError"]["results"]
    tags = {run["id"]: {tag["key"]: tag["value"] for tag in run["tags"]} for run in runs}
    (from_shell,) = (run_id for run_id, found in tags.items() if found.get(STARTED_BY) == "shell")
    assert tags[from_shell][DAYS] == str(BY_HAND)
    assert {tags[run_id][STARTED_BY] for run_id in story.runs.values()} == {"UI", "schedule"}
    # What has none is not on the timeline, and cannot be executed again.
    origins = {run["id"]: run["repositoryOrigin"] for run in runs}
    assert origins[from_shell] == origins[story.runs[str(MIXED)]] != None  # noqa: E711


def requests_by_run(sim: Simulator) -> list[list[Record]]:
    """Runs go one after the other, and each begins with the list of campaigns."""
    found: list[list[Record]] = [[]]
    for record in sim.stats.records:
        if record.kind == "campaigns" and any(earlier.kind != "campaigns" for earlier in found[-1]):
            found.append([])
        found[-1].append(record)
    return found


def test_a_backfill_from_the_ui_is_three_runs_one_after_the_other_and_true(quiet: Deployment, ui_backfill: str) -> None:
    here, days, last = quiet, BACKFILLED, date.fromisoformat(BACKFILLED[-1])

    def finished() -> str | None:
        status = here.backfill_status(ui_backfill)
        return status if status != "REQUESTED" else None

    assert until(finished, "the backfill ends", 500) == "COMPLETED_SUCCESS"
    runs = here.runs_of_backfill(ui_backfill)
    slices = [(days[first], days[last]) for first, last in ((0, 89), (90, 179), (180, 199))]
    assert sorted((run["tags"][RANGE_START], run["tags"][RANGE_END]) for run in runs) == slices
    assert {run["status"] for run in runs} == {"SUCCESS"}
    for one, next_one in itertools.pairwise(runs):
        assert one["endTime"] <= next_one["startTime"]  # max_concurrent_runs holds
    here.assert_tables_are_true(FIRST_DAY, last)
    for export in EXPORTS:
        assert set(days) <= here.materialized(export.name)
    campaigns = {campaign.path_id: place for place, campaign in enumerate(here.sim.world.campaigns)}
    paths = {export.name: export.path for export in EXPORTS}
    for run in runs:
        start, end = run["tags"][RANGE_START], run["tags"][RANGE_END]
        loaded = here.query(
            "select export, subject_id, start_date::varchar, end_date::varchar"
            f" from deliveries where run_id = '{run['id']}'"
        )
        number = slices.index((start, end))
        asked_for = [(export, place) for export, of_run in ASKED_FOR.items() for place in of_run[number]]
        assert sorted((export, campaigns[name]) for export, name, *_ in loaded) == sorted(asked_for)
        # Where the schedule's run was first, some days of a campaign may be final already.
        assert all(start <= first <= last <= end for *_, first, last in loaded)
        requests = [
            (paths[export].format(id=name), f"startDate={first}&endDate={last}") for export, name, first, last in loaded
        ]
        (asked_by_run,) = (
            records
            for records in requests_by_run(here.sim)
            if any((record.path, record.query) in requests for record in records)
        )
        # The campaigns and the soundlinks once, then only exports, and the details that no run before has.
        listed = [record for record in asked_by_run if record.path in ("/v1/campaigns", "/v1/soundlinks")]
        assert len(listed) == 2
        others = [(r.path, r.query) for r in asked_by_run if r not in listed and r.kind != "campaign"]
        assert sorted(others) == sorted(requests)
    here.assert_key_is_nowhere(delivered_with_it=str(MIXED))


@pytest.mark.slow
def test_a_killed_run_is_tried_again_and_asks_only_for_what_it_lacks(quiet: Deployment) -> None:
    here = quiet
    here.sim.stats.reset()
    start = end = FIRST_DAY + timedelta(days=98)
    hanging = here.sim.world.campaigns[0]
    here.sim.faults.add(Fault("hang", export=BREAKDOWN, campaign=hanging.uuid, match=f"startDate={start}", seconds=600))
    run_id = here.launch(start, end, refetch=True)
    queued_id = here.launch(start, end, priority=-1, refetch=True)
    here.until_only_one_is_missing(start, PULLS_OF_A_DAY)
    assert here.status(queued_id) == "QUEUED"
    os.kill(here.worker(run_id), signal.SIGKILL)
    retry = until(
        lambda: next((r for r in here.runs() if r["parentRunId"] == run_id and r["status"] == "SUCCESS"), None),
        "the retry succeeds",
        300,
    )
    assert here.status(run_id) == "FAILURE"
    assert retry["tags"]["dagster/retry_number"] == "1"
    until(lambda: here.status(queued_id) == "SUCCESS", "the second run ends", 300)
    here.assert_tables_are_true(start, end)
    # The one that hung was asked for again; the run behind asks for everything.
    paths = [path for path, _ in asked(here.sim)]
    assert paths.count(f"/v1/campaigns/{hanging.path_id}/metrics/breakdown/export") == 3
    assert len(paths) == 1 + 2 * PULLS_OF_A_DAY
