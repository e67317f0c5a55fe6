"""SQL made from an export's contract: its tables, how a delivery is read, and how it is merged. Pure text, no engine.

Every statement here is derived from `exports.py`; values never enter the text, they are bound by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass

from soundlink_pipeline.exports import DATE_COLUMN, VERSION_COLUMN, Column, Export

# The words that DuckDB takes for JSON values, in small letters.
_LITERALS = ("true", "false", "nan", "inf", "infinity")
# DuckDB reads more than this as a moment: dates alone, years BC, names of time zones, offsets of 99 hours.
_TIMESTAMP = (
    "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?"
    "(Z|[-+]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?"
)
_EXACT_IN_DOUBLE = 2**53 - 1

# How each type is named in a refusal.
_TYPE_IN_WORDS = {
    "text": "text",
    "integer": "an integer",
    "number": "a finite number",
    "money": "a finite number below 10^12",
    "date": "a date written YYYY-MM-DD",
    "timestamp": "an ISO 8601 timestamp",
}


@dataclass(frozen=True)
class OwnColumn:
    """A column the pipeline adds behind the contract's."""

    name: str
    sql_type: str
    meaning: str


OWN_COLUMNS = (
    OwnColumn(
        "_pulled_at", "TIMESTAMP", "Moment (UTC, server's clock) of the newest pull that delivered this version."
    ),
    OwnColumn("_valid_from", "TIMESTAMP", "Moment (UTC) of the pull that first delivered these values."),
    OwnColumn("_delivery_id", "VARCHAR", "The delivery this version is from; see deliveries."),
    OwnColumn(
        "_last_seen_delivery_id", "VARCHAR", "A newer delivery that held this key in an older version; mostly null."
    ),
)
HISTORY_COLUMNS = (
    OwnColumn("_valid_until", "TIMESTAMP", "Moment (UTC) of the pull whose values replaced these."),
    OwnColumn("_replaced_by_delivery_id", "VARCHAR", "The delivery that replaced these values."),
)


def quote(text: str) -> str:
    """`text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def history_table(export: Export) -> str:
    return f"{export.name}_history"


def create_tables(export: Export) -> list[str]:
    """Statements that create the export's table and its history, with comments; harmless where they exist."""
    key = set(export.primary_key)
    contract = [f"{c.name} {c.sql_type}{' not null' if c.name in key else ''}" for c in export.columns]
    own = [f"{c.name} {c.sql_type}" for c in OWN_COLUMNS]
    extra = [f"{c.name} {c.sql_type}" for c in HISTORY_COLUMNS]
    history = history_table(export)
    statements = [
        f"create table if not exists {export.name} ({', '.join(contract + own)})",
        f"create table if not exists {history} ({', '.join(contract + own + extra)})",
        f"comment on table {export.name} is {quote(export.describe())}",
        f"comment on table {history} is "
        + quote(
            f"Versions of {export.name} that were overwritten by different values. Grain: one per overwritten version."
        ),
    ]
    for table, columns in ((export.name, OWN_COLUMNS), (history, (*OWN_COLUMNS, *HISTORY_COLUMNS))):
        statements += [f"comment on column {table}.{c.name} is {quote(comment(export, c))}" for c in export.columns]
        statements += [f"comment on column {table}.{c.name} is {quote(c.meaning)}" for c in columns]
    return statements


def add_columns(export: Export) -> list[str]:
    """Statements that add, to tables that are older than the contract, the columns it has gained since."""
    return [
        f"alter table if exists {table} add column if not exists {column.name} {column.sql_type}"
        for table in (export.name, history_table(export))
        for column in export.columns
        if column.name not in export.primary_key
    ]


def comment(export: Export, column: Column) -> str:
    """What the database says of a column: meaning, rule, place in the key."""
    text = column.meaning + (f" Rule: {column.rule}." if column.rule else "")
    if column.name in export.primary_key:
        text += f" Primary key, column {export.primary_key.index(column.name) + 1} of {len(export.primary_key)}."
    return text


def requirement(column: Column) -> str:
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
        text = "two capital letters (ISO 3166-1 alpha-2)"
    return text + (" or null" if column.nullable else "")


def _is_text(column: Column) -> bool:
    """Whether the column comes as a JSON string."""
    return column.type in ("text", "date", "timestamp")


def _read_as_json(column: Column, exact: bool) -> bool:
    """Whether the column's raw JSON is read, or only its text.

    Of a number the JSON text tells what a cast would hide: `"12"`, `true` and `1.5` all convert to an integer. Of a
    text it tells a string from anything else; where it must be a certain word or date, no other JSON type reads alike.
    """
    reads_alike = any(not text[:1].isalpha() or text.lower() in _LITERALS for text in column.allowed)
    return exact or not _is_text(column) or reads_alike


