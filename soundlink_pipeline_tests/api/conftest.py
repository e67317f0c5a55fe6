"""The simulator, over real HTTP, and clients of it."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.simulator import SimClock, Simulator, running_simulator
from soundlink_pipeline_tests.api.shared import KEY, KEYS, NOW, TLS, Connect, Scripted, mocked
from soundlink_pipeline_tests.conftest import WaitingClock


@pytest.fixture(scope="module")
def served() -> Iterator[Simulator]:
    with running_simulator(clock=SimClock(NOW), keys=dict(KEYS), per_minute=None, per_hour=None) as simulator:
        yield simulator


@pytest.fixture
def server(served: Simulator) -> Iterator[Simulator]:
    yield served
    served.faults.clear()
    served.stats.reset()
    served.generation = 2
    served.gzip_members = 0


@pytest.fixture
def connect(served: Simulator, tmp_path: Path, clock: WaitingClock) -> Iterator[Connect]:
    """Makes clients with three attempts, whose waits pass on a clock of their own at once."""
    with ExitStack() as stack:

        def connect(key: str = KEY, base_url: str = served.base_url, **settings: Any) -> SoundlinkClient:
            pacer = Pacer(tmp_path / "requests.sqlite", 10_000, 100_000, cancelled=clock, now=clock)
            stack.enter_context(pacer)
            if "transport" not in settings:
                settings["transport"] = httpx.HTTPTransport(verify=TLS)
            settings = {"backoff": 0.001, "tries": 3, **settings}
            return stack.enter_context(SoundlinkClient(base_url, key, pacer, **settings))

        yield connect


@pytest.fixture
def scripted(connect: Connect) -> Scripted:
    """One client for many examples: gives it what it is answered next."""
    said: dict[str, Any] = {}
    client = mocked(connect, lambda _: httpx.Response(200, content=iter(said["pieces"]), headers=said["headers"]))

    def script(pieces: list[bytes], **headers: str) -> SoundlinkClient:
        said.update(pieces=pieces, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return client

    return script
