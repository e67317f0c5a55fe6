"""The asset `published_database`: last in every refresh, the file that analysts open."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import duckdb

from soundlink_pipeline.contracts.days import DateRange, last_closed_day
from soundlink_pipeline.display.markdown import markdown_table
from soundlink_pipeline.models.build import build_models, failed_tests, models_behind
from soundlink_pipeline.models.project import SqlProject
from soundlink_pipeline.models.templates import Problem
from soundlink_pipeline.orchestration.asset_checks import freshness_policy
from soundlink_pipeline.orchestration.failures import told_to_people
from soundlink_pipeline.orchestration.model_assets import BROKEN
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import OWNER, POOL
from soundlink_pipeline.publishing.file_copy import Difference, NotPublished, publish

PUBLISHED = "published_database"
_SHOWN = 20
_EQUALS_WAREHOUSE = "equals_warehouse"
_EQUALS_SAYS = (
    "The published file has as many rows as the warehouse in every table, and the same sums and newest versions in the"
    " exports.\n\n**If not** (an error): somebody writes to one of the two files. Close it there and materialize this"
    " asset again."
)


def published_database(project: SqlProject, upstream: Iterable[str]) -> dg.AssetsDefinition:
    """The publication, once all of `upstream` (assets) has succeeded."""

    @dg.asset(
        name=PUBLISHED,
        deps=sorted(upstream),
        group_name="published",
        kinds={"duckdb", "file"},
        owners=[OWNER],
        tags={"layer": "published"},
        freshness_policy=freshness_policy(),
        check_specs=[dg.AssetCheckSpec(_EQUALS_WAREHOUSE, asset=PUBLISHED, description=_EQUALS_SAYS)],
        pool=POOL,
        description=(
            "The database for analysts, soundlink.duckdb: a consistent copy of the warehouse with models, histories and"
            " ledger, replaced in one step. Whoever has the last one open goes on reading it. Grain: one file."
        ),
    )
    def publish_database(
        context: dg.AssetExecutionContext, soundlink: dg.ResourceParam[Soundlink]
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows it without one only, beside checks
        def bring_models_up(connection: duckdb.DuckDBPyConnection) -> None:
            if models_behind(connection, project):
                context.log.info("rebuilding models first: another run loaded data after this run built them")
                newest = last_closed_day(datetime.now(UTC))
                build_models(connection, project, DateRange(newest, newest))
                if wrong := failed_tests(connection, project):
                    raise NotPublished("; ".join(f"{item.test.model}: {item}" for item in wrong))

        # Another run may have loaded since our models were built: what is published is of one state.
        with told_to_people(NotPublished, Problem), soundlink.warehouse.turn():
            published = publish(
                soundlink.warehouse,
                soundlink.published_path,
                run_id=context.run.run_id,
                now=datetime.now(UTC),
                before=bring_models_up,
            )
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(published.path),
                "MB": round(published.bytes / 1e6, 3),
                "seconds": round(published.seconds, 3),
                "newest report_date": str(published.newest_report_date or "none"),
                "newest settled report_date": str(published.newest_settled_date or "none"),
                "tables": dg.MetadataValue.md(markdown_table(["table", "rows"], published.rows.items())),
            },
            check_results=[_equals_warehouse(published.differences, len(published.rows))],
        )

    return publish_database


def _equals_warehouse(differences: Sequence[Difference], tables: int) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {"tables": tables, "differences": len(differences)}
    if differences:
        metadata["sample"] = dg.MetadataValue.md(
            markdown_table(
                [field.name for field in fields(Difference)], [astuple(found) for found in differences[:_SHOWN]]
            )
        )
    return dg.AssetCheckResult(
        check_name=_EQUALS_WAREHOUSE,
        passed=not differences,
        description=f"{len(differences)} figures differ" if differences else None,
        metadata=metadata,
    )


def last_assets(assets: Sequence[dg.AssetsDefinition | dg.AssetSpec]) -> list[str]:
    """The assets that no other needs, broken models apart: what has to be done before the publication."""
    specs = [spec for a in assets for spec in (a.specs if isinstance(a, dg.AssetsDefinition) else [a])]
    needed = {dep.asset_key for spec in specs for dep in spec.deps}
    return [spec.key.to_user_string() for spec in specs if spec.key not in needed and spec.group_name != BROKEN]
