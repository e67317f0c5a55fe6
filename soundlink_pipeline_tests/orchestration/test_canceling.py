"""What a signal within a statement of DuckDB makes of a run: DuckDB swallows it, and raises an error of its own."""

from __future__ import annotations

import dagster as dg
import pytest

from soundlink_pipeline.orchestration import export_assets, jobs
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH, REBUILD
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.orchestration.run_tags import SHELL, STARTED_BY
from soundlink_pipeline_tests.support.project import Project

DAYS = {RANGE_START: "2026-02-20", RANGE_END: "2026-02-21"}


@pytest.mark.parametrize(
    ("job", "module", "name", "kept"),
    [
        (REBUILD, jobs, "rebuild", "Canceled: what is loaded stays"),
        (REBUILD, jobs, "publish_tested", "Canceled: what is loaded stays"),
        (DAILY_REFRESH, export_assets, "pull_range", "Canceled: deliveries that arrived whole are kept"),
    ],
)
@pytest.mark.parametrize("interrupted", [True, False])
def test_ctrl_c_within_a_statement_cancels_the_run_and_another_error_does_not(
    here: Project, monkeypatch: pytest.MonkeyPatch, job: str, module: object, name: str, kept: str, interrupted: bool
) -> None:
    def statement(*_: object, **__: object) -> None:
        raise RuntimeError("Query interrupted" if interrupted else "dictionary changed size")

    monkeypatch.setattr(module, name, statement)
    tags = {STARTED_BY: SHELL} | (DAYS if job == DAILY_REFRESH else {})
    result = here.execute(job, tags=tags, raise_on_error=False)
    run = here.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.status is (dg.DagsterRunStatus.CANCELED if interrupted else dg.DagsterRunStatus.FAILURE)
    assert any(kept in entry.user_message for entry in here.instance.all_logs(result.run_id)) is interrupted