def _typed(column: Column, exact: bool) -> str:
    """The typed value of a column as it was read; null where it does not convert."""
    if not _is_text(column):
        return f"try_cast({column.name}::varchar as {column.sql_type})"
    text = f"{column.name} ->> '$'" if _read_as_json(column, exact) else column.name
    if column.type == "date":
        return f"try_cast({text} as date)"
    if column.type == "timestamp":
        # A plain TIMESTAMP drops an offset such as +02:00 without a word. The session is in UTC. Where there is no
        # offset, TIMESTAMPTZ takes four times as long.
        moment = f"try_cast({text} as timestamptz) at time zone 'UTC'"
        return f"(case when ends_with({text}, 'Z') then try_cast({text} as timestamp) else {moment} end)"
    return text


def _violated(column: Column, exact: bool) -> str:
    """True where `raw_<name>`, typed `<name>`, breaks the column's rule."""
    raw, value = f"raw_{column.name}", column.name
    text, broken = raw, []
    if _is_text(column) and _read_as_json(column, exact):
        broken.append(f"not starts_with({raw}, '\"')")
        text = f"trim({raw}, '\"')"
    if column.allowed:
        broken.append(f"{value} not in ({', '.join(quote(text) for text in column.allowed)})")
    if column.country:
        broken.append(f"not regexp_full_match({value}, '[A-Z]{{2}}')")
    if column.type == "date":
        # DuckDB reads 2026/04/01 and 'infinity' as dates, too.
        broken.append(f"{value} is null or {value}::varchar <> {text} or strlen({text}) <> 10")
    elif column.type == "timestamp":
        broken.append(f"{value} is null or not regexp_full_match({text}, {quote(_TIMESTAMP)})")
    elif not _is_text(column):
        # JSON text of another type does not convert: a string comes with its quotes, and true is no number in text.
        broken.append(f"{value} is null")
        if column.type == "integer":
            # Written as 12.0 or 1e3 it came through a double, which is exact up to 2^53 only.
            whole = f"{value}::varchar || '.0' = {raw} and {value} between -{_EXACT_IN_DOUBLE} and {_EXACT_IN_DOUBLE}"
            broken.append(f"((contains({raw}, '.') or contains({raw}, 'e')) and not ({whole}))")
        if column.type == "number":
            broken.append(f"not isfinite({value})")
        if column.minimum is not None:
            broken.append(f"{value} < {column.minimum}")
    rules = " or ".join(broken) or "false"
    return f"{raw} is not null and ({rules})" if column.nullable else f"{raw} is null or {rules}"


_NUMBER = "-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?"


def _may_not_be_text(column: Column) -> str:
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
    free_texts = [c for c in export.columns if c.type == "text" and not c.country and not c.allowed]
    texts = f"hash({', '.join(column.name for column in free_texts)})"
    one_of_each = f"select min(rowid) from {table} where {where} group by {texts}"
    doubtful = " or ".join(_may_not_be_text(column) for column in free_texts)
    return f"select exists(from {table} where rowid in ({one_of_each}) and ({doubtful}))"


def _delivered(export: Export, files: list[str], maximum_line_bytes: int, *, exact: bool) -> str:
    """The CTE `typed`: every row of NDJSON `files` in one pass over the bytes, each column raw and typed."""
    read_as = ", ".join(f"{c.name}: '{'JSON' if _read_as_json(c, exact) else 'VARCHAR'}'" for c in export.columns)
    typed = ",\n        ".join(
        f"{c.name}::varchar as raw_{c.name}, {_typed(c, exact)} as {c.name}" for c in export.columns
    )
    file_list = "[" + ", ".join(quote(file) for file in files) + "]"
    return f"""
with delivered as (
    select * from read_json(
        {file_list}, format = 'newline_delimited', columns = {{{read_as}}},
        filename = true, hive_partitioning = false, maximum_object_size = {maximum_line_bytes}
    )
),
typed as (
    select
        {typed},
        filename
    from delivered
)
"""


def stage(export: Export, table: str, files: list[str], maximum_line_bytes: int, *, exact: bool) -> str:
    """Create temp table `table` from NDJSON `files`: typed columns, `_file`, and `_fault`.

    `_fault` is 0, or the 1-based position of the first column whose rule the row breaks. The rows keep their order, so
    `rowid` orders the lines of a file. The quick reading (not `exact`) takes a third less time, and holds where it
    leaves no `doubtful_texts`.
    """
    faults = (f"when {_violated(c, exact)} then {i}" for i, c in enumerate(export.columns, start=1))
    cases = "\n        ".join(faults)
    return f"""
create temp table {table} as
{_delivered(export, files, maximum_line_bytes, exact=exact)}
select
    {", ".join(export.column_names)},
    filename as _file,
    (case
        {cases}
        else 0
    end)::utinyint as _fault
from typed
"""


