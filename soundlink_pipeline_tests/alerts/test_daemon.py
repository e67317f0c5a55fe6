"""Alerts, sent by the real daemon."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline_tests.alerts.receiver import SECRET, TOKEN, Receiver
from soundlink_pipeline_tests.alerts.watch import UI
from soundlink_pipeline_tests.support import deployment as deployments
from soundlink_pipeline_tests.support.project import KEY, environment


@pytest.mark.slow
@pytest.mark.daemon
@pytest.mark.timeout(600)
def test_the_daemon_sends_one_message_and_shows_one_that_was_refused(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_alerts(*args: Any, **more: str) -> dict[str, str]:
        return environment(*args, **more, SOUNDLINK_ALERT_URL=receiver.url, SOUNDLINK_UI_URL=UI)

    monkeypatch.setattr(deployments, "environment", with_alerts)
    first = deployments.FIRST_DAY
    with deployments.deployment(tmp_path / "project") as here:

        def ticks(status: str) -> list[dict[str, Any]]:
            (repository,) = here.graphql(
                "{repositoriesOrError {... on RepositoryConnection {nodes {sensors {name sensorState {ticks"
                " {status skipReason error {message}}}}}}}}"
            )["repositoriesOrError"]["nodes"]
            (sensor,) = repository["sensors"]
            assert sensor["name"] == "alerts"
            return [tick for tick in sensor["sensorState"]["ticks"] if tick["status"] == status]

        deployments.until(lambda: ticks("SKIPPED"), "the sensor has begun", 120)
        receiver.answer(400, body=SECRET.encode())
        refused = here.launch(first + timedelta(days=1), first)
        (tick,) = deployments.until(lambda: ticks("FAILURE"), "the tick that could not deliver", 180)
        assert f"the message on run {refused}" in tick["error"]["message"]
        assert "HTTP 400" in tick["error"]["message"]
        told = here.launch(first + timedelta(days=2), first)
        deployments.until(lambda: ticks("SUCCESS"), "the tick that delivered", 180)
        skipped = len(ticks("SKIPPED"))
        deployments.until(lambda: len(ticks("SKIPPED")) > skipped, "one more tick", 120)
        assert [body["run_id"] for body in receiver.bodies] == [refused, told]
        body = receiver.bodies[1]
        assert body["link"] == f"{UI}/runs/{told}"
        assert body["range"] == {"start": str(first + timedelta(days=2)), "end": str(first)}
        assert "is reversed: it ends before it starts" in body["text"]
        assert any('Sensor "alerts" acted on run status FAILURE' in message for message in here.messages(told))
        stored = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for secret in (*SECRET.split("/"), TOKEN, KEY):
        assert [path for path, content in stored.items() if secret.encode() in content] == []
