"""A table as data: its columns with type and meaning, and which of them tell one row from another.

Every table and view is described so: an export's, the pipeline's own, and the SQL models' as DuckDB binds them. The
statements that make a table, its comments, the documents and Dagster's column schemas are all derived from this.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

# Six decimals: spend_media + fees = spend_total holds to the cent, where DOUBLE breaks it for one row in four.
MONEY: Final = "DECIMAL(18,6)"

Kind = Literal["table", "view", "incremental", "ephemeral"]


@dataclass(frozen=True)
class Column:
    """One column of a table or view.

    `type` is DuckDB's name of it; a TIMESTAMP is always UTC. `nullable`: whether a null is to be expected; None where
    nothing forbids a null and nothing expects one. For warehouses that are older than the column: `renamed_from` are
    its earlier names, whose values it takes over; `backfill` is the value of rows that are there already, in SQL over
    the row as it was, of an export over what was delivered (null without it).
    """

    name: str
    type: str
    meaning: str
    nullable: bool | None = field(default=True, kw_only=True)
    renamed_from: tuple[str, ...] = field(default=(), kw_only=True)
    backfill: str = field(default="", kw_only=True)

    @property
    def rule(self) -> str:
        """The rule of this column beyond its type, in words; empty if there is none."""
        return ""

    @property
    def description(self) -> str:
        """Meaning and rule."""
        return f"{self.meaning} Rule: {self.rule}." if self.rule else self.meaning


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table or view; `name` is written as a query writes it.

    `meaning` ends with the grain in words, `grain` are the columns that tell one row from another (none of a table of
    one row). `primary_key` is the key that the source of the rows documents, if it does. An `incremental` table is an
    SQL model of which a refresh rebuilds the days it pulled. `query` is a view's SQL, where the warehouse makes it.
    `like` is a table whose columns come first among `columns`.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    grain: tuple[str, ...] = ()
    primary_key: tuple[str, ...] = ()
    kind: Kind = "table"
    query: str = ""
    like: Table | None = None

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def comment(self, column: Column) -> str:
        """What the database says of a column: meaning, rule, place in the primary key."""
        if column.name not in self.primary_key:
            return column.description
        place = self.primary_key.index(column.name) + 1
        return f"{column.description} Primary key, column {place} of {len(self.primary_key)}."
