"""What a run has left in Dagster's storage."""

from __future__ import annotations

from typing import Any

import dagster as dg

from soundlink_pipeline_tests.support.project import Project


def materialized(here: Project, export: str) -> dict[str, dict[str, Any]]:
    """Metadata by partition, as the instance has recorded them."""
    records = here.instance.fetch_materializations(dg.AssetKey(export), limit=1000).records
    return {
        record.partition_key: {name: value.value for name, value in record.asset_materialization.metadata.items()}
        for record in reversed(records)
        if record.partition_key and record.asset_materialization
    }


def lines_of(here: Project, result: dg.ExecutionResult) -> list[str]:
    """What the run has logged in its own words, in order."""
    return [log.user_message for log in here.instance.all_logs(result.run_id) if not log.is_dagster_event]
