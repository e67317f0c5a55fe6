"""Brings a warehouse to the present contract, from the one it was made with, in one transaction.

Afterwards its tables are column for column those of a new warehouse, with an analyst's own columns behind them. What
would lose or falsify loaded rows is refused, with nothing changed: `MigrationRefused`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb

from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.table import Table
from soundlink_pipeline.typed import rebuilding
from soundlink_pipeline.warehouse import data_steps
from soundlink_pipeline.warehouse.data_steps import DataStep
from soundlink_pipeline.warehouse.sql import transaction
from soundlink_pipeline.warehouse.stored_contract import (
    FoundTable,
    StoredContract,
    StoredTable,
    declared_contract,
    found_tables,
    stored_contract,
)
from soundlink_pipeline.warehouse.table_migration import Obstruction, TableMigration
from soundlink_pipeline.warehouse.tables import MODEL_STATE, comments, create, warehouse_tables

# Rows that are written anew pass through memory; more than this of them spills to disk.
_MEMORY_LIMIT = "1GiB"


class MigrationRefused(Exception):
    """The present contract cannot be reached without loss, or without a decision of the operator's."""

    def __init__(self, obstructions: Iterable[Obstruction]) -> None:
        self.obstructions = tuple(obstructions)
        super().__init__("; ".join(each.reason for each in self.obstructions))

    @property
    def fixes(self) -> list[str]:
        """What to do about all of it; empty if only a rebuild helps, which helps against everything."""
        fixes = [each.fix for each in self.obstructions if each.fix]
        return fixes if len(fixes) == len(self.obstructions) else []


@dataclass
class Migration:
    """What is to be done: `changes` in words, empty if no table, view or row changes; and the statements."""

    contract: StoredContract
    is_first: bool
    changes: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    steps: list[DataStep] = field(default_factory=list)
    refused: list[Obstruction] = field(default_factory=list)


def plan(connection: duckdb.DuckDBPyConnection, exports: Sequence[Export]) -> Migration:
    """What brings the warehouse to the present contract; reads only. Raises MigrationRefused."""
    tables, declared = warehouse_tables(exports), declared_contract(exports)
    found = found_tables(connection)
    stored = stored_contract(connection, found, declared)
    planned = Migration(declared, is_first=stored is None)
    if stored is None:
        stored = StoredContract(declared.made_by, {}, declared.steps)
    elif stored.fingerprint != declared.fingerprint and (newer := _newer(stored, declared)):
        raise MigrationRefused([newer])
    planned.contract = replace(declared, tables={**_left(stored, declared, found), **declared.tables})
    for name, old in stored.tables.items():
        if old.kind == "view" and name in found and name not in declared.tables:
            planned.statements.append(f"drop view {name}")
            planned.changes.append(f"the view {name} goes")
    for table in tables:
        change = _plan_table(connection, planned, table, stored.tables.get(table.name), found.get(table.name))
        if change and "vanished_rows" in stored.tables and stored.tables["vanished_rows"].kind == "table":
            planned.statements += change.statements_for_vanished_rows()
    planned.statements += [create(table) for table in tables if table.kind == "view"]
    planned.statements += [text for table in tables for text in comments(table)]
    planned.steps = [step for step in data_steps.DATA_STEPS if step.name not in stored.steps]
    planned.changes += [step.name for step in planned.steps]
    if planned.refused:
        raise MigrationRefused(planned.refused)
    if planned.changes and MODEL_STATE in found:
        # Models hold values and types of the tables as they were: each is built in full.
        planned.statements.append(f"update {MODEL_STATE} set fingerprint = '', load_order = -1")
    return planned


def migrate(connection: duckdb.DuckDBPyConnection, exports: Sequence[Export]) -> list[str]:
    """Do all of it or nothing; returns the changes in words. Raises MigrationRefused, duckdb.Error."""
    planned = plan(connection, exports)
    connection.execute(f"set memory_limit = '{_MEMORY_LIMIT}'")
    try:
        with transaction(connection):
            for statement in planned.statements:
                connection.execute(statement)
            for step in planned.steps:
                step.run(connection, exports)
            planned.contract.save(connection)
    finally:
        connection.execute("reset memory_limit")
    return planned.changes


def _newer(stored: StoredContract, declared: StoredContract) -> Obstruction | None:
    """A warehouse that a later version has migrated: what that one added would look like something to drop."""
    unknown = [step for step in stored.steps if step not in declared.steps]
    if _numbers(stored.made_by) <= _numbers(declared.made_by) and not unknown:
        return None
    return Obstruction(
        f"it was made by a newer soundlink-pipeline ({stored.made_by}), and this is {declared.made_by}",
        f"Install the newer one again; or move the file away and run {rebuilding()}",
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _left(stored: StoredContract, declared: StoredContract, found: Mapping[str, FoundTable]) -> dict[str, StoredTable]:
    """Tables that are no longer declared, as of an export that has gone: they stay, and stay the pipeline's."""
    return {
        name: table
        for name, table in stored.tables.items()
        if table.kind == "table" and name in found and name not in declared.tables
    }


def _plan_table(
    connection: duckdb.DuckDBPyConnection,
    planned: Migration,
    table: Table,
    stored: StoredTable | None,
    found: FoundTable | None,
) -> TableMigration | None:
    """Add to the plan what brings one table or view to what is declared; returns how, if its columns change."""
    is_view = table.kind == "view"
    if found is not None and stored is None:
        planned.refused.append(
            Obstruction(
                f"it has a {found.kind} {table.name} that the pipeline has not made",
                f"Give yours another name (alter {found.kind} {table.name} rename to …) and run again",
            )
        )
    elif is_view and found is not None and found.kind == "table":
        planned.refused.append(Obstruction(f"the table {table.name} is a view now"))
    elif is_view:
        if stored and stored.query and stored.query != table.query:
            planned.changes.append(f"the view {table.name} is defined anew")
    elif found is None or stored is None:
        planned.statements.append(create(table))
        if not planned.is_first:
            planned.changes.append(f"the table {table.name} is new")
    elif found.kind == "view":
        planned.statements += [f"drop view {table.name}", create(table)]
        planned.changes.append(f"the view {table.name} becomes a table")
    else:
        change = TableMigration(connection, table, stored, found)
        refused = change.obstructions()
        planned.refused += refused
        if not refused and (words := change.in_words()):
            planned.changes.append(words)
            planned.statements += change.statements()
            return change
    return None
