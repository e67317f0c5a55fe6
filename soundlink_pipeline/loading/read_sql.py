"""The SQL that reads NDJSON files: columns typed and every rule checked in one pass over the bytes."""

from __future__ import annotations

from soundlink_pipeline.contracts.schema import DATE_COLUMN, DeliveredType, Export, ExportColumn
from soundlink_pipeline.contracts.table import MONEY
from soundlink_pipeline.warehouse.sql import quote
from soundlink_pipeline.warehouse.unknown_fields import UNKNOWN_FIELDS, fields_beyond

# The words that DuckDB takes for JSON values, in small letters.
_LITERALS = ("true", "false", "nan", "inf", "infinity")
# DuckDB reads more than this as a moment: dates alone, years BC, names of time zones, offsets of 99 hours.
_TIMESTAMP = (
    "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?"
    "(Z|[-+]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?"
)
_EXACT_IN_DOUBLE = 2**53 - 1
# The text of a JSON number comes from a double: below this a double holds six decimals, and from here on it may not.
SIX_DECIMALS_IN_DOUBLE = 2**33


# How each type is named in a refusal.
_TYPE_IN_WORDS: dict[DeliveredType, str] = {
    "VARCHAR": "text",
    "BIGINT": "an integer",
    "DOUBLE": "a finite number",
    MONEY: "a finite number below 10^12",
    "DATE": "a date written YYYY-MM-DD",
    "TIMESTAMP": "an ISO 8601 timestamp",
}


def requirement(column: ExportColumn) -> str:
    """What a value of this column must be, in words for a refusal."""
    text = _TYPE_IN_WORDS[column.type]
    if column.allowed:
        text = (
            "one of " + ", ".join(f'"{value}"' for value in column.allowed)
            if len(column.allowed) > 1
            else (f'"{column.allowed[0]}"')
        )
    if column.minimum is not None:
        text += f" of at least {column.minimum}"
    if column.country:
        text = "two characters, a capital letter and a capital letter or digit (ISO 3166-1 alpha-2: US)"
    return text + (" or null" if column.nullable else "")


def _is_text(column: ExportColumn) -> bool:
    """Whether the column comes as a JSON string."""
    return column.type in ("VARCHAR", "DATE", "TIMESTAMP")


def _read_as_json(column: ExportColumn, exact: bool) -> bool:
    """Whether the column's raw JSON is read, or only its text.

    Of a number the JSON text tells what a cast would hide: `"12"`, `true` and `1.5` all convert to an integer. Of a
    text it tells a string from anything else; where it must be a certain word or date, no other JSON type reads alike.
    """
    reads_alike = any(not text[:1].isalpha() or text.lower() in _LITERALS for text in column.allowed)
    return exact or not _is_text(column) or reads_alike


def _typed(column: ExportColumn, exact: bool) -> str:
    """The typed value of a column as it was read; null where it does not convert."""
    if not _is_text(column):
        return f"try_cast({column.name}::varchar as {column.type})"
    text = f"{column.name} ->> '$'" if _read_as_json(column, exact) else column.name
    if column.type == "DATE":
        return f"try_cast({text} as date)"
    if column.type == "TIMESTAMP":
        # A plain TIMESTAMP drops an offset such as +02:00 without a word. The session is in UTC. Where there is no
        # offset, TIMESTAMPTZ takes four times as long.
        moment = f"try_cast({text} as timestamptz) at time zone 'UTC'"
        return f"(case when ends_with({text}, 'Z') then try_cast({text} as timestamp) else {moment} end)"
    return text


