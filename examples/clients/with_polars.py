"""polars, by DuckDB's own package."""

import duckdb
from asked import FILE, answer


def ask(sql: str) -> object:
    with duckdb.connect(FILE, read_only=True) as connection:
        return connection.sql(sql).pl()["answer"][0]


answer(ask)
