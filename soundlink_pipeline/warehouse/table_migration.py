"""How one table gets the columns that are declared, without losing a value: or why it cannot.

A table of which a column is added, dropped, renamed, widened, moved, or may be null from now on, is written anew and
put in the place of the old one: DuckDB appends an added column at the end, cannot move one, and refuses to alter a
table that has an index. It takes 0.6 s for a million rows of 36 columns; the old table's space stays in the file, for
what comes later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import duckdb

from soundlink_pipeline.contracts.table import Column, Table
from soundlink_pipeline.warehouse.sql import quote, quote_name
from soundlink_pipeline.warehouse.stored_contract import FoundColumn, FoundTable, StoredTable, key_of
from soundlink_pipeline.warehouse.tables import create, is_guarded, version_columns
from soundlink_pipeline.warehouse.types import is_wider
from soundlink_pipeline.warehouse.unknown_fields import UNKNOWN_FIELDS, left_of, value_in
from soundlink_pipeline.wording import counted

# What a table is called while it is written anew.
_NEW = "_migrated"


@dataclass(frozen=True)
class Obstruction:
    """What stands in the way of a migration, and what to do about it; None: only a rebuild from landed files helps."""

    reason: str
    fix: str | None = None


class TableMigration:
    """What brings one table of ours, as it was `stored` and is `found`, to what is declared; reads only."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, table: Table, stored: StoredTable, found: FoundTable
    ) -> None:
        self._connection, self._table, self._stored = connection, table, stored
        self._own = {column.name: column for column in found.columns if column.name in stored.columns}
        self._analysts = [column for column in found.columns if column.name not in stored.columns]
        self._found = found.columns
        # The declared columns' names, and which column each takes its values from.
        self._sources = _sources(table, self._own)

    def obstructions(self) -> list[Obstruction]:
        """Why it cannot be brought there; empty if it can."""
        return [*self._taken_names(), *self._other_types(), *self._other_key(), *self._new_nulls()]

    def in_words(self) -> str:
        """What changes; empty if nothing but comments does."""
        target = [(c.name, c.type, not is_guarded(self._table, c)) for c in self._table.columns]
        target += [(c.name, c.type, c.nullable) for c in self._analysts]
        if [(c.name, c.type, c.nullable) for c in self._found] == target:
            return ""
        return f"{self._table.name}: {', '.join(self._changes()) or 'its columns change places'}"

    def _taken_names(self) -> Iterator[Obstruction]:
        """New columns whose name an analyst has given to a column."""
        theirs = {column.name.lower(): column.name for column in self._analysts}
        for name in self._table.column_names:
            if name in theirs and name not in self._own:
                yield Obstruction(
                    f"the column {name} of {self._table.name} is new, and a column that the pipeline has not made has"
                    " that name",
                    f"Rename yours (alter table {self._table.name} rename column {quote_name(theirs[name])} to …)"
                    " and run again",
                )

    def _other_types(self) -> Iterator[Obstruction]:
        for column, source in self._pairs():
            if source is None or source.type == column.type:
                continue
            what = f"{column.name} of {self._table.name} was {source.type}, and is {column.type} now"
            if column.name in self._table.primary_key:
                yield Obstruction(f"the key column {what}")
            elif not is_wider(source.type, column.type):
                yield Obstruction(f"the column {what}, which is narrower")
            else:
                old = quote_name(source.name)
                changed = f"try_cast(try_cast({old} as {column.type}) as {source.type}) is distinct from {old}"
                if rows := self._count(f"select count(*) from {self._table.name} where {changed}"):
                    yield Obstruction(f"the column {what}, which would change the values of {counted(rows, 'row')}")

    def _other_key(self) -> Iterator[Obstruction]:
        """An export's key never changes in a warehouse; one of ours may, if it still tells rows apart."""
        names = {source.name: name for name, source in self._sources.items() if source}
        before = [names.get(name, name) for name in self._stored.key]
        now = key_of(self._table)
        if set(before) == set(now) or not now:
            return
        change = f"the primary key of {self._table.name} was {', '.join(before)}, and is {', '.join(now)} now"
        if self._table.primary_key:
            yield Obstruction(change)
            return
        columns = {column.name: column for column in self._table.columns}
        values = ", ".join(f"{self._value(columns[name])} as k{place}" for place, name in enumerate(now))
        places = ", ".join(f"k{place}" for place in range(len(now)))
        lacks = " or ".join(f"k{place} is null" for place in range(len(now)))
        rows = self._count(
            f"select coalesce(sum(n), 0) from (select count(*) as n, bool_or({lacks}) as lacks from"
            f" (select {values} from {self._table.name}) group by {places} having n > 1 or lacks)"
        )
        if rows:
            yield Obstruction(f"{change}, which {counted(rows, 'row')} would share or lack")

    def _new_nulls(self) -> Iterator[Obstruction]:
        """Columns that must not be null now, and are in some row. One that an export gains may be, in older rows."""
        for column, source in self._pairs():
            if column.nullable is not False:
                continue
            if source is None:
                must = is_guarded(self._table, column)
            else:
                must = self._stored.columns[source.name].nullable is not False
            if must and (
                rows := self._count(f"select count(*) from {self._table.name} where {self._value(column)} is null")
            ):
                yield Obstruction(
                    f"the column {column.name} of {self._table.name} must not be null now, and is in"
                    f" {counted(rows, 'row')}"
                )

    def statements(self) -> list[str]:
        """SQL that writes the table anew and puts it in the place of the old one."""
        name = self._table.name
        new = replace(self._table, name=f"{_NEW}_{name}")
        theirs = [quote_name(column.name) for column in self._analysts]
        columns = ", ".join([*self._table.column_names, *theirs])
        values = ", ".join([*(self._value(column) for column in self._table.columns), *theirs])
        indexes = self._connection.execute(
            "select sql from duckdb_indexes() where database_name = current_database() and schema_name = 'main'"
            " and table_name = ?",
            [name],
        ).fetchall()
        return [
            create(new, *(_definition(column) for column in self._analysts)),
            f"insert into {new.name} ({columns}) select {values} from {name}",
            f"drop table {name}",
            f"alter table {new.name} rename to {name}",
            *(
                f"comment on column {name}.{quote_name(column.name)} is {quote(column.comment)}"
                for column in self._analysts
                if column.comment
            ),
            *(sql for (sql,) in indexes),
        ]

    def statements_for_vanished_rows(self) -> list[str]:
        """SQL that gives the rows of an export that have vanished the same columns: they are kept as JSON of texts."""
        table = self._table
        if not table.primary_key or table.like:
            return []
        values = {c.name: f"({self._value(c)})::{c.type}" for c in version_columns(table)}
        was = ", ".join(
            f"(row ->> {quote(c.name)})::{c.type} as {quote_name(c.name)}"
            for c in self._own.values()
            if not c.name.startswith("_") or c.name == UNKNOWN_FIELDS
        )
        key = ", ".join(f"{name} := {values[name]}" for name in table.primary_key)
        row = ", ".join(f"{name} := ({value})::varchar" for name, value in values.items())
        return [
            f"""
            update vanished_rows as v set key = n.key, row = n.row
            from (
                select id, to_json(struct_pack({key})) as key, to_json(struct_pack({row})) as row
                from (select rowid as id, {was} from vanished_rows where export = {quote(table.name)})
            ) as n where v.rowid = n.id
            """
        ]

    def _changes(self) -> Iterator[str]:
        taken = {source.name for source in self._sources.values() if source}
        for column, source in self._pairs():
            if source is None:
                yield f"{column.name} is added"
                continue
            if source.name != column.name:
                yield f"{source.name} becomes {column.name}"
            if source.type != column.type:
                yield f"{column.name} becomes {column.type}"
            if is_guarded(self._table, column) == source.nullable:
                yield f"{column.name} {'may' if not source.nullable else 'must not'} be null"
        yield from (f"{name} is dropped" for name in self._own if name not in taken)

    def _pairs(self) -> Iterator[tuple[Column, FoundColumn | None]]:
        return ((column, self._sources[column.name]) for column in self._table.columns)

    def _value(self, column: Column) -> str:
        """The column's value in a row that is there, in SQL over the row as it is."""
        source = self._sources[column.name]
        if source is None:
            return self._value_of_new(column)
        if column.name == UNKNOWN_FIELDS and (new := self._known_by_now()):
            return left_of(new)
        value = quote_name(source.name)
        return value if source.type == column.type else f"{value}::{column.type}"

    def _value_of_new(self, column: Column) -> str:
        """What was delivered before there was a column for it, or what the contract says of the past, or null."""
        values = [f"({column.backfill})::{column.type}"] if column.backfill else []
        if names := [name for name, of in self._known_by_now() if of is column]:
            values.insert(0, value_in(names, column))
        return f"coalesce({', '.join(values)})" if values else "null"

    def _known_by_now(self) -> list[tuple[str, Column]]:
        """Fields that were unknown until now, each with the column it fills: of the same name, or of an earlier one."""
        if UNKNOWN_FIELDS not in self._own:
            return []
        new = [c for c, source in self._pairs() if source is None and not c.name.startswith("_")]
        names = self._table.column_names
        return [(name, c) for c in new for name in (c.name, *(n for n in c.renamed_from if n not in names))]

    def _count(self, query: str) -> int:
        return int(self._connection.execute(query).fetchall()[0][0])


def _sources(table: Table, own: Mapping[str, FoundColumn]) -> dict[str, FoundColumn | None]:
    """For each declared column the one that holds its values: of its own name, or of an earlier one; None if new."""
    renamed = {
        column.name: next((own[name] for name in column.renamed_from if name in own), None)
        for column in table.columns
        if column.name not in own
    }
    taken = {source.name for source in renamed.values() if source}
    return {
        name: renamed.get(name) or (own[name] if name in own and name not in taken else None)
        for name in table.column_names
    }


def _definition(column: FoundColumn) -> str:
    """An analyst's column as it was."""
    default = f" default {column.default}" if column.default else ""
    return f"{quote_name(column.name)} {column.type}{default}{'' if column.nullable else ' not null'}"
