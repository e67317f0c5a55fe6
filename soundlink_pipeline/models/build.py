"""Builds the SQL models in the warehouse and runs their tests. `models/project.py` reads the models.

Every model is built in one transaction, so it is never half built. An incremental model rebuilds the days it is given,
and those loaded since its last build, by whichever run. It is built in full the first time
and when its SQL has changed.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace

import duckdb

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import DATE_COLUMN
from soundlink_pipeline.models.model import SETTINGS_FILE, Model, SqlProject
from soundlink_pipeline.models.standing import CREATE_STATE, FAILED, STATE_TABLE, BuildState, Column, Standing, made
from soundlink_pipeline.models.statements import sql_error, statement
from soundlink_pipeline.models.templates import Rendered
from soundlink_pipeline.models.verdicts import SHOWN_ROWS, TestResult, failed_tests, run_tests
from soundlink_pipeline.warehouse.sql import is_of_the_file, quote, quote_name, transaction

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
    standing = Standing(connection, project)
    built = [build_model(connection, project, model, dates, standing) for model in project.models.values()]
    standing.save(connection)
    return built


def build_model(
    connection: duckdb.DuckDBPyConnection,
    project: SqlProject,
    model: Model,
    dates: DateRange | None = None,
    standing: Standing | None = None,
) -> Built:
    """Build one model in one transaction. Raises ModelError, with nothing changed, if its SQL fails.

    Who builds several gives what stands, and saves it afterwards (`Standing.save`).
    """
    started = time.perf_counter()
    query, window = project.compile(model, incremental=False), None
    fingerprint = _fingerprint(model, query)
    try:
        alone = standing is None
        standing = standing or Standing(connection, project)
        state = standing.state(model)
        as_before = state is not None and state.fingerprint == fingerprint
        if model.materialized == "ephemeral":
            return Built(model, None, None, time.perf_counter() - started, query.sql)
        with transaction(connection):
            if as_before and standing.kind(model) == "table":
                window = _window(connection, model, dates, standing)
            if window is not None:
                query = project.compile(model, incremental=True, dates=window)
            comment, columns, rows = _make(connection, model, query, window, standing, as_before=as_before)
        standing.note(model, comment, columns, BuildState(fingerprint, standing.newest_load))
        if alone:
            standing.save(connection)
    except duckdb.Error as error:
        if is_of_the_file(error):
            raise
        raise sql_error(model.path, error, query) from error
    return Built(model, window, rows, time.perf_counter() - started, query.sql)


def _make(
    connection: duckdb.DuckDBPyConnection,
    model: Model,
    query: Rendered,
    window: DateRange | None,
    standing: Standing,
    *,
    as_before: bool,
) -> tuple[str | None, list[Column], int | None]:
    """Make the model's table or view, or replace the days of `window` in it, or all its rows.

    `as_before`: whether what stands was made of the same SQL. Then it is made anew only where its columns change: they
    follow from tables below, and of a pivot or a file from values. It is bound again to find that out, unless all below
    it stands as when the folder was bound. What is not made anew keeps its comments, which cost a statement each.
    Returns its comment, its columns and, of a table, how many rows it was given.
    """
    kind, comment, columns = standing.kind(model), standing.comment(model), standing.columns(model)
    may_stay = as_before and kind == model.made_as and model.materialized != "incremental"
    rows = None
    if window is None and not (
        may_stay and (standing.is_as_bound or _is_bound_alike(connection, query, columns, model))
    ):
        making = statement(f"create or replace {model.made_as} {model.relation} as", query, model.path)
        if not standing.has_schema(model):
            connection.execute(f"create schema if not exists {quote_name(model.schema)}")
        if kind not in (None, model.made_as):
            connection.execute(f"drop {kind} {model.relation}")
        rows = _changed(connection.execute(making))
        comment, columns = None, _columns(connection, model)
    elif model.made_as == "table":
        days = f" where {DATE_COLUMN} between date '{window.start}' and date '{window.end}'" if window else ""
        inserting = statement(f"insert into {model.relation} by name", query, model.path)
        connection.execute(f"delete from {model.relation}{days}")
        rows = _changed(connection.execute(inserting))
    return *_comment(connection, model, comment, columns), rows


def _changed(executed: duckdb.DuckDBPyConnection) -> int | None:
    """The number of rows of an insert, or of a table that was made; a view has none."""
    found = executed.fetchall()
    return int(found[0][0]) if found else None


def mark_failed(connection: duckdb.DuckDBPyConnection, model: Model) -> None:
    """Record that a model's tests failed: it counts as behind until all its days are built and tested again."""
    connection.execute(f"update {STATE_TABLE} set load_order = {FAILED} where model = ?", [model.table])


