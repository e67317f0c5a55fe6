"""Which fields that the contract does not know have been loaded, with their types: counted where they are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import duckdb

from soundlink_pipeline.warehouse.unknown_fields import UNKNOWN_FIELDS

_IN_WORDS = {
    "VARCHAR": "text",
    "BIGINT": "integer",
    "UBIGINT": "integer",
    "DOUBLE": "number",
    "BOOLEAN": "boolean",
    "OBJECT": "object",
    "ARRAY": "list",
    "NULL": "null",
}


@dataclass(frozen=True, order=True)
class UnknownField:
    """A field that the contract does not know: its JSON types, in words, and how many rows have it."""

    name: str
    types: tuple[str, ...]
    rows: int

    def describe(self, of_rows: int) -> str:
        """`saves (integer or null, 12 % of the rows)`."""
        percent = 100 * self.rows // max(of_rows, 1)
        share = "all rows" if self.rows >= of_rows else f"{percent or 'under 1'} % of the rows"
        return f"{self.name} ({' or '.join(self.types)}, {share})"


def count_unknown(
    connection: duckdb.DuckDBPyConnection, table: str, by: str, where: str = "true"
) -> dict[str, tuple[UnknownField, ...]]:
    """The fields in the column `_unknown_fields` of `table`, for each value of its column `by` that has any."""
    # A JSON pointer, since a name may have any characters.
    found = connection.execute(
        f"""
        select source, name, array_agg(distinct try(json_type(fields, pointer))), count(*)
        from (
            select *, '/' || replace(replace(name, '~', '~0'), '/', '~1') as pointer
            from (
                select {by} as source, {UNKNOWN_FIELDS} as fields, unnest(list_distinct(json_keys(fields))) as name
                from {table} where {UNKNOWN_FIELDS} is not null and {where}
            )
        )
        group by source, name
        """
    ).fetchall()
    fields = defaultdict[str, list[UnknownField]](list)
    for source, name, types, rows in found:
        fields[source].append(UnknownField(name, _in_words(types), rows))
    return {source: tuple(sorted(own)) for source, own in fields.items()}


def summed(fields: Iterable[UnknownField]) -> list[UnknownField]:
    """Each field once, with all its types and rows, by name."""
    types, rows = defaultdict[str, set[str]](set), defaultdict[str, int](int)
    for field in fields:
        types[field.name].update(field.types)
        rows[field.name] += field.rows
    return [UnknownField(name, tuple(sorted(types[name])), rows[name]) for name in sorted(rows)]


def _in_words(types: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({_IN_WORDS.get(kind or "", "unreadable") for kind in types}))
