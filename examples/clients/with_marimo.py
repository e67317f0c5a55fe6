"""A marimo notebook's SQL cell, with polars."""

import duckdb
import marimo
from asked import FILE, answer


def ask(sql: str) -> object:
    with duckdb.connect(FILE, read_only=True) as connection:
        return marimo.sql(sql, engine=connection, output=False)["answer"][0]


answer(ask)
