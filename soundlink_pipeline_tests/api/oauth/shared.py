"""What the tests of OAuth share: two organizations, an account of each, and what is asked of a simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.settings.accounts import Account
from soundlink_pipeline.simulator import Simulator, World

FIRST, SECOND = World(1, campaigns=3, soundlinks=2), World(2, campaigns=4, soundlinks=3)
A, B = FIRST.account_id, SECOND.account_id
SECRET = "cs_4f9Qx2Wv7LmN8pR1sTz"
Connect = Callable[..., SoundlinkClient]


def account(name: str = "label_b", organization: str = B, client: str = "agency") -> Account:
    return Account(
        name=name,
        client_id=client,
        client_secret_env="AGENCY_SECRET",
        organization_id=organization,
        auth="bearer",
        place="accounts.toml, line 3",
    )


def asked_for(server: Simulator) -> int:
    """How many tokens were asked for."""
    return server.stats.count(kind="token")


def granted(token: str = "tok-4f9Qx2Wv7LmN8pR1sTz", **fields: Any) -> httpx.Response:
    return httpx.Response(200, json={"access_token": token, "token_type": "Bearer", "expires_in": 3600, **fields})


def mocked(connect: Connect, answer: Callable[[httpx.Request], httpx.Response], **options: Any) -> SoundlinkClient:
    return connect(base_url="https://api.example", transport=httpx.MockTransport(answer), **options)
