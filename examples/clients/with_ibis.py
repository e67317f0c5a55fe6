"""ibis: plain SQL, a table's expression, the list of tables, and SQL as an expression."""

from collections.abc import Callable
from typing import Any

import ibis
from asked import FILE, answer
from questions import QUESTIONS


def of_new_connection(question: Callable[[Any], object]) -> object:
    connection = ibis.duckdb.connect(FILE, read_only=True)
    try:
        return question(connection)
    finally:
        connection.disconnect()


def ask(sql: str) -> object:
    return of_new_connection(lambda connection: connection.raw_sql(sql).fetchall()[0][0])


answer(
    ask,
    **{
        "tables": lambda: of_new_connection(
            lambda connection: connection.table("campaign_daily", database="marts").streams.sum().execute()
        ),
        "list_tables()": lambda: of_new_connection(
            lambda connection: "campaign_daily" in connection.list_tables(database="marts")
        ),
        "sql()": lambda: of_new_connection(
            lambda connection: connection.sql(QUESTIONS["counts"]).execute()["answer"][0]
        ),
    },
)
