"""The SQL models as assets: lineage, documentation and checks all come from the folder of SQL files.

No model is partitioned: an incremental one rebuilds the days that were loaded since its last build, by whichever run,
for the ledger tells them. So one build follows however many runs of a backfill. All are built in one step, since a step
takes longer than most models do; a model that fails stops only its dependents.
"""

import itertools
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import duckdb

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.table import Table
from soundlink_pipeline.display.markdown import markdown_table
from soundlink_pipeline.display.trend import table_trend
from soundlink_pipeline.models.build import Built, build_model, days_to_build, drop_removed_models
from soundlink_pipeline.models.errors import ModelError, readable, shown
from soundlink_pipeline.models.names import ASSETS, as_asset_name
from soundlink_pipeline.models.project import Model, SqlProject
from soundlink_pipeline.models.standing import Standing
from soundlink_pipeline.models.tests import DataTest
from soundlink_pipeline.models.verdicts import SHOWN_ROWS, TestResult, run_tests
from soundlink_pipeline.orchestration.canceling import as_cancellation, is_interruption
from soundlink_pipeline.orchestration.column_schema import COLUMNS, column_schema
from soundlink_pipeline.orchestration.failures import as_operator_failure
from soundlink_pipeline.orchestration.partition_pages import larger_picture, newest_days
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import OWNER
from soundlink_pipeline.warehouse.home import WarehouseUnusable
from soundlink_pipeline.warehouse.sql import is_of_the_file
from soundlink_pipeline.wording import counted

# The check of a model's tests from YAML.
DATA_TESTS = "data_tests"
# The group of models that cannot be built, and the tag that tells them apart: a model's schema may have this name, too.
BROKEN = "broken"
BROKEN_TAG = "soundlink/broken"


def build_model_assets(project: SqlProject, tables: Mapping[str, Table]) -> list[dg.AssetsDefinition]:
    """One asset per model, and one per error, which fails with its reason. `tables`: what each model makes."""
    with warnings.catch_warnings():
        # Accepted: DECISIONS.md, "Dagster".
        warnings.filterwarnings("ignore", message="Class `.*CodeRef", category=dg.BetaWarning)
        specs = _specs(project, tables)
        models = [_models(project, specs)] if specs else []
        taken = {name.lower() for name in project.models} | ASSETS
        broken = []
        for name, error in project.errors.items():
            free = next(found for found in _numbered(as_asset_name(name)) if found.lower() not in taken)
            taken.add(free.lower())
            broken.append(_broken(free, error))
        return models + broken


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}_{number}" for number in itertools.count(2))


def _specs(project: SqlProject, tables: Mapping[str, Table]) -> dict[str, dg.AssetSpec]:
    """The models as assets. One that Dagster does not take becomes an error of the project, with its dependents."""
    while True:
        specs = {}
        for model in list(project.models.values()):
            try:
                specs[model.name] = _spec(project, model, tables[model.name])
            except Exception as error:  # Dagster has rules of its own for each part
                reason = f"Dagster does not take it as an asset: {' '.join(str(error).split())}"
                project.exclude(model.name, ModelError(model.path, None, reason))
                break
        else:
            return specs


def _models(project: SqlProject, specs: Mapping[str, dg.AssetSpec]) -> dg.AssetsDefinition:
    models = list(project.models.values())

    @dg.multi_asset(
        name="models",
        specs=list(specs.values()),
        check_specs=[
            dg.AssetCheckSpec(name, asset=model.name, description=readable(_description(tests)))
            for model in models
            for name, tests in _checks(project.tests_of(model)).items()
        ],
        can_subset=True,
    )
    def build(
        context: dg.AssetExecutionContext, soundlink: dg.ResourceParam[Soundlink]
    ) -> Iterator[dg.MaterializeResult[None]]:
        selected = [model for model in models if dg.AssetKey(model.name) in context.selected_asset_keys]
        failed: dict[str, str] = {}
        with as_cancellation(context), as_operator_failure(), soundlink.warehouse.write() as connection:
            for table in drop_removed_models(connection, project):
                context.log.info(f"dropped {table}: its model file was removed")
            dates, standing = days_to_build(connection, project), Standing(connection, project)
            for model in selected:
                try:
                    yield _build(context, connection, project, model, dates, standing=standing, failed=failed)
                except ModelError as error:
                    failed[model.name] = str(error)
                except WarehouseUnusable:  # not of this model
                    raise
                except Exception as error:  # whatever it is, it costs this model only
                    if is_interruption(error) or (isinstance(error, duckdb.Error) and is_of_the_file(error)):
                        raise
                    reason = " ".join(str(error).split())
                    failed[model.name] = f"{readable(model.path)}: {type(error).__name__}: {readable(reason)}"
                    if standing.state(model):
                        standing.note_failed(model)  # built, perhaps, but not tested
            standing.save(connection)
        if failed:
            reasons = "\n".join(f"{name}: {reason}" for name, reason in failed.items())
            raise dg.Failure(
                f"{len(failed)} of {counted(len(selected), 'model')} failed; models that need none of them are built.\n"
                + reasons,
                allow_retries=False,
            )

    return build


