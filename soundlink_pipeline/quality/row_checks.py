"""What the API promises of an export's rows, as questions to the warehouse: each a query whose rows break the promise.

Asked of the days a run has just loaded. What `loading/validation.py` refuses never gets here; these are the promises
that take more than one row, the ledger or the past to judge, and those that are no reason to refuse a delivery.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import duckdb

from soundlink_pipeline.contracts.days import REVISION_DAYS, SETTLED_AFTER_DAYS, DateRange
from soundlink_pipeline.contracts.schema import CAMPAIGN_COLUMN, DATE_COLUMN, Export, Ratio
from soundlink_pipeline.display.markdown import markdown_table
from soundlink_pipeline.models.tests import Severity
from soundlink_pipeline.warehouse.sql import quote
from soundlink_pipeline.warehouse.tables import history_table

SHOWN_ROWS = 5
# A day is unusual with less than half or more than twice the median of so many same weekdays before it, if there are
# at least three, of enough rows to tell.
_WEEKS, _FEWEST_WEEKS, _FEWEST_ROWS = 8, 3, 20


@dataclass(frozen=True)
class Promise:
    """What must hold of an export's rows in a window, and what an operator does where it does not.

    `broken` selects the bad rows; it binds `$start` and `$end`, report dates. `count`, where there is one, is an
    aggregate over the window's rows that is 0 where the promise is kept, so that one scan answers for all of them.
    `blocking`: models and published file would be wrong, so they are not built.
    """

    name: str
    says: str
    to_do: str
    severity: Severity
    broken: str
    count: str = ""
    blocking: bool = False
    counted: str = "row"  # what is bad where it is broken: a row, a delivery, a day

    @property
    def description(self) -> str:
        effect = "nothing downstream is built" if self.blocking else "everything else goes on"
        level = "an error" if self.severity == "error" else "a warning"
        return f"{self.says}\n\n**If not** ({level}; {effect}): {self.to_do}"


@dataclass(frozen=True)
class Answer:
    """How many rows break a promise, and the first of them as a Markdown table."""

    promise: Promise
    bad_rows: int
    sample: str

    @property
    def kept(self) -> bool:
        return self.bad_rows == 0

    def __str__(self) -> str:
        breaks = "breaks" if self.bad_rows == 1 else "break"
        return f"{self.counts} {breaks} {self.promise.name} ({self.promise.says})"

    @property
    def counts(self) -> str:
        """`1 row`, `3 deliveries`."""
        one = self.promise.counted
        many = one.removesuffix("y") + "ies" if one.endswith("ry") else one + "s"
        return f"{self.bad_rows} {one if self.bad_rows == 1 else many}"


_ACCEPT = (
    "Ask Soundlink about the rows below: the file as delivered is kept in landing/. To go on with the numbers as they"
    " are, materialize what is downstream without this asset; once they are mended there, ask again with refetch: true"
    " in the run's config."
)


def promises(export: Export) -> list[Promise]:
    """Every promise of `export`, blocking ones first."""
    found = [*_integrity(export), *_figures(export), *_history(export), *_habits(export)]
    return sorted(found, key=lambda promise: not promise.blocking)


def ask(connection: duckdb.DuckDBPyConnection, export: Export, dates: DateRange) -> list[Answer]:
    """What of each promise holds in the window."""
    asked = promises(export)
    window = {"start": dates.start, "end": dates.end}
    counted = [promise for promise in asked if promise.count]
    (counts,) = connection.execute(
        f"select {', '.join(promise.count for promise in counted)} from {export.name}"
        f" where {DATE_COLUMN} between $start and $end",
        window,
    ).fetchall()
    clean = {promise.name for promise, count in zip(counted, counts, strict=True) if not count}
    return [
        Answer(promise, 0, "") if promise.name in clean else _look(connection, promise, window) for promise in asked
    ]


def _look(connection: duckdb.DuckDBPyConnection, promise: Promise, window: Mapping[str, object]) -> Answer:
    found = connection.execute(f"select *, count(*) over () from ({promise.broken}\n) limit {SHOWN_ROWS}", window)
    columns, rows = [name for name, *_ in found.description or ()][:-1], found.fetchall()
    if not rows:
        return Answer(promise, 0, "")
    return Answer(promise, rows[0][-1], markdown_table(columns, [row[:-1] for row in rows]))


def _in_window(export: Export) -> str:
    return f"from {export.name} where {DATE_COLUMN} between $start and $end"


def _of_rows(export: Export, columns: str, bad: str) -> tuple[str, str]:
    """The query for the rows where `bad`, and its count."""
    key = ", ".join(export.row_key)
    query = f"select {key}, {columns} {_in_window(export)} and ({bad}) order by {key}"
    return query, f"count(*) filter ({bad})"


def _integrity(export: Export) -> Iterator[Promise]:
    key = ", ".join(export.primary_key)
    incomplete = " or ".join(f"{name} is null or {name}::varchar = ''" for name in export.primary_key)
    yield Promise(
        "primary_key_unique",
        f"Every row has all of its primary key, and no two rows have the same: {key}.",
        "Report it as a fault of the pipeline: a load that would leave a key twice is rolled back. Until then"
        " move warehouse.duckdb away and run the job rebuild_from_landing.",
        "error",
        f"""
        select {key}, count(*) as n {_in_window(export)} group by {key} having n > 1 or {incomplete}
        """,
        f"count(*) - count(distinct hash({key})) + count(*) filter ({incomplete})",
        blocking=True,
    )
    yield Promise(
        "rows_as_delivered",
        "The table holds, of the newest delivery of each campaign and day, as many rows as were delivered and as the"
        " API announced (X-Row-Count): none lost, none twice.",
        "Somebody has changed the warehouse by hand, or the pipeline has a fault. Move warehouse.duckdb away and run"
        " the job rebuild_from_landing: it makes the warehouse anew from the delivered files, without a request.",
        "error",
        f"""
        with newest as (
            select * from deliveries as d
            where export = {quote(export.name)} and row_campaign_id is not null
                and start_date <= $end and end_date >= $start
                and not exists (
                    from deliveries as l
                    where l.export = d.export and l.row_campaign_id = d.row_campaign_id
                        and l.start_date <= d.end_date and l.end_date >= d.start_date
                        and (l.delivery_id > d.delivery_id or l.load_order > d.load_order)
                )
        ),
        found as (
            select _delivery_id as delivery_id, count(*) as n from {export.name}
            where {DATE_COLUMN} between (select min(start_date) from newest) and (select max(end_date) from newest)
            group by all
        )
        select campaign_id, start_date, end_date, declared_rows, rows as delivered,
            inserted + updated + unchanged as loaded, coalesce(n, 0) as in_the_table, landed_file
        from newest left join found using (delivery_id)
        where loaded <> in_the_table or coalesce(declared_rows, rows) <> rows
        order by campaign_id
        """,
        blocking=True,
        counted="delivery",
    )


def _figures(export: Export) -> Iterator[Promise]:
    for identity in export.identities:
        bad = f"abs(({identity.left}) - ({identity.right})) > {identity.tolerance}"
        columns = f"{identity.left} as computed, {identity.right} as expected"
        within = f", within {identity.tolerance}" if identity.tolerance != "0" else ""
        yield Promise(
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
        yield Promise(
            "ratios_agree",
            f"Each ratio is what its parts make, rounded to two to four decimals: {says}.",
            "The models do not use these columns, they compute ratios from summed parts. Ask Soundlink if it goes on.",
            "warn",
            *_of_rows(export, ", ".join(parts), bad),
        )
    kind, track, playlist = (f"campaign_target_{name}" for name in ("type", "spotify_track_id", "playlist_id"))
    isrc = "campaign_target_isrc"
    bad = (
        f"({track} is not null) <> ({kind} is not distinct from 'track')"
        f" or ({playlist} is not null) <> ({kind} is not distinct from 'playlist')"
        f" or ({isrc} is not null and {kind} is distinct from 'track')"
    )
    yield Promise(
        "target_ids_match",
        "A track campaign names its Spotify track and no playlist, a playlist campaign its playlist and no track, and"
        " one of undetermined type neither.",
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


def _history(export: Export) -> Iterator[Promise]:
    key = ", ".join(export.row_key)
    measures = ", ".join(f"h.{name} as {name}_before, t.{name} as {name}_now" for name in export.measures)
    yield Promise(
        "settled_values_final",
        f"No value changed that was final: pulled {SETTLED_AFTER_DAYS} days after its day began, or later.",
        f"Soundlink has broken its promise that a day is revised for {REVISION_DAYS} days only. The new value is in the"
        f" table, the old one in {history_table(export)}. Tell those who reported the old number; ask Soundlink why.",
        "error",
        f"""
        select {", ".join(f"h.{name}" for name in export.row_key)},
            h._pulled_at as final_since, h._valid_until as revised_at, {measures}
        from {history_table(export)} as h join {export.name} as t using ({", ".join(export.primary_key)})
        where h.{DATE_COLUMN} between $start and $end
            and h._pulled_at >= h.{DATE_COLUMN} + interval {SETTLED_AFTER_DAYS} days
        order by revised_at desc, {", ".join(f"h.{name}" for name in export.row_key)}
        """,
    )
    yield Promise(
        "no_vanished_keys",
        "Every key that was ever delivered for a day is in the newest delivery of that day.",
        "The rows stay in the table and are listed in vanished_rows; sums still count them. If Soundlink says they were"
        " withdrawn, leave them out by joining vanished_rows.",
        "warn",
        f"""
        select campaign_id, report_date, key, last_seen_at, vanished_at from vanished_rows
        where export = {quote(export.name)} and report_date between $start and $end
        order by vanished_at desc, {key.split(", ")[0]}, key
        """,
    )


def _habits(export: Export) -> Iterator[Promise]:
    yield Promise(
        "no_unknown_fields",
        "The rows have no field that the contract does not know.",
        "Nothing is lost: the landed files keep the fields. To have one as a column, add it to"
        f" soundlink_pipeline/contracts/ ({export.name}), then move warehouse.duckdb away and run the job"
        " rebuild_from_landing, which fills it for the past too.",
        "warn",
        f"""
        select array_to_string(unknown_fields, ', ') as unknown_fields, campaign_id, start_date, end_date
        from deliveries
        where export = {quote(export.name)} and len(unknown_fields) > 0
            and delivery_id in (select distinct _delivery_id {_in_window(export)})
        order by campaign_id
        """,
        counted="delivery",
    )
    yield Promise(
        "usual_volume",
        f"A day has between half and twice the rows of the median of the same weekday in the {_WEEKS} weeks before.",
        "Many campaigns that start or end at once explain it. If not, ask again with refetch: true in the run's"
        f" config, and look at {CAMPAIGN_COLUMN} by day in the table for what is missing.",
        "warn",
        f"""
        with days as (
            select {DATE_COLUMN}, count(*) as rows from {export.name}
            where {DATE_COLUMN} between $start::date - {7 * _WEEKS} and $end group by all
        ),
        asked as (
            select day::date as {DATE_COLUMN}, coalesce(rows, 0) as rows
            from generate_series($start::date, $end::date, interval 1 day) as s (day)
            left join days on days.{DATE_COLUMN} = day::date
        )
        select a.{DATE_COLUMN}, a.rows, median(d.rows)::bigint as usual_rows, count(*) as weeks
        from asked as a
        join days as d
            on d.{DATE_COLUMN} >= a.{DATE_COLUMN} - {7 * _WEEKS} and d.{DATE_COLUMN} < a.{DATE_COLUMN}
            and (a.{DATE_COLUMN} - d.{DATE_COLUMN}) % 7 = 0
        group by all
        having weeks >= {_FEWEST_WEEKS} and usual_rows >= {_FEWEST_ROWS}
            and not a.rows between usual_rows / 2 and usual_rows * 2
        order by a.{DATE_COLUMN}
        """,
        counted="day",
    )
