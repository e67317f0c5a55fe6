"""Rows of a published database as dictionaries, for what the report reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

# One campaign, or all of them where the parameter is null.
OF_CAMPAIGN = "($campaign::varchar is null or campaign_id = $campaign)"

Row = dict[str, Any]


def rows(connection: duckdb.DuckDBPyConnection, sql: str, **values: object) -> list[Row]:
    result = connection.execute(sql, values or None)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def optional(connection: duckdb.DuckDBPyConnection, sql: str, **values: object) -> list[Row]:
    """The rows of a table that a database may lack."""
    try:
        return rows(connection, sql, **values)
    except duckdb.CatalogException:
        return []


def total(of: Sequence[Mapping[str, Any]], name: str) -> Any:
    """The sum of a column that may be added up: counts, or money of one currency."""
    return sum(row[name] for row in of)
