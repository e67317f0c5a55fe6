"""Storms and outages, on a clock that only waiting moves: they end in known time, after known requests."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.api.errors import AskedToWait
from soundlink_pipeline.api.retrying import TRIES
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.simulator import Fault, Simulator
from soundlink_pipeline_tests.conftest import WaitingClock
from soundlink_pipeline_tests.trials.network.account import DATES, NOW, PATIENT, Account
from soundlink_pipeline_tests.trials.network.raw import asking


class Outage(Fault):
    """An API that fails for some seconds of the client's clock, however many requests it gets."""

    def __init__(self, clock: WaitingClock, seconds: float, **params: Any) -> None:
        super().__init__("status", times=None, **params)
        self._clock, self._until = clock, clock() + seconds

    def concerns(self, path_and_query: str, export: str | None, campaign_ids: frozenset[str]) -> bool:
        return self._clock() < self._until


@pytest.mark.parametrize(
    ("seconds", "fault", "requests", "least", "most"),
    [
        (5, {"status": 500}, 5, 5, 15),  # an API that fails this long is waited for
        (5, {"status": 429}, 5, 5, 15),
        (60, {"status": 429, "retry_after": 60}, 2, 60, 62),
        (250, {"status": 429, "retry_after": "Fri, 20 Mar 2026 06:05:00 GMT"}, 2, 300, 302),  # it is 06:00 there
        (180, {"status": 503, "retry_after": 60}, 4, 180, 200),
        (3600, {"status": 500}, TRIES, 15, 31),  # and one that fails for an hour is given up after half a minute
        (3600, {"status": 429}, TRIES, 15, 31),
        (36_000, {"status": 429, "retry_after": 60}, TRIES, 5 * 60, 5 * 60 + 31),
    ],
)
def test_a_storm_ends_in_known_time_after_known_requests(
    api: Simulator, tmp_path: Path, seconds: float, fault: dict[str, Any], requests: int, least: float, most: float
) -> None:
    campaign, to = api.world.campaigns[0].uuid, tmp_path / "export"
    with asking(api.base_url, tmp_path, timeout=PATIENT) as ask, ExitStack() as given_up:
        api.faults.add(Outage(ask.clock, seconds, **fault))
        if seconds > 1000:
            given_up.enter_context(pytest.raises(AskedToWait))
        ask.client.download(CAMPAIGN_COUNTRY_DAILY, campaign, DATES, to)
    assert ask.client.requests <= requests
    assert ask.client.requests == TRIES or seconds < 1000
    assert least <= sum(ask.clock.waits) <= most


def test_an_outage_in_mid_run_costs_what_it_must_and_no_more(api: Simulator, account: Account) -> None:
    """Three requests at a time learn of a limit; the others wait for it to pass."""
    api.faults.add(Outage(account.clock, 60, status=429, retry_after=60))
    summary = account.run("run-1")
    assert account.check(summary, "run-1") == {}
    assert len(account.places) + 1 <= summary.requests <= len(account.places) + 3
    account.before = NOW
    api.faults.clear()
    api.faults.add(Outage(account.clock, 36_000, status=500))
    summary = account.run("run-2")
    assert len(account.check(summary, "run-2")) == len(account.places)
    # Three at a time fail for good, perhaps beside the next ones' first tries; from then on each is tried once.
    assert 3 * TRIES < summary.requests < (TRIES - 1) * len(account.places)
    account.heal("run-3", "run-2")


@pytest.mark.parametrize("asked", ["999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_retry_after_of_years_ends_the_run_and_binds_no_other(api: Simulator, account: Account, asked: str) -> None:
    storm = api.faults.add("status", status=429, retry_after=asked, times=None, match="/export")
    account.clock = ImpatientClock()
    failed = account.check(account.run("run-1"), "run-1")
    assert set(failed) == set(account.places)
    assert any(re.search(r"rate limited: .*; Retry-After is [\d,]+ hours", item.reason) for item in failed.values())
    assert storm.hits <= 3
    account.heal("run-2", "run-1")


class ImpatientClock(WaitingClock):
    """Ends a run that waits for half a day."""

    def wait(self, timeout: float | None = None) -> bool:
        if (timeout or 0.0) + self.seconds - WaitingClock().seconds > 43_200:
            raise TimeoutError("the run waits for more than half a day")
        return super().wait(timeout)