def _build(
    context: dg.AssetExecutionContext,
    connection: duckdb.DuckDBPyConnection,
    project: SqlProject,
    model: Model,
    dates: DateRange | None,
    *,
    standing: Standing,
    failed: dict[str, str],
) -> dg.MaterializeResult[None]:
    """Build one model and run its tests; adds blocking results to `failed`. Raises ModelError if it cannot be built."""
    needed = next((name for name in model.refs if name in failed), None)
    if needed is not None:
        raise ModelError(model.path, None, f"not built: it depends on {needed}")
    try:
        built = build_model(connection, project, model, dates, standing)
    except ModelError:
        if unbuilt := _unbuilt(connection, project, model):
            raise _comes_first(unbuilt, model) from None
        raise
    wanted = {key.name for key in context.selected_asset_check_keys if key.asset_key == dg.AssetKey(model.name)}
    results = []
    if wanted:
        window = built.dates or (dates if model.materialized == "view" else None)
        tested = {item.test.name: item for item in run_tests(connection, project, model, window)}
        for name, tests in _checks(project.tests_of(model)).items():
            if name in wanted:
                results.append(_check_result(model, name, [tested[test.name] for test in tests]))
        blocking = [str(item) for item in tested.values() if item.blocks]
        if blocking:
            standing.note_failed(model)
            failed[model.name] = "; ".join(blocking)
    return dg.MaterializeResult(asset_key=model.name, metadata=_metadata(connection, built), check_results=results)


def _unbuilt(connection: duckdb.DuckDBPyConnection, project: SqlProject, model: Model) -> list[str]:
    """The models that this one reads and that are not in the database."""
    there = connection.execute(
        "select table_schema || '.' || table_name from information_schema.tables"
        " where table_catalog = current_database()"
    ).fetchall()
    read = [project.models[name] for name in model.refs if name in project.models]
    return [other.name for other in read if (other.table,) not in there]


def _comes_first(unbuilt: Sequence[str], model: Model) -> ModelError:
    """For a model that was materialized alone, before those it reads have ever been."""
    return ModelError(
        model.path,
        None,
        f"not built: it reads {' and '.join(unbuilt)}, which nobody has materialized yet. Materialize first what it"
        f" reads, or all of it together (in the UI: select +{model.name})",
    )


def _checks(tests: Sequence[DataTest]) -> dict[str, list[DataTest]]:
    """The tests by the check that shows them: those from YAML in one, as an event each would take longer than they.

    One that cannot be run has a check of its own.
    """
    checks: dict[str, list[DataTest]] = {}
    for test in tests:
        checks.setdefault(test.name if test.singular or test.error else DATA_TESTS, []).append(test)
    return checks


def _description(tests: Sequence[DataTest]) -> str:
    if len(tests) == 1 and tests[0].error:
        return f"Cannot be run. {tests[0].error}"
    return "\n\n".join(test.description if test.singular else f"`{test.name}`: {test.description}" for test in tests)


def _check_result(model: Model, name: str, tested: Sequence[TestResult]) -> dg.AssetCheckResult:
    """Fails with severity ERROR if one of its tests does; with WARN if one warns, or cannot be run."""
    failed = [item for item in tested if not item.passed]
    severe = not failed or any(item.blocks for item in failed)
    metadata: dict[str, Any] = {"tests": len(tested), "bad rows": sum(item.bad_rows for item in failed)}
    for item in failed:
        if item.outcome == "error":
            metadata[item.test.name] = dg.MetadataValue.text(readable(f"cannot be run: {item.reason}"))
            continue
        of_many = f", the first {SHOWN_ROWS} of {item.bad_rows}" if item.bad_rows > SHOWN_ROWS else ""
        sample = markdown_table(item.columns, item.rows)
        metadata[item.test.name] = dg.MetadataValue.md(f"{item.test.description} Failing rows{of_many}:\n\n{sample}")
        metadata[f"{item.test.name}, SQL"] = _sql(item.sql)
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=model.name,
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
        description="\n".join(_said(item) for item in failed) or None,
        metadata=metadata,
    )


