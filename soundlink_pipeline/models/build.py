"""Builds the SQL models in the warehouse and runs their tests. `models/project.py` reads the models.

Every model is built in one transaction, so it is never half built. An incremental model rebuilds the days it is given,
and those loaded since its last build (by a run that failed before it built models). It is built in full the first time
and when its SQL has changed.
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
from soundlink_pipeline.models.templates import ModelError
from soundlink_pipeline.models.tests import DataTest
from soundlink_pipeline.warehouse.instances import in_memory
from soundlink_pipeline.warehouse.sql import cannot_write, quote, transaction
from soundlink_pipeline.warehouse.tables import MODEL_STATE, create, warehouse_tables

SHOWN_ROWS = 10
# What each model was built from: its SQL, and the last delivery then loaded. Private to the pipeline, not published.
STATE_TABLE = MODEL_STATE
_CREATE_STATE = f"create table if not exists {STATE_TABLE} (model VARCHAR, fingerprint VARCHAR, load_order BIGINT)"


@dataclass(frozen=True)
class Built:
    """The result of building a model. `rows`: None for a view. `dates`: None if it was built in full."""

    model: Model
    dates: DateRange | None
    rows: int | None
    seconds: float
    sql: str


@dataclass(frozen=True)
class TestResult:
    """The result of a test: how many rows fail it, and the first SHOWN_ROWS of them, as `columns` and `rows`."""

    test: DataTest
    sql: str
    bad_rows: int = 0
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()

    @property
    def passed(self) -> bool:
        return self.bad_rows == 0

    @property
    def blocks(self) -> bool:
        """Whether the result must keep the model from being published."""
        return not self.passed and self.test.severity == "error"

    def __str__(self) -> str:
        rows = "1 row fails" if self.bad_rows == 1 else f"{self.bad_rows} rows fail"
        return f"{rows} {self.test.name}" + (f" ({self.test.description})" if self.test.description else "")


def check_models(project: SqlProject, exports: Iterable[Export] = EXPORTS) -> dict[str, Table]:
    """Every model as the table or view it makes, found by binding all of them to an empty warehouse.

    Models that do not parse or bind, or that document missing columns, become errors of the project.
    """
    tables: dict[str, Table] = {}
    if not project.models and not project.tests:
        return tables
    with in_memory() as connection:
        for table in warehouse_tables(exports):
            connection.execute(create(table))
        for model in list(project.models.values()):
            if model.name not in project.models:
                continue  # excluded with a model it depends on
            try:
                tables[model.name] = _bind(connection, project, model)
            except ModelError as error:
                project.exclude(model.name, error)
        for test in project.tests:
            if test.singular:
                _bind_test(connection, project, test)
        project.tests = [test for test in project.tests if test.name not in project.errors]
    return tables


def _bind(connection: duckdb.DuckDBPyConnection, project: SqlProject, model: Model) -> Table:
    """The table or view of a model. Makes it an empty table: DuckDB would bind a view anew for each reader."""
    try:
        sql = project.render(model, incremental=model.materialized == "incremental")
        described = connection.execute(f"describe {sql}").fetchall()
    except duckdb.Error as error:
        raise _sql_error(model.path, error) from None
    found = {str(name): str(type) for name, type, *_ in described}
    columns = ", ".join(f'"{name}" {type}' for name, type in found.items())
    connection.execute(f"create schema if not exists {model.schema}; create table {model.table} ({columns})")
    for name in model.columns:
        if name not in found:
            reason = f"describes the column {name}, which {model.name} does not have; it has {', '.join(found)}"
            raise model.error(reason, column=name)
    for what, names in (("grain", model.grain), ("chart", model.charted)):
        for name in names:
            if name not in found:
                raise model.error(f"the {what} of {model.name} names {name}, which it does not have")
    if model.charted and not {DATE_COLUMN, "is_settled"} <= found.keys():
        raise model.error(f"{model.name} has a chart, which needs the columns {DATE_COLUMN} and is_settled")
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
        project.errors[test.name] = _sql_error(test.path, error)
    except ModelError as error:
        project.errors[test.name] = error


def _sql_error(path: Path, error: duckdb.Error) -> ModelError:
    message = str(error)
    line = re.search(r"LINE (\d+):", message)
    return ModelError(path, int(line[1]) if line else None, message.splitlines()[0])


def build_models(
    connection: duckdb.DuckDBPyConnection, project: SqlProject, dates: DateRange | None = None
) -> list[Built]:
    """Build every model, in order: only the days of `dates` where possible, else in full."""
    return [build_model(connection, project, model, dates) for model in project.models.values()]


def build_model(
    connection: duckdb.DuckDBPyConnection, project: SqlProject, model: Model, dates: DateRange | None = None
) -> Built:
    """Build one model in one transaction. Raises ModelError, with nothing changed, if its SQL fails."""
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
        if cannot_write(error):  # not an error of the SQL: the warehouse's own error says what to do
            raise
        raise _sql_error(model.path, error) from error
    rows = None if model.materialized == "view" else _count(connection, model, window)
    return Built(model, window, rows, time.perf_counter() - started, sql)


def mark_failed(connection: duckdb.DuckDBPyConnection, model: Model) -> None:
    """Record that a model's tests failed: it counts as behind until all its days are built and tested again."""
    connection.execute(f"update {STATE_TABLE} set load_order = -1 where model = ?", [model.table])