def mark_readers_behind(connection: duckdb.DuckDBPyConnection, project: SqlProject, table: str) -> None:
    """Record that a source, a table of schema main, has other rows: the models that read it are behind.

    Within the caller's transaction.
    """
    connection.execute(CREATE_STATE)
    for model in project.models.values():
        if any(source.table == f"main.{table}" for source in model.sources):
            mark_failed(connection, model)


def models_behind(connection: duckdb.DuckDBPyConnection, project: SqlProject) -> bool:
    """Whether a model was built before the last delivery was loaded, or failed its tests (`mark_failed`).

    The first happens where another run loads between two steps of ours.
    """
    connection.execute(CREATE_STATE)
    query = f"""
        select count(*) from {STATE_TABLE}
        where list_contains($models, model) and load_order < (select coalesce(max(load_order), 0) from deliveries)
    """
    models = {"models": [model.table for model in project.models.values()]}
    return connection.execute(query, models).fetchall() != [(0,)]


def days_to_build(connection: duckdb.DuckDBPyConnection, project: SqlProject) -> DateRange | None:
    """The days loaded since the oldest build of a model, else the newest one; None if nothing is loaded."""
    connection.execute(CREATE_STATE)
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
    connection.execute(CREATE_STATE)
    kept = {model.table for model in project.models.values() if model.materialized != "ephemeral"} | project.kept
    removed = [
        table
        for (table,) in connection.execute(f"select model from {STATE_TABLE}").fetchall()
        if table not in kept and table.rpartition(".")[2] not in project.errors
    ]
    found = {f"{schema}.{name}": (kind, schema, name) for schema, name, kind in made(connection)}
    for table in removed:
        with transaction(connection):
            if table in found:
                kind, schema, name = found[table]
                connection.execute(f"drop {kind} {quote_name(schema)}.{quote_name(name)}")
            connection.execute(f"delete from {STATE_TABLE} where model = ?", [table])
    return removed


def _fingerprint(model: Model, query: Rendered) -> str:
    """A hash of all that defines the table: its SQL in full with the vars filled in, its kind, its grain."""
    parts = (model.materialized, *model.grain, query.sql)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _window(
    connection: duckdb.DuckDBPyConnection, model: Model, dates: DateRange | None, standing: Standing
) -> DateRange | None:
    """The days to rebuild of a table that was built from the same SQL; None for all of them."""
    state = standing.state(model)
    if dates is None or state is None or model.materialized != "incremental":
        return None
    if state.load_order >= standing.newest_load:
        return dates
    since = "select min(start_date), max(end_date) from deliveries where load_order > ?"
    ((first, last),) = connection.execute(since, [state.load_order]).fetchall()
    return dates if first is None else DateRange(min(first, dates.start), max(last, dates.end))


def _is_bound_alike(
    connection: duckdb.DuckDBPyConnection, query: Rendered, columns: list[Column], model: Model
) -> bool:
    """Whether the model would get the columns it has."""
    described = connection.execute(statement("describe select * from", query, model.path)).fetchall()
    return [(name, kind) for name, kind, *_ in described] == [(column.name, column.kind) for column in columns]


def _columns(connection: duckdb.DuckDBPyConnection, model: Model) -> list[Column]:
    found = connection.execute(
        "select column_name, data_type, comment from duckdb_columns() where database_name = current_database()"
        " and lower(schema_name) = lower(?) and lower(table_name) = lower(?) order by column_index",
        [model.schema, model.alias],
    ).fetchall()
    return [Column(*column) for column in found]


def _comment(
    connection: duckdb.DuckDBPyConnection, model: Model, comment: str | None, columns: list[Column]
) -> tuple[str | None, list[Column]]:
    """Write the descriptions as comments where they do not stand yet; what stands then."""
    for_table, for_columns = model.comments
    if for_table and model.description and model.description != comment:
        comment = model.description
        connection.execute(f"comment on {model.made_as} {model.relation} is {quote(comment)}")
    if not for_columns:
        return comment, columns
    documented = {name.lower(): text for name, text in model.columns.items()}
    commented = [replace(column, comment=documented.get(column.name.lower()) or None) for column in columns]
    for column, before in zip(commented, columns, strict=True):
        if column != before:
            text = quote(column.comment) if column.comment else "null"
            connection.execute(f"comment on column {model.relation}.{quote_name(column.name)} is {text}")
    return comment, commented
