"""What stands in the database of the models: their tables and views with their columns, and what each was built of.

Read once for all models, since each question to DuckDB's catalog costs as much as building a small model.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace

import duckdb

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.models.model import Model, SqlProject
from soundlink_pipeline.warehouse.sql import transaction
from soundlink_pipeline.warehouse.tables import MODEL_STATE, warehouse_tables

# What each model was built from: its SQL, and the last delivery then loaded. Private to the pipeline, not published.
STATE_TABLE = MODEL_STATE
CREATE_STATE = f"create table if not exists {STATE_TABLE} (model VARCHAR, fingerprint VARCHAR, load_order BIGINT)"

# In place of the last delivery, of a model whose tests failed.
FAILED = -1


@dataclass(frozen=True)
class Column:
    """A column as the database has it. `comment` is None where there is none."""

    name: str
    kind: str
    comment: str | None


@dataclass(frozen=True)
class BuildState:
    """The definition that a model was last built of, and the last delivery that was loaded then."""

    fingerprint: str
    load_order: int


class Standing:
    """What stood when it was read, and what `note` was told since. One connection's, while no other can write."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, project: SqlProject | None = None) -> None:
        connection.execute(CREATE_STATE)
        ((self.newest_load,),) = connection.execute("select coalesce(max(load_order), 0) from deliveries").fetchall()
        self._built = {
            model: BuildState(fingerprint, load_order)
            for model, fingerprint, load_order in connection.execute(
                f"select model, fingerprint, load_order from {STATE_TABLE}"
            ).fetchall()
        }
        self._made = {_key(schema, name): (kind, comment) for schema, name, kind, comment in _commented(connection)}
        self._columns: dict[tuple[str, str], list[Column]] = {}
        for schema, table, *column in connection.execute(
            "select schema_name, table_name, column_name, data_type, comment from duckdb_columns()"
            " where database_name = current_database() order by schema_name, table_name, column_index"
        ).fetchall():
            self._columns.setdefault(_key(schema, table), []).append(Column(*column))
        self._changed: dict[str, BuildState] = {}
        self._bound = _bound(project) if project and project.bound else {}
        self._unlike = {key for key in self._bound if not self._stands_as_bound(key)}

    def kind(self, model: Model) -> str | None:
        """'table' or 'view'; None where there is nothing of the model's name."""
        return self._made.get(_key(model.schema, model.alias), (None, None))[0]

    def comment(self, model: Model) -> str | None:
        """Of the table or view itself."""
        return self._made.get(_key(model.schema, model.alias), (None, None))[1]

    def columns(self, model: Model) -> list[Column]:
        return self._columns.get(_key(model.schema, model.alias), [])

    def state(self, model: Model) -> BuildState | None:
        """None if the model was never built."""
        return self._built.get(model.table)

    def has_schema(self, model: Model) -> bool:
        """Whether something stands in the model's schema; an empty one is not known."""
        return any(schema == model.schema.lower() for schema, _ in self._made)

    @property
    def is_as_bound(self) -> bool:
        """Whether our tables and all models stand with the columns that they had when the folder was bound.

        Then binding a model once more would give the columns that it has. False where what it makes may follow from
        more than the folder and our tables.
        """
        return bool(self._bound) and not self._unlike

    def _stands_as_bound(self, key: tuple[str, str]) -> bool:
        return [(column.name, column.kind) for column in self._columns.get(key, ())] == self._bound[key]

    def note(self, model: Model, comment: str | None, columns: list[Column], state: BuildState) -> None:
        """Take over that a model was built: what it has now, and of what it was built."""
        key = _key(model.schema, model.alias)
        self._made[key], self._columns[key] = (model.made_as, comment), columns
        self._note_state(model, state)
        if key in self._bound:
            self._unlike.discard(key)
            self._unlike |= set() if self._stands_as_bound(key) else {key}

    def note_failed(self, model: Model) -> None:
        """Take over that what was built failed its tests: the model counts as behind until all its days are built."""
        self._note_state(model, replace(self._built[model.table], load_order=FAILED))

    def _note_state(self, model: Model, state: BuildState) -> None:
        if self._built.get(model.table) != state:
            self._built[model.table] = self._changed[model.table] = state

    def save(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Write of what the models were built, all at once: each statement takes as long as building a small one.

        What is never saved, after a kill, counts as built of what it was built of before, and is built again.
        """
        if not self._changed:
            return
        with transaction(connection):
            connection.execute(f"delete from {STATE_TABLE} where list_contains(?, model)", [list(self._changed)])
            rows = [(model, *astuple(state)) for model, state in self._changed.items()]
            places = ", ".join(["(?, ?, ?)"] * len(rows))
            connection.execute(f"insert into {STATE_TABLE} values {places}", [value for row in rows for value in row])
        self._changed.clear()


def _bound(project: SqlProject) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Our tables and the models that are made in the database, each with its columns and types."""
    tables = {
        _key("main", t.name): [(column.name, column.type) for column in t.columns] for t in warehouse_tables(EXPORTS)
    }
    models = {
        _key(model.schema, model.alias): list(project.bound[name].items())
        for name, model in project.models.items()
        if model.materialized != "ephemeral"
    }
    return tables | models


def made(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    """Schema, name and kind of every table and view of this database."""
    return [(schema, name, kind) for schema, name, kind, _ in _commented(connection)]


def _commented(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str, str | None]]:
    own = "database_name = current_database() and not internal"
    return connection.execute(
        f"select schema_name, table_name, 'table', comment from duckdb_tables() where {own}"
        f" union all select schema_name, view_name, 'view', comment from duckdb_views() where {own}"
    ).fetchall()


def _key(schema: str, name: str) -> tuple[str, str]:
    return schema.lower(), name.lower()
