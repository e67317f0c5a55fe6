"""A simulator for each file of tests, with every switch as it was for each test."""

from collections.abc import Iterator

import httpx
import pytest

from soundlink_pipeline.simulator import SimClock, Simulator, running_simulator
from soundlink_pipeline_tests.simulator.shared import KEYS, NOW, Keyed


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with running_simulator(clock=SimClock(NOW), keys=dict(KEYS), per_minute=None, per_hour=None) as simulator:
        yield simulator


@pytest.fixture
def sim(server: Simulator) -> Simulator:
    """The shared server, with every switch as it was."""
    server.faults.clear()
    server.stats.reset()
    server.access.forget()
    server.access.per_minute = server.access.per_hour = None
    server.generation = 2
    server.gzip_members = 0
    server.clock.set(NOW)
    return server


@pytest.fixture(scope="module")
def web() -> Iterator[httpx.Client]:
    """A client without a key; one for all, since each costs a TLS context."""
    with httpx.Client(timeout=5) as client:
        yield client


@pytest.fixture
def api(sim: Simulator, web: httpx.Client) -> Keyed:
    return Keyed(web, sim)