def _violated(column: ExportColumn, exact: bool) -> str:
    """True where `raw_<name>`, typed `<name>`, breaks the column's rule."""
    raw, value = f"raw_{column.name}", column.name
    text, broken = raw, []
    if _is_text(column) and _read_as_json(column, exact):
        broken.append(f"not starts_with({raw}, '\"')")
        text = f"trim({raw}, '\"')"
    if column.allowed:
        broken.append(f"{value} not in ({', '.join(quote(text) for text in column.allowed)})")
    if column.country:
        broken.append(f"not regexp_full_match({value}, '[A-Z][A-Z0-9]')")
    if column.type == "DATE":
        # DuckDB reads 2026/04/01 and 'infinity' as dates, too.
        broken.append(f"{value} is null or {value}::varchar <> {text} or strlen({text}) <> 10")
    elif column.type == "TIMESTAMP":
        broken.append(f"{value} is null or not regexp_full_match({text}, {quote(_TIMESTAMP)})")
    elif not _is_text(column):
        # JSON text of another type does not convert: a string comes with its quotes, and true is no number in text.
        broken.append(f"{value} is null")
        if column.type == "BIGINT":
            # Written as 12.0 or 1e3 it came through a double, which is exact up to 2^53 only.
            whole = f"{value}::varchar || '.0' = {raw} and {value} between -{_EXACT_IN_DOUBLE} and {_EXACT_IN_DOUBLE}"
            broken.append(f"((contains({raw}, '.') or contains({raw}, 'e')) and not ({whole}))")
        if column.type == "DOUBLE":
            broken.append(f"not isfinite({value})")
        if column.minimum is not None:
            broken.append(f"{value} < {column.minimum}")
    rules = " or ".join(broken) or "false"
    return f"{raw} is not null and ({rules})" if column.nullable else f"{raw} is null or {rules}"


_NUMBER = "-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?"


def _may_not_be_text(column: ExportColumn) -> str:
    """True where a value read as text could have come as another JSON type: a number, true, NaN, an object, a list."""
    value = column.name
    return (
        f"({value} >= '-' and {value} < ':' and regexp_full_match({value}, '{_NUMBER}'))"
        f" or (strlen({value}) <= 9 and regexp_full_match({value}, '(?i)-?({'|'.join(_LITERALS)})'))"
        f" or (starts_with({value}, '{{') and ends_with({value}, '}}'))"
        f" or (starts_with({value}, '[') and ends_with({value}, ']'))"
    )


def doubtful_texts(export: Export, table: str, where: str = "true") -> str:
    """Whether a text in `table` may not have come as text, which the quick reading cannot tell. One row, one boolean.

    Texts repeat from row to row: one row of all with the same texts is judged, and rows are told apart by a hash of
    their texts, which costs less than half of comparing them (or of judging every row), and little memory.
    """
    free_texts = [c for c in export.columns if c.type == "VARCHAR" and not c.country and not c.allowed]
    texts = f"hash({', '.join(column.name for column in free_texts)})"
    one_of_each = f"select min(rowid) from {table} where {where} group by {texts}"
    doubtful = " or ".join(_may_not_be_text(column) for column in free_texts)
    return f"select exists(from {table} where rowid in ({one_of_each}) and ({doubtful}))"


def _money(export: Export) -> list[str]:
    return [column.name for column in export.columns if column.type == MONEY]


def large_money(export: Export) -> str:
    """True for a row with an amount whose decimals the quick reading may have changed; false for an export without."""
    return " or ".join(f"abs({name}) >= {SIX_DECIMALS_IN_DOUBLE}" for name in _money(export)) or "false"


def correct_money(export: Export, table: str, files: list[str], maximum_line_bytes: int) -> str:
    """Set the amounts of `table`, as staged from `files`, to what the bytes say, digit by digit.

    DuckDB reads a DECIMAL exactly where it is declared (2.0.0 did not), but then tells no text from a number: so only
    what keeps every rule already is read so. Rows match by their place in their file.
    """
    earlier = {column.name: export.earlier_names(column) for column in export.columns if column.type == MONEY}
    read_as = ", ".join(f"{each}: '{MONEY}'" for name in earlier for each in (name, *earlier[name]))
    sets = ", ".join(
        f"{name} = coalesce({', '.join(f'e.{each}' for each in (name, *earlier[name]))})" for name in earlier
    )
    place = "row_number() over (partition by {} order by rowid) as place"
    return f"""
create or replace temp table exact_money as
select * from read_json(
    {_list(files)}, format = 'newline_delimited', columns = {{{read_as}}},
    filename = '_file', hive_partitioning = false, maximum_object_size = {maximum_line_bytes}
);
update {table} as t set {sets}
from (
    select s.id, e.* from (select *, {place.format("_file")} from exact_money) as e
    join (select rowid as id, _file, {place.format("_file")} from {table}) as s
        on s._file = e._file and s.place = e.place
) as e
where t.rowid = e.id
"""


