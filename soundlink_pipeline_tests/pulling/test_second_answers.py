"""An answer that holds far fewer rows than the warehouse is asked for once more: over real HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY as EXPORT
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.pulling.fetcher import Source
from soundlink_pipeline.pulling.landed import load_leftovers
from soundlink_pipeline.pulling.outcome import PullResult
from soundlink_pipeline.pulling.planning import plan
from soundlink_pipeline.pulling.puller import Puller
from soundlink_pipeline.pulling.shrinking import NOTHING_HELD, HeldRows
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.simulator import (
    BREAKDOWN,
    Fault,
    KeyInfo,
    Record,
    Shrinking,
    SimClock,
    Simulator,
    Stats,
    World,
    running_simulator,
)
from soundlink_pipeline.simulator.campaigns import Campaign
from soundlink_pipeline_tests.support.deliveries import ledger, query
from soundlink_pipeline_tests.support.project import KEY, listed, utc

SHRUNKEN, DATES = date(2026, 2, 19), DateRange(date(2026, 2, 18), date(2026, 2, 20))
WORLD = World(campaigns=2, countries_per_campaign=24, tracks_per_campaign=1)
VICTIM, OTHER = WORLD.campaigns


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    clock = SimClock(utc("2026-02-21T06:00"))
    with running_simulator(WORLD, clock, keys={KEY: KeyInfo()}, per_minute=None, per_hour=None) as simulator:
        yield simulator


class Pulls:
    """Runs of pulls of one data folder, which holds what the API had on the day before."""

    def __init__(self, api: Simulator, folder: Path) -> None:
        self.api, self.log = api, list[str]()
        limits = {"requests_per_minute": 100_000, "requests_per_hour": 100_000}
        settings = Settings(base_url=api.base_url, data_dir=folder, **limits)  # type: ignore[arg-type]
        self.soundlink = Soundlink(settings, lambda _: KEY)

    @property
    def landing(self) -> Landing:
        return self.soundlink.landing

    def run(self, run_id: str, *, guarded: bool = True) -> PullResult:
        self.api.stats.reset()
        soundlink = self.soundlink
        with soundlink.connect(self.log.append) as (client, pacer):
            requests = plan(EXPORT, listed(soundlink, client, run_id, [run_id]), DATES)
            with ledger(soundlink.warehouse) as asked:
                held = HeldRows.before(asked, requests) if guarded else NOTHING_HELD
            pull = Puller(
                Source(client=client, pacer=pacer, held=held),
                landing=soundlink.landing,
                warehouse=soundlink.warehouse,
                run_id=run_id,
                log=self.log.append,
            )
            return pull.run(requests)

    def requests_for(self, campaign_id: str) -> int:
        return self.api.stats.count(path_contains=f"/{campaign_id}/", kind="breakdown_export")

    def loaded_of_run(self, run_id: str) -> dict[str, int]:
        """Rows in each of the run's deliveries, by path id."""
        sql = f"select subject_id, rows from deliveries where run_id = '{run_id}'"
        return dict(query(self.soundlink.warehouse, sql))

    def exported_at(self, uuid: str) -> set[str]:
        sql = f"select distinct exported_at::varchar from {EXPORT.name} where campaign_id = '{uuid}'"
        return {moment for (moment,) in query(self.soundlink.warehouse, sql)}

    def quarantined(self) -> list[Path]:
        return sorted(path for path in self.landing.quarantine.rglob("*") if path.is_file())

    def assert_tidy(self) -> None:
        assert not list(self.landing.root.rglob(".*"))
        assert self.landing.not_archived() == []


