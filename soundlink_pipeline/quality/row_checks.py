"""Row checks: what the API promises of an export's rows, each as a query for the rows that break the promise.

They run over the days a run has just loaded (`quality/checked_days.py`). What `loading/validation.py` rejects never
gets here; these promises take more than one row, the ledger or the past to judge, or are no reason to reject a
delivery.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import duckdb

from soundlink_pipeline.contracts.currencies import minor_unit_sql
from soundlink_pipeline.contracts.days import REVISION_DAYS, SETTLED_AFTER_DAYS, DateRange
from soundlink_pipeline.contracts.schema import CURRENCY_COLUMN, DATE_COLUMN, Export, Ratio
from soundlink_pipeline.quality.checked_days import checked_days
from soundlink_pipeline.quality.late_rows import late_rows
from soundlink_pipeline.quality.moved_rows import changed_for_good, gone_for_good
from soundlink_pipeline.quality.rows_gone import rows_gone
from soundlink_pipeline.typed import rebuilding
from soundlink_pipeline.warehouse.sql import quote
from soundlink_pipeline.warehouse.tables import history_table
from soundlink_pipeline.wording import counted

SHOWN_ROWS = 5
# A day is unusual with less than half or more than twice the median of so many same weekdays before it, if there are
# at least three, of enough rows to tell.
_WEEKS, _FEWEST_WEEKS, _FEWEST_ROWS = 8, 3, 20


@dataclass(frozen=True)
class RowCheck:
    """What must hold of an export's rows in a window, and what an operator does where it does not.

    `failing_rows_sql` binds the parameters of `CheckedDays`. Most checks pass, and one statement shows it of all of
    them: `count_sql` is an aggregate over the window's rows that is 0 where the check passes, `possible_sql` a query
    for rows without which nothing can fail. A check without either is run each time. `blocking`: models and published
    file would be wrong, so they are not built. `unit`: what one failing row stands for (row, delivery, day).
    """

    name: str
    rule: str
    remedy: str
    severity: Literal["error", "warn"]
    failing_rows_sql: str
    count_sql: str = ""
    possible_sql: str = ""
    blocking: bool = False
    unit: str = "row"

    @property
    def description(self) -> str:
        effect = "nothing downstream is built" if self.blocking else "everything else goes on"
        level = "an error" if self.severity == "error" else "a warning"
        return f"{self.rule}\n\n**If not** ({level}; {effect}): {self.remedy}"


@dataclass(frozen=True)
class CheckResult:
    """How many rows fail a check, and the first SHOWN_ROWS of them, as `columns` and `rows`."""

    check: RowCheck
    bad_rows: int = 0
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()

    @property
    def passed(self) -> bool:
        return self.bad_rows == 0

    def __str__(self) -> str:
        breaks = "breaks" if self.bad_rows == 1 else "break"
        return f"{self.counts} {breaks} the rule: {self.check.rule}"

    @property
    def counts(self) -> str:
        """`1 row`, `3 deliveries`."""
        return counted(self.bad_rows, self.check.unit)


_ACCEPT = (
    "Ask Soundlink about the rows below: the file as delivered is kept in landing/. To go on with the numbers as they"
    " are, materialize what is downstream without this asset; once Soundlink has corrected them, pull again with"
    " refetch: true in the run's config."
)


def row_checks(export: Export) -> list[RowCheck]:
    """Every check of `export`, blocking ones first."""
    found = [*_integrity(export), *_figures(export), *_history(export), *_habits(export)]
    return sorted(found, key=lambda check: not check.blocking)


def run_checks(
    connection: duckdb.DuckDBPyConnection, export: Export, dates: DateRange, loaded: Collection[str] = ()
) -> list[CheckResult]:
    """The result of every check of `export` on the days of `dates` and those that the deliveries `loaded` changed."""
    checks, window = row_checks(export), checked_days(connection, export, dates, loaded).parameters()
    may_fail = [check.count_sql or f"exists ({check.possible_sql or 'select 1'})" for check in checks]
    looked_for = f"select {', '.join(may_fail)} from {export.name} where {_IN_DAYS}"
    (found,) = connection.execute(looked_for, _bound(looked_for, window)).fetchall()
    return [
        _run(connection, check, window) if may_have_failed else CheckResult(check)
        for check, may_have_failed in zip(checks, found, strict=True)
    ]


def _run(connection: duckdb.DuckDBPyConnection, check: RowCheck, window: Mapping[str, object]) -> CheckResult:
    query = f"select *, count(*) over () from ({check.failing_rows_sql}\n) limit {SHOWN_ROWS}"
    found = connection.execute(query, _bound(query, window))
    columns, rows = [name for name, *_ in found.description or ()][:-1], found.fetchall()
    return CheckResult(check, rows[0][-1], columns, [row[:-1] for row in rows]) if rows else CheckResult(check)


def _bound(query: str, window: Mapping[str, object]) -> dict[str, object]:
    """Those of the parameters that the query names; DuckDB takes no others."""
    return {name: value for name, value in window.items() if f"${name}" in query}


_IN_DAYS = f"{DATE_COLUMN} in (select unnest($days))"


def _touched(day: str, changed_at: str) -> str:
    """Of the days checked; or of days around them that a probe reaches, where the change came with their pulls."""
    return f"{day} between $first and $last and ({day} in (select unnest($days)) or {changed_at} >= $since)"


def _in_window(export: Export) -> str:
    return f"from {export.name} where {_IN_DAYS}"


def _of_rows(export: Export, columns: str, bad: str) -> tuple[str, str]:
    """The query for the rows where `bad`, and its count."""
    key = ", ".join(export.row_key)
    query = f"select {key}, {columns} {_in_window(export)} and ({bad}) order by {key}"
    return query, f"count(*) filter ({bad})"


def _integrity(export: Export) -> Iterator[RowCheck]:
    key = ", ".join(export.primary_key)
    incomplete = " or ".join(f"{name} is null or {name}::varchar = ''" for name in export.primary_key)
    yield RowCheck(
        "primary_key_unique",
        f"Every row has all of its primary key, and no two rows have the same: {key}.",
        "Report it as a fault of the pipeline: a load that would leave a key twice is rolled back. Until then"
        f" move warehouse.duckdb away and run {rebuilding()}.",
        "error",
        f"""
        select {key}, count(*) as n {_in_window(export)} group by {key} having n > 1 or {incomplete}
        """,
        f"count(*) - count(distinct hash({key})) + count(*) filter ({incomplete})",
        blocking=True,
    )
    yield RowCheck(
        "rows_as_delivered",
        f"The table holds, of the newest delivery of each {export.subject.name} and day, as many rows as were delivered"
        " and as the API announced (X-Row-Count): none lost, none twice.",
        "Somebody has changed the warehouse by hand, or the pipeline has a fault. Move warehouse.duckdb away and run"
        f" {rebuilding()}: it makes the warehouse anew from the delivered files, without a request.",
        "error",
        f"""
        with newest as (
            select * from deliveries as d
            where export = {quote(export.name)} and row_subject_id is not null
                and start_date <= $last and end_date >= $first
                and (
                    pulled_at >= $since
                    or exists (from unnest($days) as s (day) where day between start_date and end_date)
                )
                and not exists (
                    from deliveries as l
                    where l.export = d.export and l.speaks_for = d.speaks_for
                        and l.start_date <= d.end_date and l.end_date >= d.start_date
                        and (l.delivery_id > d.delivery_id or l.load_order > d.load_order)
                )
        ),
        found as (
            select _delivery_id as delivery_id, count(*) as n from {export.name}
            where {DATE_COLUMN} between (select min(start_date) from newest) and (select max(end_date) from newest)
            group by all
        )
        select subject_id, start_date, end_date, declared_rows, rows as delivered,
            inserted + updated + unchanged as loaded, coalesce(n, 0) as in_the_table, landed_file
        from newest left join found using (delivery_id)
        where loaded <> in_the_table or coalesce(declared_rows, rows) <> rows
        order by subject_id
        """,
        possible_sql=f"""
            from deliveries where export = {quote(export.name)} and start_date <= $last and end_date >= $first
        """,
        blocking=True,
        unit="delivery",
    )


def _figures(export: Export) -> Iterator[RowCheck]:
    for identity in export.identities:
        tolerance = minor_unit_sql(CURRENCY_COLUMN) if identity.money else "0"
        bad = f"abs(({identity.left}) - ({identity.right})) > {tolerance}"
        columns = f"{identity.left} as computed, {identity.right} as expected"
        columns += f", {CURRENCY_COLUMN}" * identity.money
        within = ", within one minor unit of the row's currency (0.01 USD, 1 JPY)" if identity.money else ""
        yield RowCheck(
            identity.name,
            f"{identity.left} = {identity.right}{within}.",
            _ACCEPT,
            "error",
            *_of_rows(export, columns, bad),
            blocking=True,
        )
    bad = " or ".join(_off(ratio) for ratio in export.ratios)
    if bad:
        parts = dict.fromkeys(name for r in export.ratios for name in (r.column, r.numerator, r.denominator))
        says = "; ".join(
            f"{r.column} = {r.numerator} / {r.denominator} ({r.undefined} where that cannot be)" for r in export.ratios
        )
        yield RowCheck(
            "ratios_agree",
            f"Each ratio is what its parts make, rounded to two to four decimals: {says}.",
            "The models do not use these columns, they compute ratios from summed parts. Ask Soundlink if it goes on.",
            "warn",
            *_of_rows(export, ", ".join(parts), bad),
        )
    subject = export.subject.name
    kind, track, playlist = (f"{subject}_target_{name}" for name in ("type", "spotify_track_id", "playlist_id"))
    isrc = f"{subject}_target_isrc"
    bad = (
        f"({track} is not null) <> ({kind} is not distinct from 'track')"
        f" or ({playlist} is not null) <> ({kind} is not distinct from 'playlist')"
        f" or ({isrc} is not null and {kind} is distinct from 'track')"
    )
    yield RowCheck(
        "target_ids_match",
        f"A track {subject} names its Spotify track and no playlist, a playlist {subject} its playlist and no track,"
        " and one of another or undetermined type neither.",
        "Rows stay as delivered; what joins on the target's id may miss them. Ask Soundlink if it goes on.",
        "warn",
        *_of_rows(export, f"{kind}, {isrc}, {track}, {playlist}", bad),
    )


def _off(ratio: Ratio) -> str:
    """True where the ratio is further from its parts than its last decimal explains (two at least, four at most)."""
    value, exact = ratio.column, f"{ratio.numerator}::double / {ratio.denominator}"
    two, three = (f"{value} = round({value}, {decimals})" for decimals in (2, 3))
    rounded_to = f"(case when {two} then 0.01 when {three} then 0.001 else 0.0001 end)"
    cannot_be = f"{ratio.numerator} is null or coalesce({ratio.denominator}, 0) = 0"
    undefined = f"{value} is distinct from {ratio.undefined}"
    defined = f"{value} is null or abs({value} - {exact}) > {rounded_to} / 2 + 1e-9"
    return f"(case when {cannot_be} then {undefined} else {defined} end)"


def _history(export: Export) -> Iterator[RowCheck]:
    key = ", ".join(export.row_key)
    measures = ", ".join(f"h.{name} as {name}_before, t.{name} as {name}_now" for name in export.measures)
    yield RowCheck(
        "settled_values_final",
        "No value changed, and no key vanished, that was final: pulled"
        f" {SETTLED_AFTER_DAYS} days after its day began, or later.",
        f"Soundlink has broken its promise that a day is revised for {REVISION_DAYS} days only. The table holds what it"
        f" says now, {history_table(export)} what it said. Tell those who reported the old number; ask Soundlink why.",
        "error",
        f"""
        select {", ".join(f"h.{name}" for name in export.row_key)},
            case when h._vanished then seen.pulled_at else h._pulled_at end as final_since,
            h._valid_until as revised_at, {measures}
        from {history_table(export)} as h
        left join {export.name} as t using ({", ".join(export.primary_key)})
        left join deliveries as seen on seen.delivery_id = greatest(h._delivery_id, h._last_seen_delivery_id)
        where {_touched(f"h.{DATE_COLUMN}", "h._valid_until")}
            and final_since >= h.{DATE_COLUMN} + interval {SETTLED_AFTER_DAYS} days
            and {changed_for_good(export)}
        order by revised_at desc, {", ".join(f"h.{name}" for name in export.row_key)}
        """,
        possible_sql=f"""
            from {history_table(export)} as h
            where {_touched(f"h.{DATE_COLUMN}", "h._valid_until")}
                and (h._vanished or h._pulled_at >= h.{DATE_COLUMN} + interval {SETTLED_AFTER_DAYS} days)
        """,
    )
    yield RowCheck(
        "no_late_rows",
        f"No row came of a day that was final without it: pulled {SETTLED_AFTER_DAYS} days after its start, or later.",
        "The rows below are in the tables, and the marts of their days are built anew: sums of days that were called"
        " settled have grown. Tell those who reported them; ask Soundlink why if it goes on.",
        "warn",
        late_rows(export),
        possible_sql=f"""
            from {export.name} where {DATE_COLUMN} between $first and $last and _valid_from >= $since
                and _valid_from >= {DATE_COLUMN} + interval {SETTLED_AFTER_DAYS} days
        """,
    )
    vanished = f"from vanished_rows where export = {quote(export.name)} and {_touched('report_date', 'vanished_at')}"
    yield RowCheck(
        "no_vanished_keys",
        "Every key that was ever delivered for a day is in the newest delivery of that day.",
        "The table holds what the newest delivery says; rows that it lacks are in vanished_rows, and in no sum. They"
        " come back by themselves once they are delivered again. If they are missing by mistake, ask Soundlink.",
        "warn",
        f"""
        select subject_id, report_date, key, last_seen_at, vanished_at from vanished_rows as v
        where export = {quote(export.name)} and {_touched("report_date", "vanished_at")} and {gone_for_good(export)}
        order by vanished_at desc, {key.split(", ")[0]}, key
        """,
        possible_sql=vanished,
    )
    yield RowCheck(
        "no_rows_gone",
        "No day has lost rows: each one that was ever delivered for it is in its newest delivery.",
        "The source has withdrawn rows, or keys them anew: as many rows left as before say the latter. Rows that are"
        " gone are in vanished_rows. If they should be there, pull the days again with refetch: true in the run's"
        " config, and ask Soundlink if they stay away.",
        "warn",
        rows_gone(export),
        possible_sql=vanished,
        unit="day",
    )


def _habits(export: Export) -> Iterator[RowCheck]:
    known = ", ".join(map(quote, export.known_fields))  # by now; a delivery may be older
    yield RowCheck(
        "no_unknown_fields",
        "The rows have no field that the contract does not know.",
        "Nothing is lost: the rows keep the fields, in _unknown_fields. To have one as a column, add it to"
        f" soundlink_pipeline/contracts/ ({export.name}): the next run fills it for the past too.",
        "warn",
        f"""
        with of_export as (
            select * replace (list_filter(unknown_fields, lambda name: name not in ({known})) as unknown_fields)
            from deliveries where export = {quote(export.name)}
        )
        select array_to_string(unknown_fields, ', ') as unknown_fields, subject_id, start_date, end_date
        from of_export
        where len(unknown_fields) > 0
            and delivery_id in (select distinct _delivery_id {_in_window(export)})
        order by subject_id
        """,
        possible_sql=f"from deliveries where export = {quote(export.name)} and len(unknown_fields) > 0",
        unit="delivery",
    )
    yield RowCheck(
        "known_countries",
        "Every country_code is one that ISO 3166-1 assigns.",
        "Rows and sums are right; the marts and the report show such a code as unknown (T1). T1, A1 and A2 are networks"
        " that hide where a listener is, XK is not ISO's (many mean Kosovo by it). Ask Soundlink about any other.",
        "warn",
        f"""
        select country_code, count(*) as rows, min({DATE_COLUMN}) as first_day, max({DATE_COLUMN}) as last_day
        {_in_window(export)} and country_code not in (select country_code from countries)
        group by country_code order by country_code
        """,
        "count(*) filter (country_code not in (select country_code from countries))",
        unit="code",
    )
    yield RowCheck(
        "usual_volume",
        f"A day has between half and twice the rows of the median of the same weekday in the {_WEEKS} weeks before.",
        f"Many {export.subject.plural} that start or end at once explain it. If not, pull again with refetch: true in"
        f" the run's config, and look at {export.id_column} by day in the table for what is missing.",
        "warn",
        f"""
        with days as (
            select {DATE_COLUMN}, count(*) as rows from {export.name}
            where {DATE_COLUMN} between list_min($days) - {7 * _WEEKS} and list_max($days) group by all
        ),
        requested as (
            select day as {DATE_COLUMN}, coalesce(rows, 0) as rows
            from unnest($days) as s (day) left join days on days.{DATE_COLUMN} = day
        )
        select a.{DATE_COLUMN}, a.rows, median(d.rows)::bigint as usual_rows, count(*) as weeks
        from requested as a
        join days as d
            on d.{DATE_COLUMN} >= a.{DATE_COLUMN} - {7 * _WEEKS} and d.{DATE_COLUMN} < a.{DATE_COLUMN}
            and (a.{DATE_COLUMN} - d.{DATE_COLUMN}) % 7 = 0
        group by all
        having weeks >= {_FEWEST_WEEKS} and usual_rows >= {_FEWEST_ROWS}
            and not a.rows between usual_rows / 2 and usual_rows * 2
        order by a.{DATE_COLUMN}
        """,
        # Of a day without rows, too, if there were some on one like it.
        possible_sql=f"""
            from {export.name} where {DATE_COLUMN} between list_min($days) - {7 * _WEEKS} and list_max($days)
        """,
        unit="day",
    )