def _list(files: list[str]) -> str:
    return "[" + ", ".join(quote(file) for file in files) + "]"


def _delivered(export: Export, files: list[str], maximum_line_bytes: int, *, exact: bool, unknown: bool) -> str:
    """The CTE `typed`: every row of NDJSON `files` in one pass over the bytes, each column raw and typed.

    With `unknown` a second pass brings what else a row has: both read the same lines in the same order.
    """
    read_as = ", ".join(
        f"{name}: '{'JSON' if _read_as_json(c, exact) else 'VARCHAR'}'"
        for c in export.columns
        for name in (c.name, *export.earlier_names(c))
    )
    renamed = ", ".join(
        f"coalesce({c.name}, {', '.join(earlier)}) as {c.name}"
        for c in export.columns
        if (earlier := export.earlier_names(c))
    )
    read = f"own.* replace ({renamed})" if renamed else "own.*"
    options = (
        f"format = 'newline_delimited', filename = true, hive_partitioning = false,"
        f" maximum_object_size = {maximum_line_bytes}"
    )
    beyond, more = f"null::json as {UNKNOWN_FIELDS}", ""
    if unknown:
        others = f"{fields_beyond('json', export.known_fields)} as {UNKNOWN_FIELDS}"
        more = f"positional join (select {others} from read_json_objects({_list(files)}, {options})) as others"
        beyond = f"others.{UNKNOWN_FIELDS}"
    typed = ",\n        ".join(
        f"{c.name}::varchar as raw_{c.name}, {_typed(c, exact)} as {c.name}" for c in export.columns
    )
    return f"""
with delivered as (
    select {read}, {beyond}
    from read_json({_list(files)}, columns = {{{read_as}}}, {options}) as own {more}
),
typed as (
    select
        {typed},
        {UNKNOWN_FIELDS},
        filename
    from delivered
)
"""


def stage(export: Export, table: str, files: list[str], maximum_line_bytes: int, *, exact: bool, unknown: bool) -> str:
    """Create temp table `table` from NDJSON `files`: typed columns, `_unknown_fields`, `_file`, and `_fault`.

    `_fault` is 0, or the 1-based position of the first column whose rule the row breaks. The rows keep their order, so
    `rowid` orders the lines of a file. The quick reading (not `exact`) takes a third less time, and holds where it
    leaves no `doubtful_texts`. Fields that the contract does not know are read only with `unknown`.
    """
    faults = (f"when {_violated(c, exact)} then {i}" for i, c in enumerate(export.columns, start=1))
    cases = "\n        ".join(faults)
    return f"""
create temp table {table} as
{_delivered(export, files, maximum_line_bytes, exact=exact, unknown=unknown)}
select
    {", ".join(export.column_names)},
    {UNKNOWN_FIELDS},
    filename as _file,
    (case
        {cases}
        else 0
    end)::utinyint as _fault
from typed
"""


def insert_directly(export: Export, files: list[str], maximum_line_bytes: int, *, unknown: bool) -> str:
    """Insert the rows of NDJSON `files` as new, read the quick way; fails as a whole where a row breaks a rule.

    `batch` holds (file, delivery_id, pulled_at, start_date, end_date).
    """
    faults = "\n        ".join(f"when {_violated(c, False)} then error('{c.name}')" for c in export.columns)
    columns = ", ".join(f"typed.{name}" for name in (*export.column_names, UNKNOWN_FIELDS))
    return f"""
insert into {export.name} by name
{_delivered(export, files, maximum_line_bytes, exact=False, unknown=unknown)}
select {columns}, b.pulled_at as _pulled_at, b.pulled_at as _valid_from, b.delivery_id as _delivery_id
from typed join batch as b on b.file = typed.filename
where
    case
        {faults}
        when {DATE_COLUMN} < b.start_date or {DATE_COLUMN} > b.end_date then error('{DATE_COLUMN}')
        else true
    end
"""
