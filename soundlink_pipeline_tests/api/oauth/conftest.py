"""The simulator with a client of OAuth, over real HTTP, and clients of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.api.oauth import (
    TOKENS_PER_HOUR,
    TOKENS_PER_MINUTE,
    OAuthAccess,
    OAuthClient,
    Tokens,
)
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.settings.accounts import Account
from soundlink_pipeline.simulator import ClientInfo, SimClock, Simulator, running_simulator
from soundlink_pipeline_tests.api.oauth.shared import (
    FIRST,
    SECOND,
    SECRET,
    A,
    B,
    Connect,
    account,
)
from soundlink_pipeline_tests.api.shared import NOW, TLS
from soundlink_pipeline_tests.conftest import WaitingClock


@pytest.fixture(scope="module")
def served() -> Iterator[Simulator]:
    with running_simulator(
        FIRST, SimClock(NOW), organizations={B: SECOND}, clients={}, per_minute=None, per_hour=None
    ) as simulator:
        yield simulator


@pytest.fixture
def server(served: Simulator) -> Iterator[Simulator]:
    """With a client that both organizations have consented to."""
    served.oauth.clients["agency"] = ClientInfo(SECRET, consents={A, B})
    served.oauth.expires_in = 3600
    served.oauth.forget()
    yield served
    served.faults.clear()
    served.stats.reset()
    for organization in served.organizations.values():
        organization.integrations = organization.public_api = True
        organization.access_denied = False


@pytest.fixture
def tokens(clock: WaitingClock) -> Tokens:
    return Tokens(clock)


@pytest.fixture
def connect(server: Simulator, tmp_path: Path, clock: WaitingClock, tokens: Tokens) -> Iterator[Connect]:
    """Makes clients of one process, whose waits pass on a clock of their own at once."""
    with ExitStack() as stack:

        def connect(of: Account | None = None, secret: str = SECRET, **options: Any) -> SoundlinkClient:
            def pacer(file: str, *limits: int) -> Pacer:
                return stack.enter_context(Pacer(tmp_path / file, *limits, cancelled=clock, now=clock))

            access = OAuthAccess(
                client=OAuthClient(of or account(), secret),
                tokens=tokens,
                pacer=pacer("tokens.sqlite", TOKENS_PER_MINUTE, TOKENS_PER_HOUR),
            )
            if "transport" not in options:
                options["transport"] = httpx.HTTPTransport(verify=TLS)
            base_url = options.pop("base_url", server.base_url)
            options = {"backoff": 0.001, "tries": 3, **options}
            paced = pacer("requests.sqlite", 10_000, 100_000)
            return stack.enter_context(SoundlinkClient(base_url, access, paced, **options))

        yield connect
