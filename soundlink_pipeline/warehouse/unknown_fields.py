"""Fields that a contract does not know: kept with their row in one JSON column, until they have a column of their own.

They follow the version of the row that holds them, and make none themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from soundlink_pipeline.contracts.schema import ExportColumn
from soundlink_pipeline.contracts.table import MONEY, Column
from soundlink_pipeline.warehouse.sql import quote, without_keys

UNKNOWN_FIELDS = "_unknown_fields"

_EXACT_IN_DOUBLE = 2**53 - 1


def without(json: str, patch: str) -> str:
    """SQL: the JSON object `json` without the fields that the JSON object `patch` has as nulls; null if none is left.

    Whole numbers keep all their digits, others those of a double, and what cannot be taken apart is left out.
    """
    return f"nullif(try(json_merge_patch({json}, {patch})), '{{}}')"


def fields_beyond(json: str, known: Iterable[str]) -> str:
    """SQL: the fields of the JSON object `json` that are not `known`; null if there are none."""
    nulls = ", ".join(f'"{name}": null' for name in known)
    beyond = without(json, quote(f"{{{nulls}}}"))
    return f"{without_keys(f'({beyond})::varchar')}::json"


def value_in(names: Sequence[str], column: Column) -> str:
    """SQL: a column's value in `_unknown_fields`, under the first of `names` that has one.

    Null where none has, and where what is there has another type or breaks the column's rule.
    """
    values = [_value(name, column) for name in names]
    return values[0] if len(values) == 1 else f"coalesce({', '.join(values)})"


def left_of(taken: Iterable[tuple[str, Column]]) -> str:
    """SQL: `_unknown_fields` without each field of `taken` that its column has taken, as a value or as null."""
    nulls = ", ".join(
        f"case when {_value(name, column)} is not null or {_kind(name)} = 'NULL' then '\"{name}\":null' end"
        for name, column in taken
    )
    return without(UNKNOWN_FIELDS, f"('{{' || concat_ws(',', {nulls}) || '}}')::json")


def _kind(name: str) -> str:
    return f"json_type({UNKNOWN_FIELDS}, '$.{name}')"


def _value(name: str, column: Column) -> str:
    """A field's value as the column's type, by the rules that a delivery is held to."""
    text = f"({UNKNOWN_FIELDS} ->> '$.{name}')"
    value, of_type = f"try_cast({text} as {column.type})", f"{_kind(name)} = 'VARCHAR'"
    if column.type in ("BIGINT", "DOUBLE", MONEY):
        of_type = f"{_kind(name)} in ('BIGINT', 'UBIGINT', 'DOUBLE')"
    if column.type == "BIGINT":
        of_type += f" and ({_kind(name)} <> 'DOUBLE' or {value}::varchar || '.0' = {text})"
        of_type += f" and ({_kind(name)} <> 'DOUBLE' or abs({value}) <= {_EXACT_IN_DOUBLE})"
    elif column.type == "DOUBLE":
        of_type += f" and isfinite({value})"
    elif column.type == "DATE":
        of_type += f" and {value}::varchar = {text} and strlen({text}) = 10"
    elif column.type == "TIMESTAMP":
        value = f"(try_cast({text} as timestamptz) at time zone 'UTC')"  # a TIMESTAMP would drop the offset
    rules = [of_type, *_rules(value, column)]
    return f"case when {' and '.join(rules)} then {value} end"


def _rules(value: str, column: Column) -> list[str]:
    if not isinstance(column, ExportColumn):
        return []
    rules = []
    if column.allowed:
        rules.append(f"{value} in ({', '.join(quote(text) for text in column.allowed)})")
    if column.minimum is not None:
        rules.append(f"{value} >= {column.minimum}")
    if column.country:
        rules.append(f"regexp_full_match({value}, '[A-Z][A-Z0-9]')")
    return rules
