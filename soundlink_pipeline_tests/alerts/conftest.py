"""A receiver, and a sensor that tells it of the runs of an instance of its own."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from soundlink_pipeline.channels import webhook
from soundlink_pipeline_tests.alerts.receiver import Receiver
from soundlink_pipeline_tests.alerts.watch import Watch
from soundlink_pipeline_tests.support.instances import instance_at
from soundlink_pipeline_tests.support.loopback import answering


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with answering(Receiver()) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_FIRST_BACKOFF_SECONDS", 0.005)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_at(tmp_path / "instance") as made:
        yield made


@pytest.fixture
def watch(instance: dg.DagsterInstance, receiver: Receiver) -> Watch:
    watch = Watch(instance, receiver.url)
    watch.tick()  # from now on
    assert watch.said == ["Alerts start with runs that end after this tick."]
    return watch
