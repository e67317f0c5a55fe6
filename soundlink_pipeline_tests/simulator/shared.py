"""What the simulator's tests share: its keys, and how it is asked."""

import re
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
from typing import Any

import httpx

from soundlink_pipeline.simulator import BREAKDOWN, CAMPAIGNS_READ, METRICS_READ, KeyInfo, Simulator

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
JANUARY = (date(2026, 1, 1), date(2026, 1, 31))
KEYS = {
    "sk_test_all": KeyInfo(),
    "sk_test_campaigns": KeyInfo(frozenset({CAMPAIGNS_READ})),
    "sk_test_metrics": KeyInfo(frozenset({METRICS_READ})),
    "sk_test_revoked": KeyInfo(revoked=True),
    "sk_test_expired": KeyInfo(expired=True),
}


class Keyed:
    """The shared client with the simulator's address and key."""

    def __init__(self, web: httpx.Client, sim: Simulator) -> None:
        self._web, self._sim = web, sim

    def get(self, path: str, **options: Any) -> httpx.Response:
        options.setdefault("headers", {"authorization": f"Bearer {self._sim.key}"})
        return self._web.get(self._sim.base_url + path, **options)

    def stream(self, path: str) -> AbstractContextManager[httpx.Response]:
        return self._web.stream("GET", self._sim.base_url + path, headers={"authorization": f"Bearer {self._sim.key}"})


def export_url(sim: Simulator, campaign: int = 1, export: str = BREAKDOWN, query: str = "") -> str:
    kind = "breakdown" if export == BREAKDOWN else "engagement"
    days = query or "startDate=2026-01-01&endDate=2026-01-31"
    return f"/v1/campaigns/{sim.world.campaigns[campaign].path_id}/metrics/{kind}/export?{days}"


def error_of(answer: httpx.Response) -> tuple[int, str]:
    content = answer.json()
    assert re.fullmatch(r"[0-9a-f-]{36}", content["meta"]["requestId"])
    assert content["error"]["message"]
    return answer.status_code, content["error"]["code"]
