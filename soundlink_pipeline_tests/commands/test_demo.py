"""The demo needs no network, whatever the environment says of one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from soundlink_pipeline.commands import demo
from soundlink_pipeline.simulator import running_simulator


@pytest.mark.parametrize(
    ("name", "text"),
    [("http_proxy", "http://127.0.0.1:9"), ("all_proxy", "socks5://127.0.0.1:9"), ("NO_PROXY", "[::1]")],
)
def test_the_demo_reaches_its_simulator_without_a_proxy(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    for other in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, text)
    with running_simulator() as simulator:
        moment = simulator.clock.now() + timedelta(days=1)
        demo._set_clock(simulator.base_url, moment)
        assert simulator.clock.now() == moment
        assert demo._requests(simulator.base_url) == 0
