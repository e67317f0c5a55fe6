"""The side of the pipeline: its own runner, over the same folder and warehouse."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.models.binding import check_models
from soundlink_pipeline.models.build import TestResult, build_model, run_tests
from soundlink_pipeline.models.errors import ModelError
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.models.same_as_dbt.outcome import ModelOutcome, Outcome, TestKey, Verdict, relations

# The pipeline's own test of each model's grain.
_GRAIN = "unique_grain"


def run(
    folder: Path, warehouse: Path, dates: DateRange | None = None, environment: Mapping[str, str] | None = None
) -> Outcome:
    """Build and test the project."""
    project = read_project(folder, environment or {})
    check_models(project)
    models = {name: ModelOutcome(None, reason=str(error)) for name, error in project.errors.items()}
    tests: dict[TestKey, Verdict] = {}
    file = NativeFile(warehouse.parent)
    with file.write() as connection:
        for model in project.models.values():
            try:
                build_model(connection, project, model, dates)
            except ModelError as error:
                models[model.name] = ModelOutcome(None, reason=str(error))
                continue
            if model.materialized != "ephemeral":  # dbt tells nothing of one
                models[model.name] = ModelOutcome((model.schema, model.alias), model.tags, model.config.meta())
            for result in run_tests(connection, project, model):
                test = result.test
                if test.name != _GRAIN:
                    tests["" if test.singular else test.of, test.name] = _verdict(result)
    return Outcome(models, tests, relations(warehouse), said=tuple(map(str, project.notices)))


def _verdict(result: TestResult) -> Verdict:
    return Verdict(result.outcome, result.bad_rows if result.outcome in ("warn", "fail") else None, result.reason)