@pytest.fixture(scope="module")
def filled(server: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    server.clock.set(utc("2026-02-21T06:00"))
    first = Pulls(server, folder)
    assert (first.run("run-1").failed, first.requests_for(VICTIM.path_id)) == ([], 1)
    return folder


@pytest.fixture
def pulls(server: Simulator, filled: Path, tmp_path: Path) -> Iterator[Pulls]:
    """A day later, so that every row has a newer version."""
    shutil.copytree(filled, tmp_path / "data")
    server.clock.set(utc("2026-02-22T06:00"))
    yield Pulls(server, tmp_path / "data")
    server.shrinking.clear()
    server.faults.clear()


def rows_of(campaign: Campaign, dates: DateRange = DATES) -> int:
    """How many rows the API has of it on that day."""
    return len(WORLD.rows(BREAKDOWN, campaign.uuid, dates.start, dates.end, utc("2026-02-22T06:00")))


def shrink(pulls: Pulls, **how: Any) -> int:
    """Shrink the day of one campaign to `keep` rows; returns how many it lacks then."""
    pulls.api.shrinking.add(Shrinking(SHRUNKEN, campaign=VICTIM.uuid, **how))
    return rows_of(VICTIM, DateRange(SHRUNKEN, SHRUNKEN)) - int(how["keep"])


def test_nothing_that_shrank_is_asked_for_once(pulls: Pulls) -> None:
    assert pulls.run("run-2").failed == []
    assert pulls.loaded_of_run("run-2") == {VICTIM.path_id: rows_of(VICTIM), OTHER.path_id: rows_of(OTHER)}
    assert pulls.requests_for(VICTIM.path_id) == pulls.requests_for(OTHER.path_id) == 1


def test_a_day_that_shrank_in_one_answer_is_taken_from_the_second(pulls: Pulls) -> None:
    shrink(pulls, keep=3)
    result = pulls.run("run-2")
    assert result.failed == []
    assert result.requests == 3
    assert pulls.loaded_of_run("run-2") == {VICTIM.path_id: rows_of(VICTIM), OTHER.path_id: rows_of(OTHER)}
    assert (pulls.requests_for(VICTIM.path_id), pulls.requests_for(OTHER.path_id)) == (2, 1)
    (asked_again, taken) = [line for line in pulls.log if VICTIM.path_id in line]
    assert "3 of 2" in asked_again
    assert f"rows of {SHRUNKEN} that the warehouse holds; asked for once more" in asked_again
    assert taken.endswith("the second answer is taken, the first was dropped")
    assert pulls.quarantined() == []
    pulls.assert_tidy()


@pytest.mark.parametrize("keep", [3, 0])
def test_a_day_that_misses_the_same_rows_twice_is_believed(pulls: Pulls, keep: int) -> None:
    lost = shrink(pulls, keep=keep, answers=None)
    assert pulls.run("run-2").failed == []
    assert pulls.loaded_of_run("run-2") == {VICTIM.path_id: rows_of(VICTIM) - lost, OTHER.path_id: rows_of(OTHER)}
    assert pulls.requests_for(VICTIM.path_id) == 2
    assert [line for line in pulls.log if line.endswith("the second answer misses the same rows, and is believed")]
    assert pulls.quarantined() == []
    pulls.assert_tidy()


def test_an_answer_without_any_row_is_believed_the_second_time_only(pulls: Pulls) -> None:
    pulls.api.faults.add(Fault("body", export=BREAKDOWN, campaign=VICTIM.uuid, times=2))
    assert pulls.run("run-2").failed == []
    assert pulls.loaded_of_run("run-2") == {VICTIM.path_id: 0, OTHER.path_id: rows_of(OTHER)}
    assert pulls.requests_for(VICTIM.path_id) == 2


def test_two_answers_that_miss_other_rows_go_to_quarantine_and_cost_that_campaign_alone(pulls: Pulls) -> None:
    before = pulls.exported_at(VICTIM.uuid)
    lost = shrink(pulls, keep=3, answers=None, moving=True)
    result = pulls.run("run-2")
    (failed,) = result.failed
    assert (failed.subject_id, failed.attempted) == (VICTIM.path_id, True)
    assert f"rows of {SHRUNKEN} that the warehouse holds, and the second one 3 of 2" in failed.reason
    assert "accept_smaller: true" in failed.reason
    assert pulls.loaded_of_run("run-2") == {OTHER.path_id: rows_of(OTHER)}
    assert pulls.requests_for(VICTIM.path_id) == 2
    assert pulls.exported_at(VICTIM.uuid) == before
    deliveries = [path for path in pulls.quarantined() if path.suffix == ".ndjson"]
    assert len(deliveries) == 2
    for delivery in deliveries:
        assert delivery.with_name(f"{delivery.name}.reason.txt").read_text().strip() in failed.reason
        assert str(delivery.parent) in failed.reason
    pulls.assert_tidy()
    # What an operator puts back is believed: what has landed is never judged.
    shutil.move(deliveries[0], pulls.landing.root / EXPORT.name / deliveries[0].parent.name)
    assert load_leftovers(pulls.soundlink.warehouse, pulls.landing, pulls.log.append).rows == rows_of(VICTIM) - lost


def test_a_second_request_that_fails_fails_the_pull_and_the_first_answer_is_not_taken(pulls: Pulls) -> None:
    before = pulls.exported_at(VICTIM.uuid)
    shrink(pulls, keep=3)
    pulls.api.faults.add(
        Fault("status", export=BREAKDOWN, campaign=VICTIM.uuid, skip=1, status=400, code="invalid_date_range")
    )
    (failed,) = pulls.run("run-2").failed
    assert "invalid_date_range" in failed.reason
    assert "This was the second request: the first answer holds 3 of 2" in failed.reason
    assert "is not taken" in failed.reason
    assert pulls.loaded_of_run("run-2") == {OTHER.path_id: rows_of(OTHER)}
    assert pulls.exported_at(VICTIM.uuid) == before
    assert pulls.quarantined() == []
    pulls.assert_tidy()


def test_a_second_answer_that_cannot_be_read_is_refused_as_any_other(pulls: Pulls) -> None:
    shrink(pulls, keep=3)
    pulls.api.faults.add(Fault("body", export=BREAKDOWN, campaign=VICTIM.uuid, skip=1, body=b'{"x":1}\n'))
    (failed,) = pulls.run("run-2").failed
    assert failed.reason.startswith("refused: line 1: provider must be")
    assert pulls.loaded_of_run("run-2") == {OTHER.path_id: rows_of(OTHER)}


def test_smaller_answers_are_taken_at_once_where_the_operator_says_so(pulls: Pulls) -> None:
    lost = shrink(pulls, keep=3, answers=None, moving=True)
    assert pulls.run("run-2", guarded=False).failed == []
    assert pulls.loaded_of_run("run-2") == {VICTIM.path_id: rows_of(VICTIM) - lost, OTHER.path_id: rows_of(OTHER)}
    assert pulls.requests_for(VICTIM.path_id) == 1


def test_a_kill_between_the_two_answers_leaves_the_first_under_no_name(
    pulls: Pulls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(pulls, keep=3)
    left = tmp_path / "left"
    add = Stats.add

    def at_second_request(stats: Stats, record: Record) -> None:
        add(stats, record)
        if pulls.requests_for(VICTIM.path_id) == 2 and not left.exists():
            shutil.copytree(pulls.landing.root.parent, left)  # the disk as a kill would leave it now

    monkeypatch.setattr(Stats, "add", at_second_request)
    assert pulls.run("run-2").failed == []
    killed = Pulls(pulls.api, left)
    found = [d for d in killed.landing.deliveries() if (d.subject_id, d.run_id) == (VICTIM.path_id, "run-2")]
    assert found == []
    assert [path.suffix for path in killed.landing.root.glob(".*")] == [".part"] * len(list(left.glob("landing/.*")))
    load_leftovers(killed.soundlink.warehouse, killed.landing, killed.log.append)
    assert VICTIM.path_id not in killed.loaded_of_run("run-2")
