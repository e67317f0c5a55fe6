"""Row by row, as the vendor's connector loads: INSERT OR REPLACE on the declared primary key, one row at a time."""

import duckdb
import requests
from job import Job, Table, measure, rows_of


def load(job: Job) -> None:
    with duckdb.connect(job.database) as connection:
        for table in job.tables:
            columns = ", ".join(f"{name} {kind}" for name, kind in table.columns.items())
            key = ", ".join(table.primary_key)
            connection.execute(f"create table {table.name} ({columns}, primary key ({key}))")
            _load(connection, table, job)


def _load(connection: duckdb.DuckDBPyConnection, table: Table, job: Job) -> None:
    insert = f"insert or replace into {table.name} values ({', '.join('?' * len(table.columns))})"
    loaded = 0
    for url in table.urls:
        answer = requests.get(url, headers=job.headers, timeout=60)
        answer.raise_for_status()
        for row in rows_of(answer.content):
            if job.rows is not None and loaded == job.rows:
                return
            connection.execute(insert, [row[name] for name in table.columns])
            loaded += 1


if __name__ == "__main__":
    measure(load)