def models_behind(connection: duckdb.DuckDBPyConnection, project: SqlProject) -> bool:
    """Whether a model was built before the last delivery was loaded, or failed its tests (`mark_failed`).

    The first happens where another run loads between two steps of ours.
    """
    connection.execute(_CREATE_STATE)
    query = f"""
        select count(*) from {STATE_TABLE}
        where list_contains($models, model) and load_order < (select coalesce(max(load_order), 0) from deliveries)
    """
    models = {"models": [model.table for model in project.models.values()]}
    return connection.execute(query, models).fetchall() != [(0,)]


def days_to_build(connection: duckdb.DuckDBPyConnection, project: SqlProject) -> DateRange | None:
    """The days loaded since the oldest build of a model, at least the newest one; None if nothing is loaded."""
    connection.execute(_CREATE_STATE)
    query = f"""
        with built as (select min(load_order) as oldest from {STATE_TABLE} where list_contains($models, model))
        select coalesce(min(start_date) filter (load_order > oldest), max(end_date)), max(end_date)
        from deliveries left join built on true
    """
    models = {"models": [model.table for model in project.models.values()]}
    ((first, last),) = connection.execute(query, models).fetchall()
    return None if first is None else DateRange(first, last)


def drop_removed_models(connection: duckdb.DuckDBPyConnection, project: SqlProject) -> list[str]:
    """Drop the tables of models whose file was removed; a model with an error keeps its table."""
    connection.execute(_CREATE_STATE)
    kept = {model.table for model in project.models.values()}
    removed = [
        table
        for (table,) in connection.execute(f"select model from {STATE_TABLE}").fetchall()
        if table not in kept and table.split(".")[1] not in project.errors
    ]
    for table in removed:
        kind = _kind(connection, table)
        connection.execute("begin")
        if kind is not None:
            connection.execute(f"drop {kind} {table}")
        connection.execute(f"delete from {STATE_TABLE} where model = ?", [table])
        connection.execute("commit")
    return removed


def run_tests(
    connection: duckdb.DuckDBPyConnection, project: SqlProject, model: Model, dates: DateRange | None = None
) -> list[TestResult]:
    """Run a model's tests on all its rows, or those of `dates`. Raises ModelError if one cannot be run."""
    tests = project.tests_of(model)
    try:
        scanned = [test for test in tests if not test.singular]
        suspects = {test.name for test in tests if test.singular}
        if scanned:
            counts = ", ".join(test.count for test in scanned)
            (found,) = connection.execute(f"select {counts} from {project.rows(model, dates)}").fetchall()
            suspects |= {test.name for test, count in zip(scanned, found, strict=True) if count}
        return [
            _run(connection, project, test, dates)
            if test.name in suspects
            else TestResult(test, project.render_test(test, dates))
            for test in tests
        ]
    except duckdb.Error as error:
        if cannot_write(error):
            raise
        raise _sql_error(model.path, error) from None


def failed_tests(connection: duckdb.DuckDBPyConnection, project: SqlProject) -> list[TestResult]:
    """The tests of all models, run on all rows, that fail with severity error."""
    results = (result for model in project.models.values() for result in run_tests(connection, project, model))
    return [result for result in results if result.blocks]


def _run(
    connection: duckdb.DuckDBPyConnection, project: SqlProject, test: DataTest, dates: DateRange | None
) -> TestResult:
    sql = project.render_test(test, dates)
    ((count,),) = connection.execute(f"select count(*) from ({sql}\n)").fetchall()
    if not count:
        return TestResult(test, sql)
    found = connection.execute(f"select * from ({sql}\n) limit {SHOWN_ROWS}")
    return TestResult(test, sql, count, [name for name, *_ in found.description or ()], found.fetchall())


def _fingerprint(model: Model, project: SqlProject) -> str:
    """A hash of all that defines the table: its SQL with the vars filled in, its kind, its grain."""
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
