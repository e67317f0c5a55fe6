"""dlt, as its documentation teaches it: a resource that yields pages of rows, merged on the primary key into DuckDB."""

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.sources.helpers import requests
from job import Job, Table, measure, rows_of

# It tells nobody, and nothing but errors.
os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}

_TYPES = {"VARCHAR": "text", "BIGINT": "bigint", "DOUBLE": "double", "DATE": "date", "TIMESTAMP": "timestamp"}


def load(job: Job) -> None:
    run(job, [resource(table, _pages(table, job), _hints(table)) for table in job.tables])


def run(job: Job, resources: list[Any]) -> None:
    """Extract, normalize and load all resources into the job's database."""
    with tempfile.TemporaryDirectory() as folder:
        destination = dlt.destinations.duckdb(job.database)
        pipeline = dlt.pipeline("exports", pipelines_dir=folder, destination=destination, dataset_name="exports")
        pipeline.run(resources).raise_on_failed_jobs()


def resource(table: Table, data: Iterator[Any], hints: Any = None) -> Any:
    key = table.primary_key
    return dlt.resource(data, name=table.name, write_disposition="merge", primary_key=key, columns=hints)


def _pages(table: Table, job: Job) -> Iterator[list[dict[str, Any]]]:
    for url in table.urls:
        answer = requests.get(url, headers=job.headers)
        answer.raise_for_status()
        yield list(rows_of(answer.content))


def _hints(table: Table) -> dict[str, Any]:
    return {name: _hint(kind) for name, kind in table.columns.items()}


def _hint(kind: str) -> dict[str, Any]:
    if kind.startswith("DECIMAL"):
        return {"data_type": "decimal", "precision": 18, "scale": 6}
    return {"data_type": _TYPES[kind], "timezone": False} if kind == "TIMESTAMP" else {"data_type": _TYPES[kind]}


if __name__ == "__main__":
    measure(load)
