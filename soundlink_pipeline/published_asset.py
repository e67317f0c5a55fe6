"""The asset `published_database`: last in every refresh, the file that analysts open. Thin face of `publishing.py`."""

from collections.abc import Iterable
from datetime import UTC, datetime

import dagster as dg
import pandas as pd

from soundlink_pipeline.assets import POOL, told_to_people
from soundlink_pipeline.publishing import NotPublished, publish
from soundlink_pipeline.resources import Soundlink


def published_database(upstream: Iterable[str]) -> dg.AssetsDefinition:
    """The publication, once all of `upstream` (assets) has succeeded."""

    @dg.asset(
        name="published_database",
        deps=sorted(upstream),
        group_name="published",
        kinds={"duckdb", "file"},
        pool=POOL,
        description=(
            "The database for analysts, soundlink.duckdb: a consistent copy of the warehouse with models, histories and"
            " ledger, replaced in one step. Whoever has the last one open goes on reading it. Grain: one file."
        ),
    )
    def publish_database(
        context: dg.AssetExecutionContext, soundlink: dg.ResourceParam[Soundlink]
    ) -> dg.MaterializeResult[None]:
        with told_to_people(NotPublished):
            published = publish(
                soundlink.warehouse, soundlink.published_path, run_id=context.run.run_id, now=datetime.now(UTC)
            )
        rows = pd.Series(published.rows, dtype=int).rename("rows")
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(published.path),
                "MB": round(published.bytes / 1e6, 3),
                "seconds": round(published.seconds, 3),
                "newest report_date": str(published.newest_report_date or "none"),
                "newest settled report_date": str(published.newest_settled_date or "none"),
                "tables": dg.MetadataValue.md(rows.to_markdown()),
            }
        )

    return publish_database