def insert_directly(export: Export, files: list[str], maximum_line_bytes: int) -> str:
    """Insert the rows of NDJSON `files` as new, read the quick way; fails as a whole where a row breaks a rule.

    `batch` holds (file, delivery_id, pulled_at, start_date, end_date).
    """
    faults = "\n        ".join(f"when {_violated(c, False)} then error('{c.name}')" for c in export.columns)
    columns = ", ".join(f"typed.{name}" for name in export.column_names)
    return f"""
insert into {export.name} by name
{_delivered(export, files, maximum_line_bytes, exact=False)}
select {columns}, b.pulled_at as _pulled_at, b.pulled_at as _valid_from, b.delivery_id as _delivery_id
from typed join batch as b on b.file = typed.filename
where
    case
        {faults}
        when {DATE_COLUMN} < b.start_date or {DATE_COLUMN} > b.end_date then error('{DATE_COLUMN}')
        else true
    end
"""


def _on_key(export: Export, left: str, right: str) -> str:
    return " and ".join(f"{left}.{name} = {right}.{name}" for name in export.primary_key)


def drop_repeated_keys(export: Export, table: str) -> str:
    """Keep of every key the greatest `exported_at`, and of equal ones the last line (of one delivery)."""
    return f"""
delete from {table} where rowid in (
    select rowid from {table}
    qualify row_number() over (
        partition by {", ".join(export.primary_key)} order by {VERSION_COLUMN} desc, rowid desc
    ) > 1
)
"""


def repeated_keys(export: Export, table: str, where: str = "true") -> str:
    """How many rows of `table` repeat a key: 0 if the key is unique. A hash cannot miss a repeated key."""
    return f"select count(*) - count(distinct hash({', '.join(export.primary_key)})) from {table} where {where}"


def exact_repeated_keys(export: Export, table: str, where: str = "true") -> str:
    """The keys that stand more than once in `table`; to be asked only where `repeated_keys` is not 0."""
    key = ", ".join(export.primary_key)
    return f"select {key} from {table} where {where} group by {key} having count(*) > 1 limit 1"


def classify(export: Export, table: str, changes: str) -> str:
    """Create temp table `changes`: the staged rows with `op`, their fate under the merge rule.

    The merge rule: a row's version is (exported_at, moment of the pull, line); the delivery id orders by the moment of
    the pull, and lines were settled by `drop_repeated_keys`. insert: unknown key. update: greater version, different
    values. same: greater version, same values. stale: not greater.
    Binds `$first` and `$last`, the report dates touched, so that the cost does not grow with the table.
    """
    differs = " or ".join(f"t.{name} is distinct from s.{name}" for name in export.value_columns)
    columns = ", ".join(f"s.{name}" for name in export.column_names)
    return f"""
create temp table {changes} as
select
    {columns},
    s._file,
    b.pulled_at as _pulled_at,
    b.delivery_id as _delivery_id,
    greatest(t._delivery_id, t._last_seen_delivery_id) as _seen_before,
    case
        when t._delivery_id is null then 'insert'
        when (s.{VERSION_COLUMN}, b.delivery_id) <= (t.{VERSION_COLUMN}, t._delivery_id) then 'stale'
        when {differs} then 'update'
        else 'same'
    end as op
from {table} as s
join batch as b on b.file = s._file
left join (select * from {export.name} where {DATE_COLUMN} between $first and $last) as t
    on {_on_key(export, "t", "s")}
"""


def keep_history(export: Export, changes: str) -> str:
    """Log the versions about to be overwritten by different values. Binds `$first` and `$last`."""
    return f"""
insert into {history_table(export)} by name
select t.*, c._pulled_at as _valid_until, c._delivery_id as _replaced_by_delivery_id
from {export.name} as t
join (from {changes} where op = 'update') as c on {_on_key(export, "t", "c")}
where t.{DATE_COLUMN} between $first and $last
"""


def merge(export: Export, changes: str) -> str:
    """Bring inserts and greater versions in. `_valid_from` moves only when values differ."""
    names = export.column_names
    assignments = [f"{n} = c.{n}" for n in names if n not in export.primary_key]
    assignments += [
        "_pulled_at = c._pulled_at",
        "_valid_from = case when c.op = 'update' then c._pulled_at else t._valid_from end",
        "_delivery_id = c._delivery_id",
        "_last_seen_delivery_id = case when c._seen_before > c._delivery_id then c._seen_before end",
    ]
    columns = (*names, "_pulled_at", "_valid_from", "_delivery_id")
    values = [f"c.{n}" for n in names] + ["c._pulled_at", "c._pulled_at", "c._delivery_id"]
    return f"""
merge into {export.name} as t
using (from {changes} where op <> 'stale') as c on ({_on_key(export, "t", "c")})
when matched then update set {", ".join(assignments)}
when not matched then insert ({", ".join(columns)}) values ({", ".join(values)})
"""


def mark_seen(export: Export, changes: str) -> str:
    """An older version in a newer delivery changes nothing but proves that the key is still there."""
    return f"""
update {export.name} as t set _last_seen_delivery_id = c._delivery_id
from (from {changes} where op = 'stale' and _delivery_id > _seen_before) as c
where {_on_key(export, "t", "c")}
"""
