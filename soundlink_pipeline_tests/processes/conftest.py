"""One deployment for every test of real processes: it starts and ends once, and each test has days of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline_tests.alerts.receiver import Receiver
from soundlink_pipeline_tests.alerts.watch import UI
from soundlink_pipeline_tests.processes.story import BACKFILLED, KEY, SCHEDULED, Story, watched_command_lines
from soundlink_pipeline_tests.support.deployment import TODAY, Deployment, deployment, simulated_api, until
from soundlink_pipeline_tests.support.loopback import answering
from soundlink_pipeline_tests.support.project import pull

SCHEDULE = "daily_refresh_schedule"
PULLED_BEFORE = str(TODAY - timedelta(days=1))


@pytest.fixture(scope="package")
def receiver() -> Iterator[Receiver]:
    with answering(Receiver()) as server:
        yield server


def _is_wanted(request: pytest.FixtureRequest, fixture: str) -> bool:
    return any(fixture in getattr(item, "fixturenames", ()) for item in request.session.items)


@pytest.fixture(scope="package")
def begun(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> Iterator[Story]:
    """The deployment, its schedule, the story and a backfill started, as far as this session has tests that want them.

    They are launched at once and looked at one by one: the daemon looks for backfills and alerts every half minute.
    """
    folder = tmp_path_factory.mktemp("dagster")
    alerts = {"SOUNDLINK_ALERT_URL": receiver.url, "SOUNDLINK_UI_URL": UI}
    schedule = {"SOUNDLINK_SCHEDULE": "* * * * *"} if _is_wanted(request, "scheduled") else {}
    with simulated_api(KEY) as sim:
        # The schedule's first run of all would ask for days that the backfill is to ask for.
        settings = Settings(base_url=sim.base_url, data_dir=folder / "project" / "data")
        pull(Soundlink(settings, lambda _: KEY), PULLED_BEFORE, PULLED_BEFORE)
        seen = set[bytes]()
        with (
            watched_command_lines(seen) as watch,
            deployment(folder / "project", sim, SOUNDLINK_API_KEY=KEY, **alerts, **schedule) as here,
        ):
            story = Story(here, folder, receiver, watch, seen)
            if _is_wanted(request, "story"):
                story.begin()
            if _is_wanted(request, "ui_backfill"):
                story.ui_backfill = here.launch_backfill(BACKFILLED)
            yield story


@pytest.fixture(scope="package")
def here(begun: Story) -> Deployment:
    return begun.here


@pytest.fixture(scope="package")
def scheduled(here: Deployment) -> str:
    """The run of the schedule, which ticks every minute until it has launched one."""
    run_id = until(lambda: next(iter(here.scheduled_runs(SCHEDULE)), None), "the schedule asks for a run", 240)
    here.stop_schedule(SCHEDULE)
    return run_id


@pytest.fixture(scope="package")
def ui_backfill(begun: Story) -> str:
    """The backfill of `BACKFILLED`, launched as the UI does."""
    assert begun.ui_backfill is not None
    return begun.ui_backfill


@pytest.fixture(scope="package")
def quiet(request: pytest.FixtureRequest, begun: Story) -> Deployment:
    """Once the backfill has launched its runs and the story has run its commands: no other test's run is left."""
    if begun.ui_backfill:
        backfill_id = begun.ui_backfill
        until(lambda: len(begun.here.runs_of_backfill(backfill_id)) == 3, "the daemon launches the backfill's runs")
    if _is_wanted(request, "story"):
        begun.runs[SCHEDULED] = request.getfixturevalue("scheduled")
        begun.run_commands()
    begun.here.until_all_runs_ended()
    return begun.here


@pytest.fixture(scope="package")
def story(quiet: Deployment, scheduled: str, begun: Story) -> Story:
    """The whole story, its last alert sent."""
    begun.wait_for_alerts()
    begun.watch.set()
    return begun
