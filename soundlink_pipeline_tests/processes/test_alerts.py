"""Alerts, sent by the real daemon."""

from datetime import timedelta
from typing import Any

import pytest

from soundlink_pipeline_tests.alerts.receiver import SECRET, TOKEN, Receiver
from soundlink_pipeline_tests.alerts.watch import UI
from soundlink_pipeline_tests.processes.story import MIXED
from soundlink_pipeline_tests.support.deployment import FIRST_DAY, Deployment, until

pytestmark = pytest.mark.timeout(600)


@pytest.mark.slow
def test_the_daemon_sends_one_message_and_shows_one_that_was_refused(quiet: Deployment, receiver: Receiver) -> None:
    here = quiet
    until(lambda: here.sensor_ticks("SKIPPED"), "the sensor has begun", 120)
    receiver.answer(400, body=SECRET.encode())
    refused = here.launch(FIRST_DAY + timedelta(days=1), FIRST_DAY)

    def ticks_about(run_id: str) -> list[dict[str, Any]]:
        return [tick for tick in here.sensor_ticks("SKIPPED") if run_id in tick["skipReason"]]

    (tick,) = until(lambda: ticks_about(refused), "the tick that could not deliver", 180)
    assert f"Alert for run {refused}" in tick["skipReason"]
    assert "HTTP 400" in tick["skipReason"]
    told = here.launch(FIRST_DAY + timedelta(days=2), FIRST_DAY)
    (tick,) = until(lambda: ticks_about(told), "the tick that delivered", 180)
    assert f"Sent 1 alert: {told}." in tick["skipReason"]
    skipped = len(here.sensor_ticks("SKIPPED"))
    until(lambda: len(here.sensor_ticks("SKIPPED")) > skipped, "one more tick", 120)
    assert len(ticks_about(refused)) == 1
    assert any(f"Alert for run {refused}" in message for message in here.messages(refused))
    bodies = [body for body in receiver.bodies if body["run_id"] in (refused, told)]
    assert [body["run_id"] for body in bodies] == [refused, told]
    body = bodies[1]
    assert body["link"] == f"{UI}/runs/{told}"
    assert body["range"] == {"start": str(FIRST_DAY + timedelta(days=2)), "end": str(FIRST_DAY)}
    assert "is reversed: it ends before it starts" in body["text"]
    assert any('The sensor "alerts" sent an alert' in message for message in here.messages(told))
    stored = {path: path.read_bytes() for path in here.home.parent.rglob("*") if path.is_file()}
    for secret in (*SECRET.split("/"), TOKEN, here.key):
        holding = [path for path, content in stored.items() if secret.encode() in content]
        assert [path for path in holding if not path.name.startswith(str(MIXED))] == []
