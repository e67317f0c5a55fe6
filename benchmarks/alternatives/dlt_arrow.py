"""dlt's fast path: a resource that yields Arrow tables, merged on the primary key into DuckDB."""

from collections.abc import Iterator
from io import BytesIO

import pyarrow as pa
from dlt.sources.helpers import requests
from dlt_ordinary import resource, run
from job import Job, Table, measure
from pyarrow import json as arrow_json

_TYPES = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "DECIMAL(18,6)": pa.decimal128(18, 6),
    "DATE": pa.timestamp("s"),  # what the reader can make of a date; cast below
    "TIMESTAMP": pa.timestamp("us"),
}


def load(job: Job) -> None:
    run(job, [resource(table, _tables(table, job)) for table in job.tables])


def _tables(table: Table, job: Job) -> Iterator[pa.Table]:
    schema = pa.schema([(name, _TYPES[kind]) for name, kind in table.columns.items()])
    final = pa.schema([(name, pa.date32() if kind == "DATE" else _TYPES[kind]) for name, kind in table.columns.items()])
    options = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    for url in table.urls:
        answer = requests.get(url, headers=job.headers)
        answer.raise_for_status()
        if answer.content:
            yield arrow_json.read_json(BytesIO(answer.content), parse_options=options).cast(final)


if __name__ == "__main__":
    measure(load)
