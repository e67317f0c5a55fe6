"""What an export is made of: columns with types and rules, identities, ratios, a primary key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from soundlink_pipeline.contracts.subject import Subject, Tail
from soundlink_pipeline.contracts.table import MONEY, Column

# The types a delivered field can be read as; money is DECIMAL.
DeliveredType = Literal["VARCHAR", "BIGINT", "DOUBLE", "DECIMAL(18,6)", "DATE", "TIMESTAMP"]

# Columns the pipeline itself relies on; every export must have them.
DATE_COLUMN = "report_date"
VERSION_COLUMN = "exported_at"
# Names the currency of every column of money in its row.
CURRENCY_COLUMN = "currency"
# Whose row it is, an organization at Soundlink. Which account has asked for it, the ledger tells.
ORGANIZATION_COLUMN = "account_id"


@dataclass(frozen=True, kw_only=True)
class ExportColumn(Column):
    """One column of an export, with the rules that a delivery must keep.

    `allowed` lists the only values accepted; `minimum` is the smallest number accepted; `country` demands a
    country code or what a source sends for one (T1); `one_per_delivery` demands the same value in every row of a
    delivery, `one_per_row` that no two rows of a delivery differ in this key column alone. A nullable column may be
    null or absent; any other must be there in every row.
    """

    type: DeliveredType
    nullable: bool = False
    allowed: tuple[str, ...] = ()
    minimum: int | None = None
    country: bool = False
    one_per_delivery: bool = False
    one_per_row: bool = False

    @property
    def rule(self) -> str:
        parts = []
        if self.allowed:
            parts.append("one of " + ", ".join(self.allowed) if len(self.allowed) > 1 else f"always {self.allowed[0]}")
        if self.minimum is not None:
            parts.append(f"at least {self.minimum}")
        if self.country:
            parts.append("two characters, a capital letter and a capital letter or digit")
        if self.one_per_delivery:
            parts.append("the same in every row of a delivery")
        if self.one_per_row:
            parts.append("no two rows of a delivery differ in it alone")
        if self.name == DATE_COLUMN:
            parts.append("within the requested range")
        return "; ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Two SQL expressions over a row's columns that are the same figure.

    Of `money`, each side is rounded: they may differ by one minor unit of the row's currency.
    """

    name: str
    left: str
    right: str
    money: bool = False


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A column that is `numerator` / `denominator`, rounded; `undefined` (SQL) where that cannot be."""

    column: str
    numerator: str
    denominator: str
    undefined: Literal["0", "null"]


@dataclass(frozen=True, kw_only=True)
class Export:
    """One NDJSON export of the API: a path below one of its `subject`, and the table it fills.

    `path` holds `{id}`, the id the API lists (it may differ from the one in the rows). A key needs `scope` for it.
    `tail` says how its rows go on after the end of what they are about.
    `title` and `grain` are for people; `measures` are the additive columns worth a total in the UI, `charted` those
    that are worth a picture, with a title each. `identities` and `ratios` are what the API says of a row's figures: no
    reason to refuse a delivery, but checked once it is loaded (`quality/row_checks.py`).
    """

    name: str
    subject: Subject
    scope: str
    path: str
    title: str
    grain: str
    primary_key: tuple[str, ...]
    columns: tuple[ExportColumn, ...]
    measures: tuple[str, ...]
    tail: Tail
    charted: Mapping[str, str] = field(default_factory=dict)
    identities: tuple[Identity, ...] = ()
    ratios: tuple[Ratio, ...] = ()

    def __post_init__(self) -> None:
        by_name = {column.name: column for column in self.columns}
        if len(by_name) != len(self.columns):
            raise ValueError(f"export {self.name}: a column is named twice")
        ratios = [name for ratio in self.ratios for name in (ratio.column, ratio.numerator, ratio.denominator)]
        own = (DATE_COLUMN, VERSION_COLUMN, self.id_column, self.subject.name_column)
        for name in (*self.primary_key, *own, *self.measures, *self.charted, *ratios):
            if name not in by_name:
                raise ValueError(f"export {self.name}: column {name!r} is used but not declared")
        for name in (*self.primary_key, VERSION_COLUMN):
            if by_name[name].nullable:
                raise ValueError(f"export {self.name}: key column {name!r} must not be nullable")
        if any(column.name.startswith("_") for column in self.columns):
            raise ValueError(f"export {self.name}: names beginning with _ are the pipeline's own")
        for name, kind in ((DATE_COLUMN, "DATE"), (VERSION_COLUMN, "TIMESTAMP"), (self.id_column, "VARCHAR")):
            if by_name[name].type != kind:
                raise ValueError(f"export {self.name}: column {name!r} must be of type {kind}")
        if not by_name[self.id_column].one_per_delivery:
            raise ValueError(f"export {self.name}: a delivery must be of one {self.id_column}")
        if not {DATE_COLUMN, self.id_column} <= set(self.primary_key):
            raise ValueError(f"export {self.name}: the primary key must hold {DATE_COLUMN} and {self.id_column}")
        if not set(self.one_per_row) <= set(self.primary_key):
            raise ValueError(f"export {self.name}: only key columns can be one per row")

    @property
    def id_column(self) -> str:
        """The column of the rows that says which one of the subject they are about."""
        return self.subject.id_column

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def money(self) -> tuple[str, ...]:
        """The columns of money in the currency that the row names, so that a sum must be of one currency."""
        if CURRENCY_COLUMN not in self.column_names:
            return ()
        return tuple(column.name for column in self.columns if column.type == MONEY)

    def earlier_names(self, column: ExportColumn) -> tuple[str, ...]:
        """Names under which a delivery from before a renaming has the column; not one that another column has now."""
        return tuple(name for name in column.renamed_from if name not in self.column_names)

    @property
    def known_fields(self) -> tuple[str, ...]:
        """Every field that a delivery may have, earlier names too."""
        return (*self.column_names, *(name for column in self.columns for name in self.earlier_names(column)))

    @property
    def row_key(self) -> tuple[str, ...]:
        """The primary key without provider and account_id, which all rows of an account share."""
        return tuple(name for name in self.primary_key if name not in ("provider", "account_id"))

    @property
    def one_per_row(self) -> tuple[str, ...]:
        """The key columns in which alone no two rows of a delivery may differ."""
        return tuple(column.name for column in self.columns if column.one_per_row)

    @property
    def value_columns(self) -> tuple[str, ...]:
        """The columns that make two versions of a row differ: neither key nor version."""
        return tuple(n for n in self.column_names if n not in self.primary_key and n != VERSION_COLUMN)

    def describe(self) -> str:
        return f"{self.title} Grain: one row per {self.grain}."
