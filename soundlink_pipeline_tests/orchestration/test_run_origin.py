"""Runs that a command executes itself have an origin, and every run has tags that say what it is for."""

from __future__ import annotations

import shutil

import dagster as dg
import pytest

from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.orchestration.run_origin import execute_here
from soundlink_pipeline.orchestration.run_tags import days_tags, described, own_tags
from soundlink_pipeline_tests.support.project import QUIET, REPOSITORY, Project, job_of

DAYS = {RANGE_START: "2026-02-01", RANGE_END: "2026-02-03"}


def test_a_run_of_a_command_belongs_to_the_code_location_that_the_ui_serves(here: Project) -> None:
    project_folder = here.folder / "project"
    project_folder.mkdir()
    shutil.copy(REPOSITORY / "workspace.yaml", project_folder)
    job = job_of("daily_refresh", here.settings)
    done = execute_here(job, here.instance, started_by="demo", tags=DAYS, run_config=QUIET, folder=project_folder)
    assert done.success
    stored = here.instance.get_run_by_id(done.run_id)
    assert stored is not None
    assert stored.remote_job_origin is not None
    # What `dagster dev` calls the location that this workspace.yaml names.
    assert stored.remote_job_origin.repository_origin.get_label() == "__repository__@soundlink_pipeline.definitions"
    assert stored.remote_job_origin.job_name == "daily_refresh"
    assert {name: value for name, value in stored.tags.items() if name.startswith("soundlink/")} == {
        "soundlink/days": "2026-02-01 to 02-03",
        "soundlink/number_of_days": "3",
        "soundlink/started_by": "demo",
    }


def test_a_folder_that_names_its_location_is_taken_at_its_word(here: Project) -> None:
    location = (
        "load_from:\n  - python_module:\n      module_name: soundlink_pipeline.definitions\n      location_name: ours\n"
    )
    (here.folder / "workspace.yaml").write_text(location)
    job = job_of("freshness", here.settings)
    run = execute_here(job, here.instance, run_config=QUIET, folder=here.folder).dagster_run
    assert run.remote_job_origin is not None
    assert run.remote_job_origin.location_name == "ours"


@pytest.mark.parametrize(
    ("tags", "parent", "job", "said"),
    [
        (DAYS | {"dagster/schedule_name": "s"}, None, "daily_refresh", ("2026-02-01 to 02-03", "3", "schedule")),
        (DAYS | {"dagster/backfill": "abc"}, None, "__ASSET_JOB", ("2026-02-01 to 02-03", "3", "UI backfill")),
        ({"dagster/partition": "2026-02-01"}, None, "__ASSET_JOB", ("2026-02-01", "1", "shell")),
        (DAYS | {"soundlink/started_by": "demo"}, None, "daily_refresh", ("2026-02-01 to 02-03", "3", None)),
        (DAYS | {"soundlink/started_by": "shell"}, "p", "j", ("2026-02-01 to 02-03", "3", "re-execution")),
        (DAYS | {"dagster/retry_number": "1"}, "p", "j", ("2026-02-01 to 02-03", "3", "automatic retry")),
        ({RANGE_START: "a day", RANGE_END: "another"}, None, "j", (None, None, "shell")),
        ({RANGE_START: "2026-02-03", RANGE_END: "2026-02-01"}, None, "j", (None, None, "shell")),
    ],
)
def test_a_run_lacks_the_tags_that_dagster_could_not_know(
    tags: dict[str, str], parent: str | None, job: str, said: tuple[str | None, ...]
) -> None:
    run = dg.DagsterRun(job, tags=tags, parent_run_id=parent, root_run_id=parent)
    own = own_tags(run)
    assert tuple(own.get(f"soundlink/{name}") for name in ("days", "number_of_days", "started_by")) == said


def test_a_run_is_described_by_its_job_its_days_and_who_started_it() -> None:
    run = dg.DagsterRun("__ASSET_JOB", tags={"dagster/partition": "2026-02-01", "dagster/backfill": "b"})
    assert described(run) == "materialization, 2026-02-01, started by UI backfill"
    assert described(dg.DagsterRun("rebuild_from_landing")) == "rebuild_from_landing, started by shell"
    assert days_tags({}) == {}
