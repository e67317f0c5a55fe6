"""A distributor's statements: what each store paid for a track's streams of a month.

They are the files whose names begin with `distributor_statements`, with the columns that Soundlink's playlist-impact
example asks for. Their rows go to one table of the warehouse, so that models can read them, whether or not there are
any.
"""

from __future__ import annotations

import duckdb

from soundlink_pipeline.own_data.reading import TEXT, Unreadable
from soundlink_pipeline.warehouse.own_tables import STATEMENTS
from soundlink_pipeline.warehouse.sql import quote_name

_NEEDED = ("isrc", "store", "sale_month", "country_code", "streams", "revenue", "currency")
# Marts sum all rows in DECIMAL(18,6) and BIGINT: these are far below what those can hold.
_MOST_REVENUE, _MOST_STREAMS = 10**11, 10**15
# Of the text `t`: what it becomes, or null where it cannot, which is a fault unless it may be missing.
_VALUES = {
    "isrc": (
        "case when regexp_full_match(upper(regexp_replace(t.isrc, '[-\\s]', '', 'g')), '[A-Z]{2}[A-Z0-9]{3}[0-9]{7}')"
        " then upper(regexp_replace(t.isrc, '[-\\s]', '', 'g')) end"
    ),
    "store": "nullif(trim(t.store), '')",
    "sale_month": (
        "case when regexp_full_match(trim(t.sale_month), '(19|20)[0-9]{2}-[0-9]{2}(-[0-9]{2}( 00:00:00)?)?')"
        " then date_trunc('month', try_cast(left(trim(t.sale_month) || '-01', 10) as date))::date end"
    ),
    "country_code": "nullif(upper(trim(t.country_code)), '')",
    "streams": (
        "case when regexp_full_match(trim(t.streams), '-?[0-9]{1,15}([.]0*)?')"
        " then split_part(trim(t.streams), '.', 1)::bigint end"
    ),
    "revenue": (
        "case when regexp_full_match(trim(t.revenue), '[-+]?[0-9]*[.]?[0-9]*([eE][-+]?[0-9]{1,2})?')"
        " then try_cast(trim(t.revenue) as decimal(38, 18)) end"
    ),
    "currency": "case when regexp_full_match(upper(trim(t.currency)), '[A-Z]{3}') then upper(trim(t.currency)) end",
}
_MEANT = {
    "isrc": "an ISRC of 12 letters and digits",
    "store": "a store",
    "sale_month": "a month such as 2026-08",
    "streams": "a whole number",
    "revenue": "an amount with a decimal point",
    "country_code": "two letters such as US, or nothing",
    "currency": "a currency of three letters",
}
# A row may be of no country; one that is written in another way would be no listener's.
_IS_WRONG = {name: f"{name} is null" for name in _MEANT} | {
    "country_code": "coalesce(not regexp_full_match(country_code, '[A-Z][A-Z0-9]'), false)"
}


def is_statement(table: str) -> bool:
    """Whether a file that becomes this table is a distributor's statement."""
    return table == STATEMENTS.name or table.startswith(f"{STATEMENTS.name}_")


def statement_rows(connection: duckdb.DuckDBPyConnection) -> str:
    """The query for a statement's rows, each with its number in the file, over the database it was read into.

    Raises Unreadable where a column is missing or a row breaks a rule: a part of a statement would be taken for all.
    """
    there = {name.strip().lower(): name for name, *_ in connection.execute(f"describe {TEXT}").fetchall()}
    if missing := [name for name in _NEEDED if name not in there]:
        raise Unreadable(f"a statement needs the columns {', '.join(_NEEDED)}; it lacks {', '.join(missing)}")
    texts = ", ".join(f"{quote_name(there[name])} as {name}" for name in _NEEDED)
    values = ", ".join(f"{value} as {name}" for name, value in _VALUES.items())
    query = f"select (rowid + 1)::bigint as row, {values} from (select rowid, {texts} from {TEXT}) as t"
    wrong = _IS_WRONG.values()
    found = connection.execute(f"select row, {', '.join(wrong)} from ({query}) where {' or '.join(wrong)} order by row")
    if bad := found.fetchone():
        name = next(name for name, fails in zip(_IS_WRONG, bad[1:], strict=True) if fails)
        ((text,),) = connection.execute(
            f"select {quote_name(there[name])} from {TEXT} where rowid = {bad[0] - 1}"
        ).fetchall()
        raise Unreadable(f"row {bad[0]}: {name} must be {_MEANT[name]}, not {_shown(text)}")
    return query


def check_sums(connection: duckdb.DuckDBPyConnection) -> None:
    """Raises Unreadable where all statements together have sums that the marts could not hold."""
    ((revenue, streams),) = connection.execute(
        f"select sum(abs(revenue::double)), sum(abs(streams)) from {STATEMENTS.name}"
    ).fetchall()
    if (revenue or 0) > _MOST_REVENUE or (streams or 0) > _MOST_STREAMS:
        raise Unreadable("with it all statements have over 10^11 of revenue or 10^15 streams, which cannot be right")


def _shown(text: str | None) -> str:
    return "nothing" if text is None else repr(text if len(text) <= 40 else f"{text[:40]}…")
