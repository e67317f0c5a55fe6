"""The simulator that the network's faults are met at, and data folders that are filled from it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from soundlink_pipeline.simulator import KeyInfo, SimClock, Simulator, World, running_simulator
from soundlink_pipeline_tests.support.project import KEY
from soundlink_pipeline_tests.trials.network.account import BEFORE, NOW, Account


@pytest.fixture(scope="module")
def api() -> Iterator[Simulator]:
    """Five campaigns: one whose id in the rows is another, one that has soon no rows any more."""
    world = World(campaigns=6, countries_per_campaign=2, tracks_per_campaign=1)
    world.campaigns = [world.campaigns[index] for index in (0, 1, 2, 3, 5)]
    with running_simulator(world, SimClock(NOW), keys={KEY: KeyInfo()}, per_minute=None, per_hour=None) as simulator:
        yield simulator


@pytest.fixture(autouse=True)
def as_new(api: Simulator) -> Iterator[None]:
    api.clock.set(NOW)
    yield
    api.faults.clear()
    api.stats.reset()


@pytest.fixture(scope="module")
def filled(api: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Account:
    """A data folder that holds the days as they were some days ago; to be copied."""
    account = Account(api, tmp_path_factory.mktemp("filled") / "data", before=BEFORE, listed_by="run-0")
    assert replace(account, now=BEFORE).run("run-0").failed == []
    return account


@pytest.fixture(scope="module")
def shared(filled: Account, tmp_path_factory: pytest.TempPathFactory) -> Account:
    """A copy for tests that use days of their own: making a warehouse takes longer than a run does."""
    folder = tmp_path_factory.mktemp("shared") / "data"
    shutil.copytree(filled.folder, folder)
    return replace(filled, folder=folder)


@pytest.fixture
def account(filled: Account, tmp_path: Path) -> Account:
    """A copy of one's own: the days are there as they were some days ago."""
    shutil.copytree(filled.folder, tmp_path / "data")
    return replace(filled, folder=tmp_path / "data")
