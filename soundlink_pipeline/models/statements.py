"""The SQL of models and tests as statements: one query each, whatever is in a file, and errors with the file's line."""

from __future__ import annotations

import re
from itertools import accumulate
from pathlib import Path

import duckdb

from soundlink_pipeline.models.errors import ModelError
from soundlink_pipeline.models.templates import Rendered

# DuckDB is of no more use after these.
FATAL = (duckdb.FatalException, duckdb.InternalException)
# DuckDB takes no more; the time that its parser takes for thousands that are never closed grows with their square.
_DEEPEST = 1000
_SIGN, _STEP = re.compile("[()]"), {"(": 1, ")": -1}


def statement(before: str, query: Rendered, path: Path, after: str = "") -> duckdb.Statement:
    """`before (query) after`: as dbt puts a model or a test into a statement. Raises ModelError.

    What is no single query is refused here, before anything of it runs.
    """
    if query.sql.count("(") > _DEEPEST and max(accumulate(_STEP[sign] for sign in _SIGN.findall(query.sql))) > _DEEPEST:
        raise ModelError(path, None, f"has parentheses within parentheses, more than {_DEEPEST:,} deep")
    try:
        found = duckdb.extract_statements(f"{before} (\n{query.sql}\n) {after}")
    except duckdb.Error as error:
        raise _objection(query, path) or sql_error(path, error, query) from None
    if len(found) != 1:
        raise _objection(query, path) or ModelError(path, None, "is not one query")
    return found[0]


def _objection(query: Rendered, path: Path) -> ModelError | None:
    """What is wrong with the text as a query of its own, if it is SQL at all."""
    try:
        parts = duckdb.extract_statements(query.sql)
    except duckdb.Error:
        return None
    if not parts:
        return ModelError(path, None, "holds no query: comments only, or nothing")
    kinds = [part.type.name for part in parts]
    if len(parts) > 1:
        line = query.source_line(parts[0].query.count("\n") + 1)
        return ModelError(path, line, f"holds {len(parts)} statements: a model or a test is one query")
    if kinds[0] not in ("SELECT", "MULTI"):
        return ModelError(path, None, f"is a statement {kinds[0]}: a model or a test is a query")
    if ";" in query.sql:
        line = query.source_line(query.sql.count("\n", 0, query.sql.rindex(";")) + 1)
        return ModelError(path, line, 'Parser Error: a query here, as in dbt, must not end in ";"')
    return None


def sql_error(path: Path, error: duckdb.Error, query: Rendered | None = None) -> ModelError:
    """DuckDB's error, with the file's line where DuckDB names one of the query's."""
    message = str(error)
    line = re.search(r"LINE (\d+):", message)
    found = None
    if line and query is not None:
        found = query.source_line(int(line[1]) - 1)  # the query begins in the statement's second line
    return ModelError(path, found, message.splitlines()[0] if message else type(error).__name__)
