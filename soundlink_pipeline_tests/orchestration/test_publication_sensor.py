"""Exports loaded means models and published file follow: when the sensor asks for the run that builds and publishes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH, MODELS_AND_PUBLICATION
from soundlink_pipeline.orchestration.publication_sensor import publication_sensor
from soundlink_pipeline.orchestration.run_context import WHY
from soundlink_pipeline.publishing.file_copy import read_published
from soundlink_pipeline.simulator import BREAKDOWN, Fault
from soundlink_pipeline_tests.support.project import Project, job_of, project, utc

EXPORTS_ONLY = [dg.AssetKey(name) for name in ("campaigns", *(export.name for export in EXPORTS))]


class Sensor:
    """The sensor as the daemon evaluates it, tick after tick, with its cursor."""

    def __init__(self, here: Project) -> None:
        self.here = here
        self.cursor: str | None = None

    def tick(self) -> str | dict[str, str]:
        """The tags of the run it asks for, or why it asks for none."""
        resources = {"soundlink": self.here.soundlink}
        with dg.build_sensor_context(self.here.instance, self.cursor, resources=resources) as context:
            answer = publication_sensor().evaluate_tick(context)
        self.cursor = answer.cursor
        if not answer.run_requests:
            return str(answer.skip_message)
        (request,) = answer.run_requests
        return dict(request.tags)


@pytest.fixture
def sensor(here: Project) -> Sensor:
    return Sensor(here)


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project after a run of the exports alone."""
    folder = tmp_path_factory.mktemp("refreshed")
    with project(folder) as made:
        assert made.refresh("2026-02-20", "2026-02-21", asset_selection=EXPORTS_ONLY).success
    return folder


@pytest.fixture
def unpublished(tmp_path: Path, refreshed: Path) -> Iterator[Sensor]:
    """2026-02-20 and 21 have been loaded, and nothing is published."""
    with project(tmp_path, like=refreshed) as here:
        yield Sensor(here)


def loaded(here: Project) -> tuple[int, int]:
    """Deliveries in the warehouse and in the published file."""
    with read_published(here.data / "soundlink.duckdb") as connection:
        ((published,),) = connection.execute("select count(*) from deliveries").fetchall()
    ((held,),) = here.query("select count(*) from deliveries")
    return held, published


def test_exports_loaded_by_a_run_without_models_are_published_by_one_run(here: Project, sensor: Sensor) -> None:
    assert sensor.tick() == "The published file holds every loaded delivery."
    assert here.refresh("2026-02-20", "2026-02-21", asset_selection=EXPORTS_ONLY).success
    asked = sensor.tick()
    assert isinstance(asked, dict)
    assert asked[WHY] == "nothing is published yet"
    assert sensor.tick() == "No run has ended since the last look."
    assert here.execute(MODELS_AND_PUBLICATION).success
    held, published = loaded(here)
    assert held == published > 0
    assert sensor.tick() == "The published file holds every loaded delivery."
    assert here.refresh("2026-02-22", "2026-02-22").success  # builds and publishes by itself
    assert sensor.tick() == "The published file holds every loaded delivery."


def test_what_a_failed_refresh_has_loaded_is_published_too(here: Project, sensor: Sensor) -> None:
    assert here.refresh("2026-02-20", "2026-02-21").success
    refused = here.sim.world.campaigns[0].uuid
    here.sim.faults.add(Fault("status", campaign=refused, export=BREAKDOWN, status=404, code="campaign_not_found"))
    assert not here.refresh("2026-02-22", "2026-02-22").success
    asked = sensor.tick()
    assert isinstance(asked, dict)
    assert asked[WHY] == "exports were loaded by a run that built no models"


def test_a_run_that_did_not_publish_is_not_asked_for_again_and_again(unpublished: Sensor) -> None:
    here = unpublished.here
    assert isinstance(unpublished.tick(), dict)
    (here.data / "soundlink.duckdb").mkdir()
    assert not here.execute(MODELS_AND_PUBLICATION).success
    said = str(unpublished.tick())
    assert said.startswith(f"The last run of {MODELS_AND_PUBLICATION} did not publish: see why.")
    assert here.refresh("2026-02-22", "2026-02-22", asset_selection=EXPORTS_ONLY).success
    assert isinstance(unpublished.tick(), dict)


def test_rows_that_fail_a_blocking_check_are_not_published(unpublished: Sensor) -> None:
    here = unpublished.here
    export = EXPORTS[0]
    with here.soundlink.warehouse.write() as connection:
        connection.execute(f"insert into {export.name} select * from {export.name} limit 1")
    assert not here.refresh("2026-02-20", "2026-02-21").success
    said = str(unpublished.tick())
    assert said.startswith("Not published: ")
    assert f"of {export.name} failed." in said
    # A run that fails before it could look at the rows again changes nothing of that.
    here.sim.faults.add(Fault("status", status=401, code="invalid_api_key", times=None))
    assert not here.refresh("2026-02-22", "2026-02-22").success
    assert str(unpublished.tick()).startswith("Not published: ")


def test_while_a_run_goes_on_nothing_is_asked_for(unpublished: Sensor) -> None:
    here = unpublished.here
    job = job_of(DAILY_REFRESH, here.settings)
    going = here.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert unpublished.tick() == f"Run {going.run_id} ({DAILY_REFRESH}) is still going."
    here.instance.report_run_canceled(going)
    here.instance.create_run_for_job(job)  # made and never queued: it would wait for good
    assert isinstance(unpublished.tick(), dict)


@pytest.mark.parametrize("status", [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING])
def test_while_a_backfill_of_exports_goes_on_nothing_is_asked_for(
    unpublished: Sensor, status: BulkActionStatus
) -> None:
    def backfill(name: str, asset: str, status: BulkActionStatus) -> PartitionBackfill:
        chosen, moment = [dg.AssetKey(asset)], utc("2026-03-02T06:00").timestamp()
        return PartitionBackfill(name, status, False, {}, moment, None, asset_selection=chosen)

    instance = unpublished.here.instance
    instance.add_backfill(backfill("abcdefgh", BREAKDOWN, status))
    assert unpublished.tick() == "Backfill abcdefgh is still going: models are built once, when it has ended."
    instance.update_backfill(backfill("abcdefgh", BREAKDOWN, BulkActionStatus.CANCELED))
    instance.add_backfill(backfill("hgfedcba", "of_somebody_else", status))
    assert isinstance(unpublished.tick(), dict)


def test_a_cursor_that_cannot_be_read_is_begun_anew(unpublished: Sensor) -> None:
    unpublished.cursor = "[1"
    assert isinstance(unpublished.tick(), dict)
