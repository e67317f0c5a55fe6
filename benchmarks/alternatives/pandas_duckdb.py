"""Plain pandas and DuckDB: each export into one data frame, then INSERT OR REPLACE on the declared primary key."""

from io import BytesIO

import duckdb
import pandas as pd
import requests
from job import Job, measure

# Else pandas guesses, and takes ids for numbers and dates for moments.
_DTYPES = {
    "VARCHAR": "str",
    "BIGINT": "Int64",
    "DOUBLE": "float64",
    "DECIMAL(18,6)": "float64",
    "DATE": "str",
    "TIMESTAMP": "str",
}


def load(job: Job) -> None:
    session = requests.Session()
    session.headers.update(job.headers)
    with duckdb.connect(job.database) as connection:
        for table in job.tables:
            dtypes = {name: _DTYPES[kind] for name, kind in table.columns.items()}
            frames = []
            for url in table.urls:
                answer = session.get(url, timeout=60)
                answer.raise_for_status()
                if answer.content:
                    body = BytesIO(answer.content)
                    frames.append(pd.read_json(body, lines=True, dtype=dtypes, convert_dates=False))
            frame = pd.concat(frames)
            columns = ", ".join(f"{name} {kind}" for name, kind in table.columns.items())
            connection.execute(f"create table {table.name} ({columns}, primary key ({', '.join(table.primary_key)}))")
            connection.register("frame", frame)
            connection.execute(f"insert or replace into {table.name} select {', '.join(table.columns)} from frame")
            connection.unregister("frame")


if __name__ == "__main__":
    measure(load)
