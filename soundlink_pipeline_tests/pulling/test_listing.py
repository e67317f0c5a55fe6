"""Which listing is the newest is said by the server's clock, whoever made it and whatever the local clock says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.simulator import Fault, KeyInfo, SimClock, Simulator, running_simulator
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline_tests.support.project import KEY, listed, small_world, utc

# Behind the local clock of whoever runs this.
SERVER_TIME = utc("2026-03-02T06:00")


@pytest.fixture
def api() -> Iterator[Simulator]:
    with running_simulator(
        small_world(3), SimClock(SERVER_TIME), keys={KEY: KeyInfo()}, per_minute=None, per_hour=None
    ) as simulator:
        yield simulator


def soundlink(api: Simulator, folder: Path, *named: str) -> Soundlink:
    return Soundlink(Settings(base_url=api.base_url, data_dir=folder, campaign_ids=named), lambda _: KEY)


def list_in_a_run(soundlink: Soundlink, run: str, *resumed: str) -> list[str]:
    with soundlink.connect(lambda _: None) as (client, _):
        return [item["campaignId"] for item in listed(soundlink, client, run, [*resumed, run])]


def newest(soundlink: Soundlink) -> set[str]:
    with soundlink.warehouse.read() as connection:
        return {listed_id.id for listed_id in Ledger(connection).listed(CAMPAIGN)}


def test_campaigns_named_by_a_setting_are_not_the_newest_for_ever_where_the_local_clock_is_ahead(
    api: Simulator, tmp_path: Path
) -> None:
    only = api.world.campaigns[1].path_id
    named, everyone = soundlink(api, tmp_path, only), soundlink(api, tmp_path)
    assert list_in_a_run(named, "run-1") == [only]
    assert newest(named) == {only}
    assert [listing.server_date for listing in named.landing.listings(CAMPAIGN)] == [SERVER_TIME]
    api.clock.set(utc("2026-03-02T07:00"))
    assert len(list_in_a_run(everyone, "run-2")) == 3
    assert len(newest(everyone)) == 3


def test_a_ping_that_fails_costs_only_the_server_s_time(api: Simulator, tmp_path: Path) -> None:
    api.faults.add(Fault("status", match="/v1/ping", status=404, code="not_found", times=None))
    named = soundlink(api, tmp_path, "camp_1")
    assert list_in_a_run(named, "run-1") == ["camp_1"]
    assert [listing.server_date for listing in named.landing.listings(CAMPAIGN)] == [None]


@pytest.mark.parametrize("named_first", [True, False])
def test_a_run_that_goes_on_lists_anew_where_the_setting_that_names_campaigns_was_set_or_emptied(
    api: Simulator, tmp_path: Path, named_first: bool
) -> None:
    only = api.world.campaigns[1].path_id
    named, everyone = soundlink(api, tmp_path, only), soundlink(api, tmp_path)
    for times in (1, 2):
        assert len(list_in_a_run(named if named_first else everyone, "run-1")) == (1 if named_first else 3)
        assert len(named.landing.listings(CAMPAIGN)) == 1, f"listed {times} times"
    assert len(list_in_a_run(everyone if named_first else named, "run-2", "run-1")) == (3 if named_first else 1)
