"""Builds the SQL models in the warehouse and runs their tests. `models/project.py` reads the models.

Every model is built in one transaction, so it is never half built. An incremental model rebuilds the days it is given,
and those loaded since its last build, by whichever run. It is built in full the first time
and when its SQL has changed.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import duckdb

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import DATE_COLUMN
from soundlink_pipeline.models.model import SETTINGS_FILE, Model, SqlProject
from soundlink_pipeline.models.statements import sql_error, statement
from soundlink_pipeline.models.templates import Rendered
from soundlink_pipeline.models.verdicts import SHOWN_ROWS, TestResult, failed_tests, run_tests
from soundlink_pipeline.warehouse.sql import is_of_the_file, quote, quote_name, transaction
from soundlink_pipeline.warehouse.tables import MODEL_STATE

__all__ = [
    "SHOWN_ROWS",
    "STATE_TABLE",
    "Built",
    "TestResult",
    "build_model",
    "build_models",
    "drop_removed_models",
    "failed_tests",
    "mark_failed",
    "mark_readers_behind",
    "models_behind",
    "run_tests",
]

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
    query = Rendered("")
    try:
        with transaction(connection):
            connection.execute(_CREATE_STATE)
            kind = _kind(connection, model)
            as_before = kind is not None and _is_built_from(connection, model, fingerprint)
            window = _window(connection, model, dates) if kind == "table" and as_before else None
            query = project.compile(model, incremental=window is not None, dates=window)
            if model.materialized != "ephemeral":
                _make(connection, model, query, window, kind, as_before=as_before)
                connection.execute(f"delete from {STATE_TABLE} where model = ?", [model.table])
                connection.execute(
                    f"insert into {STATE_TABLE} select ?, ?, coalesce(max(load_order), 0) from deliveries",
                    [model.table, fingerprint],
                )
    except duckdb.Error as error:
        if is_of_the_file(error):
            raise
        raise sql_error(model.path, error, query) from error
    rows = _count(connection, model, window) if model.materialized in ("table", "incremental") else None
    return Built(model, window, rows, time.perf_counter() - started, query.sql)


def _make(
    connection: duckdb.DuckDBPyConnection,
    model: Model,
    query: Rendered,
    window: DateRange | None,
    kind: str | None,
    *,
    as_before: bool,
) -> None:
    """Make the model's table or view, or replace the days of `window` in it.

    `kind` is what it is in the database, `as_before` whether it was made of the same SQL.
    """
    if window is not None:
        days = f"{DATE_COLUMN} between date '{window.start}' and date '{window.end}'"
        inserting = statement(f"insert into {model.relation} by name", query, model.path)
        connection.execute(f"delete from {model.relation} where {days}")
        connection.execute(inserting)
    elif not (as_before and kind == model.made_as == "view" and _is_bound_alike(connection, model, query)):
        making = statement(f"create or replace {model.made_as} {model.relation} as", query, model.path)
        connection.execute(f"create schema if not exists {quote_name(model.schema)}")
        if kind not in (None, model.made_as):
            connection.execute(f"drop {kind} {model.relation}")
        connection.execute(making)
    for comment in _comments(connection, model):
        connection.execute(comment)


def mark_failed(connection: duckdb.DuckDBPyConnection, model: Model) -> None:
    """Record that a model's tests failed: it counts as behind until all its days are built and tested again."""
    connection.execute(f"update {STATE_TABLE} set load_order = -1 where model = ?", [model.table])


def mark_readers_behind(connection: duckdb.DuckDBPyConnection, project: SqlProject, table: str) -> None:
    """Record that a source, a table of schema main, has other rows: the models that read it are behind.

    Within the caller's transaction.
    """
    connection.execute(_CREATE_STATE)
    for model in project.models.values():
        if any(source.table == f"main.{table}" for source in model.sources):
            mark_failed(connection, model)


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
    """The days loaded since the oldest build of a model, else the newest one; None if nothing is loaded."""
    connection.execute(_CREATE_STATE)
    query = f"""
        with built as (select min(load_order) as oldest from {STATE_TABLE} where list_contains($models, model))
        select coalesce(min(start_date) filter (load_order > oldest), max(end_date)),
            coalesce(max(end_date) filter (load_order > oldest), max(end_date))
        from deliveries left join built on true
    """
    models = {"models": [model.table for model in project.models.values()]}
    ((first, last),) = connection.execute(query, models).fetchall()
    return None if first is None else DateRange(first, last)


