"""The contract that a warehouse was made with, as a table of its own in it: `_schema_state`, which is not published.

What it names is the pipeline's; every other column, table or view is an analyst's. Until version 0.2 the table held the
fingerprint alone: those versions write one value into it, so they fail with nothing changed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version

import duckdb

from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.table import Table
from soundlink_pipeline.warehouse import data_steps
from soundlink_pipeline.warehouse.contract_0_2 import COLUMNS_0_2, KEYS_0_2, VIEWS_0_2
from soundlink_pipeline.warehouse.tables import schema_statements, warehouse_tables

_TABLE = "_schema_state"


@dataclass(frozen=True)
class FoundColumn:
    """A column as the database has it. `default` is SQL, None without one."""

    name: str
    type: str
    nullable: bool
    comment: str | None = None
    default: str | None = None


@dataclass(frozen=True)
class FoundTable:
    """A table or view of schema `main` as the database has it."""

    kind: str
    columns: tuple[FoundColumn, ...]


@dataclass(frozen=True)
class StoredColumn:
    type: str
    nullable: bool | None


@dataclass(frozen=True)
class StoredTable:
    """A table or view of the pipeline as it was made: its key, its columns by name, and a view's query."""

    kind: str
    key: tuple[str, ...]
    columns: Mapping[str, StoredColumn]
    query: str = ""


@dataclass(frozen=True)
class StoredContract:
    """What the pipeline made, by which version (empty until 0.2), and the names of the data steps that are done.

    `fingerprint` tells whether it is the present contract to the letter; empty where it was not stored.
    """

    made_by: str
    tables: Mapping[str, StoredTable]
    steps: tuple[str, ...] = ()
    fingerprint: str = field(default="", compare=False)

    def save(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Within the caller's transaction."""
        connection.execute(f"create or replace table {_TABLE} (contract VARCHAR, fingerprint VARCHAR)")
        connection.execute(f"insert into {_TABLE} values (?, ?)", [json.dumps(asdict(self)), self.fingerprint])


def declared_contract(exports: Iterable[Export]) -> StoredContract:
    """The contract of the code that runs."""
    exports, steps = tuple(exports), [step.name for step in data_steps.DATA_STEPS]
    tables = warehouse_tables(exports)
    stored = {table.name: _as_stored(table) for table in tables}
    # Whatever follows from a declaration, comments too.
    whole = repr((stored, schema_statements(exports), steps))
    fingerprint = hashlib.sha256(whole.encode()).hexdigest()
    return StoredContract(version("soundlink-pipeline"), stored, tuple(steps), fingerprint)


def stored_contract(
    connection: duckdb.DuckDBPyConnection, found: Mapping[str, FoundTable], declared: StoredContract
) -> StoredContract | None:
    """The contract of the warehouse; None if the pipeline has made nothing in it yet."""
    state = found.get(_TABLE)
    if state and {"contract", "fingerprint"} <= {column.name for column in state.columns}:
        ((text, fingerprint),) = connection.execute(f"select contract, fingerprint from {_TABLE}").fetchall()
        stored = json.loads(text)
        tables = {
            name: StoredTable(
                table["kind"],
                tuple(table["key"]),
                {column: StoredColumn(**of) for column, of in table["columns"].items()},
                table["query"],
            )
            for name, table in stored["tables"].items()
        }
        return StoredContract(stored["made_by"], tables, tuple(stored["steps"]), fingerprint)
    return _contract_before_0_3(found, declared)


def stored_fingerprint(connection: duckdb.DuckDBPyConnection) -> str:
    """The fingerprint of the contract in the warehouse; empty if there is none."""
    try:
        return str(connection.execute(f"select fingerprint from {_TABLE}").fetchall()[0][0])
    except (duckdb.CatalogException, duckdb.BinderException):
        return ""


def found_tables(connection: duckdb.DuckDBPyConnection) -> dict[str, FoundTable]:
    """Every table and view of schema `main`, an analyst's too, by name in small letters."""
    of_main = "database_name = current_database() and schema_name = 'main' and not internal"
    views = {name for (name,) in connection.execute(f"select view_name from duckdb_views() where {of_main}").fetchall()}
    columns: dict[str, list[FoundColumn]] = {}
    for table, *column in connection.execute(
        "select table_name, column_name, data_type, is_nullable, comment, column_default from duckdb_columns()"
        f" where {of_main} order by table_name, column_index"
    ).fetchall():
        columns.setdefault(table, []).append(FoundColumn(*column))
    return {name.lower(): FoundTable("view" if name in views else "table", tuple(own)) for name, own in columns.items()}


def key_of(table: Table) -> tuple[str, ...]:
    """What tells one row from another: the key that the source documents, of our own tables the grain."""
    return table.primary_key or table.grain


def _as_stored(table: Table) -> StoredTable:
    columns = {column.name: StoredColumn(column.type, column.nullable) for column in table.columns}
    return StoredTable("view" if table.kind == "view" else "table", key_of(table), columns, table.query)


def _contract_before_0_3(found: Mapping[str, FoundTable], declared: StoredContract) -> StoredContract | None:
    """Read from the database itself, which until version 0.2 stored only a fingerprint of its contract.

    A table is the pipeline's if that version had it, or if it is declared and has the comments that it always wrote;
    of its columns those that either knows. The comments tell the key, too.
    """
    tables = {}
    for name, table in found.items():
        known, now = COLUMNS_0_2.get(name), declared.tables.get(name)
        if table.kind == "view" and name in VIEWS_0_2:
            tables[name] = StoredTable("view", (), {})
        elif known is not None or (now is not None and any(column.comment for column in table.columns)):
            known = known or {}
            own = {c.name: c for c in table.columns if c.name in known or (now and c.name in now.columns)}
            tables[name] = StoredTable(
                "table",
                KEYS_0_2.get(name) or _commented_key(own.values()) or (now.key if now else ()),
                {c.name: StoredColumn(c.type, _known_nullable(c, known, now)) for c in own.values()},
            )
    return StoredContract("", tables) if tables else None


def _known_nullable(column: FoundColumn, known: Mapping[str, bool], now: StoredTable | None) -> bool | None:
    if column.name in known:
        return known[column.name]
    return now.columns[column.name].nullable if now else True


def _commented_key(columns: Iterable[FoundColumn]) -> tuple[str, ...]:
    """The primary key as the comments of its columns tell it: `Primary key, column 2 of 5.`"""
    places = {}
    for column in columns:
        place = re.search(r"Primary key, column (\d+) of \d+\.$", column.comment or "")
        if place:
            places[int(place[1])] = column.name
    return tuple(places[place] for place in sorted(places))