def _said(failed: TestResult) -> str:
    """What a failed test found, with its first row: which account, campaign or day it is about."""
    first = next(iter(failed.rows), ())
    values = ", ".join(f"{name} {_in_words(value)}" for name, value in zip(failed.columns, first, strict=bool(first)))
    return readable(f"{failed}; the first: {values}" if values else failed)


def _in_words(value: Any) -> str:
    """A value on one line, and no more than a reader wants of it; in words what would leave a gap."""
    if value is None:
        return "is null"
    return " ".join(str(value).split())[:_SHOWN] or "is empty"


def _spec(project: SqlProject, model: Model, table: Table) -> dg.AssetSpec:
    sources = {asset for source in model.sources for asset in source.assets if asset != model.name}
    kind = model.materialized if model.materialized in ("view", "ephemeral") else "table"
    metadata: dict[str, Any] = {
        "dagster/table_name": model.table,
        "materialized": model.materialized,
        "grain": ", ".join(model.grain),
    }
    if model.path.as_posix() == readable(model.path.as_posix()):
        code = dg.LocalFileCodeReference(file_path=str(model.path), line_number=1, label="SQL")
        metadata["dagster/code_references"] = dg.CodeReferencesMetadataValue(code_references=[code])
    if model.tags:
        metadata["tags"] = readable(", ".join(model.tags))
    if further := {key: value for key, value in model.config.meta().items() if key not in ("grain", "chart", "owner")}:
        metadata["meta"] = readable(shown(further))
    description = model.description
    if notices := list(dict.fromkeys(map(str, project.notices_of(model)))):
        metadata["not honoured"] = dg.MetadataValue.md("\n".join(f"- {notice}" for notice in notices))
        description = "\n\n".join([description, *notices])
    metadata[COLUMNS] = column_schema(table)
    return dg.AssetSpec(
        model.name,
        deps=sorted({*model.refs, *sources}),
        group_name=as_asset_name(model.schema),
        kinds={"sql", "duckdb", kind},
        owners=[model.owner or OWNER],
        tags={**{tag: "" for tag in model.tags if _TAG.fullmatch(tag)}, "layer": as_asset_name(model.schema)[:63]},
        description=readable(description),
        metadata=metadata,
    )


# How much of a value stands in a sentence.
_SHOWN = 60
# The tags that Dagster accepts.
_TAG = re.compile(r"[A-Za-z0-9_.-]{1,63}")


def _metadata(connection: duckdb.DuckDBPyConnection, built: Built) -> dict[str, Any]:
    """What the model's page shows, in this order."""
    trend = table_trend(connection, built.model.relation, built.model.charted) if built.model.charted else None
    figures: dict[str, Any] = {"seconds": round(built.seconds, 3)}
    if built.rows is not None:
        rows = built.rows
        if built.dates is not None:
            ((rows,),) = connection.execute(f"select count(*) from {built.model.relation}").fetchall()
        figures = {
            "rows built": built.rows,
            "days built": str(built.dates or "all"),
            **figures,
            "dagster/row_count": rows,
        }
    return {**newest_days(trend), **figures, **larger_picture(trend), "compiled SQL": _sql(built.sql)}


def _sql(text: str) -> dg.MarkdownMetadataValue:
    # Rendering keeps the file's line numbers, so it leaves empty lines; a reader need not see them.
    shown = re.sub(r"\n\s*\n\s*\n+", "\n\n", text.strip())
    return dg.MetadataValue.md(f"```sql\n{shown}\n```")


def _broken(name: str, error: ModelError) -> dg.AssetsDefinition:
    """Takes the place of a model that cannot be built; fails with the reason."""

    # Its step has a name that no asset's step has.
    @dg.multi_asset(
        name=f"broken__{name}",
        specs=[
            dg.AssetSpec(
                name,
                group_name=BROKEN,
                description=f"Cannot be built. {error}",
                kinds={"sql"},
                owners=[OWNER],
                tags={BROKEN_TAG: "true"},
            )
        ],
    )
    def broken() -> None:
        raise dg.Failure(str(error), allow_retries=False)

    return broken