def drop_removed_models(connection: duckdb.DuckDBPyConnection, project: SqlProject) -> list[str]:
    """Drop the tables of models whose file was removed; a model with an error keeps its table."""
    if SETTINGS_FILE in project.errors:
        return []  # nobody knows which tables there should be
    connection.execute(_CREATE_STATE)
    kept = {model.table for model in project.models.values() if model.materialized != "ephemeral"} | project.kept
    removed = [
        table
        for (table,) in connection.execute(f"select model from {STATE_TABLE}").fetchall()
        if table not in kept and table.rpartition(".")[2] not in project.errors
    ]
    found = {f"{schema}.{name}": (kind, schema, name) for schema, name, kind in _made(connection)}
    for table in removed:
        with transaction(connection):
            if table in found:
                kind, schema, name = found[table]
                connection.execute(f"drop {kind} {quote_name(schema)}.{quote_name(name)}")
            connection.execute(f"delete from {STATE_TABLE} where model = ?", [table])
    return removed


def _made(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    """Schema, name and kind of every table and view of this database."""
    return connection.execute(
        "select table_schema, table_name, if(table_type = 'VIEW', 'view', 'table') from information_schema.tables"
        " where table_catalog = current_database()"
    ).fetchall()


def _fingerprint(model: Model, project: SqlProject) -> str:
    """A hash of all that defines the table: its SQL with the vars filled in, its kind, its grain."""
    parts = (model.materialized, *model.grain, project.render(model, incremental=False))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _is_built_from(connection: duckdb.DuckDBPyConnection, model: Model, fingerprint: str) -> bool:
    """Whether the model's last build was of this definition."""
    query = f"select 1 from {STATE_TABLE} where model = ? and fingerprint = ?"
    return connection.execute(query, [model.table, fingerprint]).fetchone() is not None


def _window(connection: duckdb.DuckDBPyConnection, model: Model, dates: DateRange | None) -> DateRange | None:
    """The days to rebuild of a table that was built from the same SQL; None for all of them."""
    if dates is None or model.materialized != "incremental":
        return None
    since = f"""
        select min(start_date), max(end_date) from deliveries
        where load_order > (select load_order from {STATE_TABLE} where model = ?)
    """
    ((first, last),) = connection.execute(since, [model.table]).fetchall()
    return dates if first is None else DateRange(min(first, dates.start), max(last, dates.end))


def _kind(connection: duckdb.DuckDBPyConnection, model: Model) -> str | None:
    found = connection.execute(
        "select table_type from information_schema.tables where table_catalog = current_database()"
        " and lower(table_schema) = lower(?) and lower(table_name) = lower(?)",
        [model.schema, model.alias],
    ).fetchone()
    return None if found is None else "view" if found[0] == "VIEW" else "table"


def _is_bound_alike(connection: duckdb.DuckDBPyConnection, model: Model, query: Rendered) -> bool:
    """Whether the view would get the columns it has: where a table below has others now, it must be made anew."""
    described = connection.execute(statement("describe select * from", query, model.path)).fetchall()
    return [(name, kind) for name, kind, *_ in described] == [
        (name, kind) for name, kind, _ in _columns(connection, model)
    ]


def _columns(connection: duckdb.DuckDBPyConnection, model: Model) -> list[tuple[str, str, str | None]]:
    """Name, type and comment of each column that the model's table or view has in the database."""
    return connection.execute(
        "select column_name, data_type, comment from duckdb_columns() where database_name = current_database()"
        " and lower(schema_name) = lower(?) and lower(table_name) = lower(?) order by column_index",
        [model.schema, model.alias],
    ).fetchall()


def _comments(connection: duckdb.DuckDBPyConnection, model: Model) -> list[str]:
    """The descriptions as comments; those of columns only where they do not stand yet: each costs a statement."""
    of_table, of_columns = model.comments
    statements = []
    if of_table and model.description:
        statements.append(f"comment on {model.made_as} {model.relation} is {quote(model.description)}")
    if of_columns:
        documented = {name.lower(): text for name, text in model.columns.items()}
        for name, _, comment in _columns(connection, model):
            text = documented.get(name.lower()) or None
            if text != comment:
                statements.append(
                    f"comment on column {model.relation}.{quote_name(name)} is {quote(text) if text else 'null'}"
                )
    return statements


def _count(connection: duckdb.DuckDBPyConnection, model: Model, window: DateRange | None) -> int:
    days = f" where {DATE_COLUMN} between date '{window.start}' and date '{window.end}'" if window else ""
    row = connection.execute(f"select count(*) from {model.relation}{days}").fetchone()
    return int(row[0]) if row else 0
