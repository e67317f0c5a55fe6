"""The floor: bare DuckDB reads the same bytes from local files into keyless tables, with the declared columns."""

import duckdb
from job import Job, measure


def load(job: Job) -> None:
    with duckdb.connect(job.database) as connection:
        for table in job.tables:
            columns = ", ".join(f"{name}: '{kind}'" for name, kind in table.columns.items())
            read = f"read_json({table.files!r}, format = 'newline_delimited', columns = {{{columns}}})"
            connection.execute(f"create table {table.name} as from {read}")


if __name__ == "__main__":
    measure(load)
