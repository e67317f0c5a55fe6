"""Builds the SQL models in the warehouse and asks their tests. `models/project.py` says what models there are.

Every model is built in one transaction: as it was or as it is now, never half. An incremental model that stands
rebuilds the days it is told, and those loaded since it was last built (by a run that failed before it came to models).
One whose SQL has changed since, or that is not there yet, is built in full.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import DATE_COLUMN, Export
from soundlink_pipeline.contracts.table import Column, Table
from soundlink_pipeline.models.project import Model, SqlProject
from soundlink_pipeline.models.templates import Problem
from soundlink_pipeline.models.tests import DataTest
from soundlink_pipeline.warehouse.sql import cannot_write, quote, transaction
from soundlink_pipeline.warehouse.tables import create, warehouse_tables

SHOWN_ROWS = 10
# What each model in the warehouse was made from: its SQL, and the last delivery there was; the pipeline's own, not
# published.
STATE_TABLE = "_model_state"
_CREATE_STATE = f"create table if not exists {STATE_TABLE} (model VARCHAR, fingerprint VARCHAR, load_order BIGINT)"


@dataclass(frozen=True)
class Built:
    """What building a model did. `rows`: None of a view, which holds none. `dates`: None where it was built in full."""

    model: Model
    dates: DateRange | None
    rows: int | None
    seconds: float
    sql: str


@dataclass(frozen=True)
class Tested:
    """What a test found: how many bad rows, and the first SHOWN_ROWS of them, as `columns` and `rows`."""

    test: DataTest
    sql: str
    bad_rows: int = 0
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()

    @property
    def passed(self) -> bool:
        return self.bad_rows == 0

    @property
    def severe(self) -> bool:
        """Whether what it found must keep the numbers from being shown."""
        return not self.passed and self.test.severity == "error"

    def __str__(self) -> str:
        return f"{self.bad_rows} rows fail {self.test.name} ({self.test.description})"


def check_models(project: SqlProject, exports: Iterable[Export] = EXPORTS) -> dict[str, Table]:
    """Every model as the table or view it makes, found by binding all of them to an empty warehouse.

    What does not parse or bind, and documented columns that are not there, become problems of the project.
    """
    tables: dict[str, Table] = {}
    connection = duckdb.connect(":memory:")
    try:
        for table in warehouse_tables(exports):
            connection.execute(create(table))
        for model in list(project.models.values()):
            if model.name not in project.models:
                continue  # given up with one it needs
            try:
                tables[model.name] = _bind(connection, project, model)
            except Problem as problem:
                project.give_up(model.name, problem)
        for test in project.tests:
            if test.singular:
                _bind_test(connection, project, test)
        project.tests = [test for test in project.tests if test.name not in project.problems]
    finally:
        connection.close()
    return tables


def _bind(connection: duckdb.DuckDBPyConnection, project: SqlProject, model: Model) -> Table:
    """What the model makes. It then stands as an empty table: views upon views would be bound anew by each user."""
    try:
        sql = project.render(model, incremental=model.materialized == "incremental")
        described = connection.execute(f"describe {sql}").fetchall()
    except duckdb.Error as error:
        raise _sql_problem(model.path, error) from None
    found = {str(name): str(type) for name, type, *_ in described}
    columns = ", ".join(f'"{name}" {type}' for name, type in found.items())
    connection.execute(f"create schema if not exists {model.schema}; create table {model.table} ({columns})")
    for name in model.columns:
        if name not in found:
            reason = f"describes the column {name}, which {model.name} does not have; it has {', '.join(found)}"
            raise model.problem(reason, column=name)
    for what, names in (("grain", model.grain), ("chart", model.charted)):
        for name in names:
            if name not in found:
                raise model.problem(f"the {what} of {model.name} names {name}, which it does not have")
    if model.charted and not {DATE_COLUMN, "is_settled"} <= found.keys():
        raise model.problem(f"{model.name} has a chart, which needs the columns {DATE_COLUMN} and is_settled")
    tests = {test.name for test in project.tests_of(model)}
    return Table(
        name=model.table,
        kind=model.materialized,
        meaning=model.description,
        grain=model.grain,
        columns=tuple(
            Column(name, type, model.columns.get(name, ""), nullable=False if f"not_null_{name}" in tests else None)
            for name, type in found.items()
        ),
    )


def _bind_test(connection: duckdb.DuckDBPyConnection, project: SqlProject, test: DataTest) -> None:
    try:
        connection.execute(f"describe {project.render_test(test)}")
    except duckdb.Error as error:
        project.problems[test.name] = _sql_problem(test.path, error)
    except Problem as problem:
        project.problems[test.name] = problem


def _sql_problem(path: Path, error: duckdb.Error) -> Problem:
    message = str(error)
    line = re.search(r"LINE (\d+):", message)
    return Problem(path, int(line[1]) if line else None, message.splitlines()[0])


def build_models(
    connection: duckdb.DuckDBPyConnection, project: SqlProject, dates: DateRange | None = None
) -> list[Built]:
    """Build every model, in order: the days of `dates` where that is possible, else in full."""
    return [build_model(connection, project, model, dates) for model in project.models.values()]


def build_model(
    connection: duckdb.DuckDBPyConnection, project: SqlProject, model: Model, dates: DateRange | None = None
) -> Built:
    """Build one model in one transaction. Raises Problem, with nothing changed, where its SQL fails."""
    started = time.perf_counter()
    fingerprint = _fingerprint(model, project)
    try:
        with transaction(connection):
            connection.execute(_CREATE_STATE)
            window = _window(connection, model, fingerprint, dates)
            sql = project.render(model, incremental=window is not None, dates=window)
            if window is not None:
                days = f"{DATE_COLUMN} between date '{window.start}' and date '{window.end}'"
                connection.execute(f"delete from {model.table} where {days}")
                connection.execute(f"insert into {model.table} by name {sql}")
            else:
                _drop_other_kind(connection, model)
                kind = "view" if model.materialized == "view" else "table"
                connection.execute(f"create or replace {kind} {model.table} as {sql}")
            connection.execute(f"delete from {STATE_TABLE} where model = ?", [model.table])
            connection.execute(
                f"insert into {STATE_TABLE} select ?, ?, coalesce(max(load_order), 0) from deliveries",
                [model.table, fingerprint],
            )
            for statement in _comments(model):
                connection.execute(statement)
    except duckdb.Error as error:
        if cannot_write(error):  # no fault of the SQL's: the warehouse says what to do
            raise
        raise _sql_problem(model.path, error) from error
    rows = None if model.materialized == "view" else _count(connection, model, window)
    return Built(model, window, rows, time.perf_counter() - started, sql)


def models_behind(connection: duckdb.DuckDBPyConnection, project: SqlProject) -> bool:
    """Whether a model that stands was built before the last delivery was loaded: by a run between two steps of ours."""
    connection.execute(_CREATE_STATE)
    query = f"""
        select count(*) from {STATE_TABLE}
        where list_contains($models, model) and load_order < (select coalesce(max(load_order), 0) from deliveries)
    """
    models = {"models": [model.table for model in project.models.values()]}
    return connection.execute(query, models).fetchall() != [(0,)]


def drop_removed_models(connection: duckdb.DuckDBPyConnection, project: SqlProject) -> list[str]:
    """Drop what models left that have been taken out of the folder; one that is merely broken keeps its table."""
    connection.execute(_CREATE_STATE)
    kept = {model.table for model in project.models.values()}
    removed = [
        table
        for (table,) in connection.execute(f"select model from {STATE_TABLE}").fetchall()
        if table not in kept and table.split(".")[1] not in project.problems
    ]
    for table in removed:
        kind = _kind(connection, table)
        connection.execute("begin")
        if kind is not None:
            connection.execute(f"drop {kind} {table}")
        connection.execute(f"delete from {STATE_TABLE} where model = ?", [table])
        connection.execute("commit")
    return removed


def ask_tests(
    connection: duckdb.DuckDBPyConnection, project: SqlProject, model: Model, dates: DateRange | None = None
) -> list[Tested]:
    """What the tests of a model find among all its rows, or those of `dates`. Raises Problem if one cannot be asked."""
    tests = project.tests_of(model)
    try:
        scanned = [test for test in tests if not test.singular]
        suspects = {test.name for test in tests if test.singular}
        if scanned:
            counts = ", ".join(test.count for test in scanned)
            (found,) = connection.execute(f"select {counts} from {project.rows(model, dates)}").fetchall()
            suspects |= {test.name for test, count in zip(scanned, found, strict=True) if count}
        return [
            _ask(connection, project, test, dates)
            if test.name in suspects
            else Tested(test, project.render_test(test, dates))
            for test in tests
        ]
    except duckdb.Error as error:
        if cannot_write(error):
            raise
        raise _sql_problem(model.path, error) from None


def failed_tests(connection: duckdb.DuckDBPyConnection, project: SqlProject) -> list[Tested]:
    """Of the tests of all models, over all rows, those that fail as an error."""
    asked = (item for model in project.models.values() for item in ask_tests(connection, project, model))
    return [item for item in asked if item.severe]


def _ask(connection: duckdb.DuckDBPyConnection, project: SqlProject, test: DataTest, dates: DateRange | None) -> Tested:
    sql = project.render_test(test, dates)
    ((count,),) = connection.execute(f"select count(*) from ({sql}\n)").fetchall()
    if not count:
        return Tested(test, sql)
    found = connection.execute(f"select * from ({sql}\n) limit {SHOWN_ROWS}")
    return Tested(test, sql, count, [name for name, *_ in found.description or ()], found.fetchall())


def _fingerprint(model: Model, project: SqlProject) -> str:
    """Changes with whatever makes the table another one: its SQL with the vars put in, its kind, its grain."""
    parts = (model.materialized, *model.grain, project.render(model, incremental=False))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _window(
    connection: duckdb.DuckDBPyConnection, model: Model, fingerprint: str, dates: DateRange | None
) -> DateRange | None:
    """The days to rebuild; None for all of them."""
    if dates is None or model.materialized != "incremental" or _kind(connection, model.table) != "table":
        return None
    query = f"select load_order from {STATE_TABLE} where model = ? and fingerprint = ?"
    known = connection.execute(query, [model.table, fingerprint]).fetchone()
    if known is None:
        return None
    since = "select min(start_date), max(end_date) from deliveries where load_order > ?"
    ((first, last),) = connection.execute(since, known).fetchall()
    return dates if first is None else DateRange(min(first, dates.start), max(last, dates.end))


def _kind(connection: duckdb.DuckDBPyConnection, table: str) -> str | None:
    schema, name = table.split(".")
    found = connection.execute(
        "select table_type from information_schema.tables"
        " where table_catalog = current_database() and table_schema = ? and table_name = ?",
        [schema, name],
    ).fetchone()
    return None if found is None else "view" if found[0] == "VIEW" else "table"


def _drop_other_kind(connection: duckdb.DuckDBPyConnection, model: Model) -> None:
    connection.execute(f"create schema if not exists {model.schema}")
    kind = _kind(connection, model.table)
    if kind is not None and (kind == "view") != (model.materialized == "view"):
        connection.execute(f"drop {kind} {model.table}")


def _comments(model: Model) -> list[str]:
    kind = "view" if model.materialized == "view" else "table"
    statements = [f"comment on {kind} {model.table} is {quote(model.description)}"]
    statements += [f'comment on column {model.table}."{n}" is {quote(text)}' for n, text in model.columns.items()]
    return statements


def _count(connection: duckdb.DuckDBPyConnection, model: Model, window: DateRange | None) -> int:
    days = f" where {DATE_COLUMN} between date '{window.start}' and date '{window.end}'" if window else ""
    row = connection.execute(f"select count(*) from {model.table}{days}").fetchone()
    return int(row[0]) if row else 0
