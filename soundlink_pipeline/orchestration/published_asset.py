"""The asset `published_database`: the file that analysts open, published at the end of every refresh."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from soundlink_pipeline.display.markdown import markdown_table
from soundlink_pipeline.models.errors import ModelError
from soundlink_pipeline.models.project import SqlProject
from soundlink_pipeline.orchestration.asset_checks import freshness_policy
from soundlink_pipeline.orchestration.canceling import as_cancellation
from soundlink_pipeline.orchestration.failures import as_operator_failure
from soundlink_pipeline.orchestration.model_assets import BROKEN_TAG
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import OWNER
from soundlink_pipeline.own_data.loading import OwnFile
from soundlink_pipeline.publishing.file_copy import Difference, NotPublished
from soundlink_pipeline.publishing.gate import publish_tested
from soundlink_pipeline.wording import counted

PUBLISHED = "published_database"
_SHOWN = 20
_EQUALS_WAREHOUSE = "equals_warehouse"
_EQUALS_DESCRIPTION = (
    "The published file has as many rows as the warehouse in every table, and the same sums and newest versions in the"
    " exports.\n\n**If not** (an error): another program writes to one of the two files. Close that program and"
    " materialize this asset again."
)
_OWN_FILES = "own_files_read"
_OWN_FILES_DESCRIPTION = (
    "Every file in the folder own of the data folder is a table of schema own in the published file, as it is now."
    "\n\n**If not** (a warning: the file is published all the same): the sample names each file and why it was not"
    " read. What was read of it before stays until it can be read again. Mend or remove the file and materialize this"
    " asset again."
)


def published_database(project: SqlProject, upstream: Iterable[str]) -> dg.AssetsDefinition:
    """The asset that publishes, once all of `upstream` (assets) have succeeded."""

    @dg.asset(
        name=PUBLISHED,
        deps=sorted(upstream),
        group_name="published",
        kinds={"duckdb", "file"},
        owners=[OWNER],
        tags={"layer": "published"},
        freshness_policy=freshness_policy(),
        check_specs=[
            dg.AssetCheckSpec(_EQUALS_WAREHOUSE, asset=PUBLISHED, description=_EQUALS_DESCRIPTION),
            dg.AssetCheckSpec(_OWN_FILES, asset=PUBLISHED, description=_OWN_FILES_DESCRIPTION),
        ],
        description=(
            "The database for analysts, soundlink.duckdb: a consistent copy of the warehouse with models, histories and"
            " ledger, replaced in one step. Programs that have the last file open continue to read it. Grain: one file."
        ),
    )
    def publish_database(
        context: dg.AssetExecutionContext, soundlink: dg.ResourceParam[Soundlink]
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows it without one only, beside checks
        with as_cancellation(context), as_operator_failure(NotPublished, ModelError):
            published = publish_tested(
                soundlink.warehouse,
                project,
                soundlink.published_path,
                run_id=context.run.run_id,
                now=datetime.now(UTC),
                log=context.log.info,
            )
        return dg.MaterializeResult(
            metadata={
                "newest report_date": str(published.newest_report_date or "none"),
                "newest settled report_date": str(published.newest_settled_date or "none"),
                "path": dg.MetadataValue.path(published.path),
                "MB": round(published.bytes / 1e6, 3),
                "seconds": round(published.seconds, 3),
                "tables": dg.MetadataValue.md(markdown_table(["table", "rows"], published.rows.items())),
            },
            check_results=[
                _equals_warehouse(published.differences, len(published.rows)),
                own_files_read(published.own_files),
            ],
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
        description=f"not equal: {counted(len(differences), 'figure')}" if differences else None,
        metadata=metadata,
    )


def own_files_read(files: Sequence[OwnFile]) -> dg.AssetCheckResult:
    """The check's result: a warning where the publication could not read one of the files."""
    unread = [file for file in files if file.problem]
    metadata: dict[str, Any] = {"files": len(files), "not read": len(unread)}
    if unread:
        rows = [(file.file, file.problem, file.table or "none") for file in unread[:_SHOWN]]
        metadata["sample"] = dg.MetadataValue.md(markdown_table(["file", "problem", "table, of before"], rows))
    return dg.AssetCheckResult(
        check_name=_OWN_FILES,
        passed=not unread,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"not read: {counted(len(unread), 'file')}" if unread else None,
        metadata=metadata,
    )


def last_assets(assets: Sequence[dg.AssetsDefinition | dg.AssetSpec]) -> list[str]:
    """The assets that no other depends on, without broken models: publication waits for them."""
    specs = [spec for a in assets for spec in (a.specs if isinstance(a, dg.AssetsDefinition) else [a])]
    needed = {dep.asset_key for spec in specs for dep in spec.deps}
    return [spec.key.to_user_string() for spec in specs if spec.key not in needed and BROKEN_TAG not in spec.tags]
