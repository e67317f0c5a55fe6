"""SQL made from an export's contract: its tables, how a delivery is read, and how it is merged. Pure text, no engine.

Every statement here is derived from `contracts/`; values never enter the text, they are bound by the caller.
"""

from __future__ import annotations

from soundlink_pipeline.contracts.schema import DATE_COLUMN, VERSION_COLUMN, Export
from soundlink_pipeline.warehouse.tables import export_tables, history_table
from soundlink_pipeline.warehouse.unknown_fields import UNKNOWN_FIELDS


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
    s.{UNKNOWN_FIELDS},
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
    """Log the versions about to be overwritten by different values. Binds `$first` and `$last`.

    A row that only came back to be merged (`presence.enter`) has no `_valid_from`: its version was logged as it went.
    """
    table, _ = export_tables(export)
    columns = ", ".join(f"t.{name}" for name in table.column_names)  # without an analyst's own
    return f"""
insert into {history_table(export)} by name
select {columns}, c._pulled_at as _valid_until, c._delivery_id as _replaced_by_delivery_id, false as _vanished
from {export.name} as t
join (from {changes} where op = 'update') as c on {_on_key(export, "t", "c")}
where t.{DATE_COLUMN} between $first and $last and t._valid_from is not null
"""


def merge(export: Export, changes: str) -> str:
    """Bring inserts and greater versions in. `_valid_from` moves only when values that are believed differ.

    Fields that the contract does not know come with each version, also with one of the same values.
    """
    names = (*export.column_names, UNKNOWN_FIELDS)
    assignments = [f"{n} = c.{n}" for n in names if n not in export.primary_key]
    assignments += [
        "_pulled_at = c._pulled_at",
        "_valid_from = case when c.op = 'update' and t._valid_from is not null then c._pulled_at"
        " else t._valid_from end",
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
