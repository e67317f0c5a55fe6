"""Whether every row is true: tables, history, ledger, marts, published file and landing against the simulated world.

True is, of each export, campaign (or soundlink) and day, what the world answered when it was last asked: the ledger
says when that was, and `promises.py` whether that was soon enough. What nobody has asked for since the last comparison
is what it was to the bit; so are settled days that were asked for again, but for rows that turned up after their day
was final.
"""

import json
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import duckdb

from benchmarks.endurance.promises import Place, hold_to_promises
from soundlink_pipeline.contracts.days import DateRange, settled_at
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.simulator import Shrinking, World
from soundlink_pipeline_tests.support.project import as_in_table

# Landed files may outlive their time by so much: the clocks differ by days and hours, the setting is in days.
SLACK = timedelta(days=2)


@dataclass
class Known:
    """What a comparison must know: how long landed files are kept, what befell, and what the last one found."""

    retention_days: int
    withdrawn: dict[date, Shrinking] = field(default_factory=dict)  # what was believed, by the day of the answers
    asked: dict[Place, datetime] = field(default_factory=dict)  # when last, as of the last comparison
    checksums: dict[Place, int] = field(default_factory=dict)  # of the rows held then
    ranges: list[tuple[DateRange, datetime]] = field(default_factory=list)  # of the runs compared, and when


@dataclass
class Found:
    """What a comparison found: for those to come, and for the record."""

    asked: dict[Place, datetime]
    checksums: dict[Place, int]
    figures: dict[str, int]


@dataclass
class Answers:
    """What the world has answered."""

    world: World
    withdrawn: dict[date, Shrinking]

    def rows(self, place: Place, moment: datetime) -> list[dict[str, Any]]:
        export, row_id, day = place
        rows = self.world.rows(export, row_id, day, day, moment)
        shrinking = self.withdrawn.get(moment.date())
        if shrinking is None or shrinking.day != day:
            return rows
        return shrinking.cut(export, self.world.thing(export, row_id).ids, rows)

    def table(self, export: Export, asked: dict[Place, datetime], dates: DateRange | None = None) -> list[Any]:
        """An export's rows, each place as of when it was asked for; of some days only, if they are given."""
        answered = [
            row
            for place, moment in asked.items()
            if place[0] == export.name and (dates is None or dates.start <= place[2] <= dates.end)
            for row in self.rows(place, moment)
        ]
        return as_in_table(export, answered)


def hold_against_the_world(
    soundlink: Soundlink, world: World, known: Known, run: dict[str, Any], now: datetime, *, everything: bool
) -> Found:
    """What it found, if every row is true; AssertionError if not."""
    dates = DateRange(date.fromisoformat(run["start"]), date.fromisoformat(run["end"]))
    assert dates.end == now.date() - timedelta(days=1), f"the schedule asked for {dates}"
    answers = Answers(world, known.withdrawn)
    with soundlink.warehouse.read() as connection:
        connection.execute(f"attach '{soundlink.published_path}' as published (read_only)")
        asked = _asked(connection, world, now)
        anew = {place: moment for place, moment in asked.items() if everything or known.asked.get(place) != moment}
        for export in EXPORTS:
            _same(_held(connection, export, anew), answers.table(export, anew), f"{export.name} at {now}")
        checksums = _checksums(connection)
        changed = [
            place
            for place in checksums.keys() | known.checksums.keys()
            if asked.get(place) == known.asked.get(place) and checksums.get(place) != known.checksums.get(place)
        ]
        assert not changed, f"settled numbers changed on {now}, or others that nobody asked for: {changed}"
        late = late_rows(connection, known, asked)
        told = {name for name, *_ in run["red"]}
        assert not late or "no_late_rows" in told, f"nobody was told of {late} late rows on {now}"
        hold_to_promises(connection, world, asked, now, everything=everything)
        ((publisher,),) = connection.execute("select run_id from published.publication").fetchall()
        assert publisher == run["run_id"], "the file was not published"
        if everything:
            _everything_agrees(connection, answers, known, asked, now)
        ((rows, versions, delivered, campaigns),) = connection.execute(
            f"""
            select {" + ".join(f"(select count(*) from {export.name})" for export in EXPORTS)},
                {" + ".join(f"(select count(*) from {export.name}_history)" for export in EXPORTS)},
                coalesce(sum(rows), 0)::bigint, count(distinct subject_id)
            from deliveries where run_id = '{run["run_id"]}'
            """
        ).fetchall()
    _landing_agrees(soundlink, known.retention_days, now)
    figures = {"rows": rows, "versions": versions, "delivered": delivered, "campaigns": campaigns, "late_rows": late}
    return Found(asked, checksums, figures)


def _asked(connection: duckdb.DuckDBPyConnection, world: World, until: datetime) -> dict[Place, datetime]:
    """When each place was last asked for, up to a moment."""
    found = connection.execute(
        """
        select export, subject_id, day::date, max(pulled_at) from (
            select export, subject_id, pulled_at, unnest(generate_series(start_date, end_date, interval 1 day)) as day
            from deliveries where pulled_at <= $1
        )
        group by all
        """,
        [until.replace(tzinfo=None)],
    ).fetchall()
    return {
        (export, world.thing(export, listed_id).row_id, day): moment.replace(tzinfo=UTC)
        for export, listed_id, day, moment in found
    }


def _held(
    connection: duckdb.DuckDBPyConnection, export: Export, places: Collection[Place], since: datetime | None = None
) -> list[Any]:
    """An export's rows that the table holds of these places; with `since` those alone that have come after it."""
    of_export = [(row_id, day) for name, row_id, day in places if name == export.name]
    columns, key = (", ".join(f"t.{name}" for name in names) for names in (export.column_names, export.primary_key))
    return connection.execute(
        f"""
        select {columns} from {export.name} as t
        semi join (select unnest($1::varchar[]) as {export.id_column}, unnest($2::date[]) as report_date) as p
            using ({export.id_column}, report_date)
        where $3::timestamp is null or t._valid_from > $3::timestamp
        order by {key}
        """,
        [
            [row_id for row_id, _ in of_export],
            [day for _, day in of_export],
            since and since.replace(tzinfo=None),
        ],
    ).fetchall()


def _checksums(connection: duckdb.DuckDBPyConnection, until: datetime | None = None) -> dict[Place, int]:
    """Of the rows held of each place; with `until` of those alone that had come by then."""
    return {
        (export.name, row_id, day): value
        for export in EXPORTS
        for row_id, day, value in connection.execute(
            f"select {export.id_column}, report_date, bit_xor(hash({', '.join(export.column_names)}))"
            f" from {export.name} where $1::timestamp is null or _valid_from <= $1::timestamp group by all",
            [until and until.replace(tzinfo=None)],
        ).fetchall()
    }


def late_rows(connection: duckdb.DuckDBPyConnection, known: Known, asked: dict[Place, datetime]) -> int:
    """How many rows have come of days that were settled at the last comparison; nothing else has changed there."""
    settled = {place: moment for place, moment in known.asked.items() if moment >= settled_at(place[2])}
    again = [place for place, moment in settled.items() if asked[place] != moment]
    if not again:
        return 0
    _, last = known.ranges[-1]
    held, late = _checksums(connection, last), 0
    changed = [place for place in again if held.get(place) != known.checksums.get(place)]
    assert not changed, f"settled numbers changed since {last}: {changed}"
    for export in EXPORTS:
        exported, day = export.column_names.index("exported_at"), export.column_names.index("report_date")
        came = _held(connection, export, again, last)
        early = [row for row in came if row[exported].replace(tzinfo=UTC) <= settled_at(row[day])]
        assert not early, f"rows that were there when their day was final have come since {last}: {early}"
        late += len(came)
    return late


def _same(found: list[Any], expected: list[Any], what: str) -> None:
    if found != expected:
        first = next((pair for pair in zip(found, expected, strict=False) if pair[0] != pair[1]), "one has more")
        raise AssertionError(f"{what}: {len(found)} rows where the world has {len(expected)}; first: {first}")


def _ordered(export: Export, rows: str, columns: str = "") -> str:
    key = ", ".join(export.primary_key)
    columns = columns or ", ".join(export.column_names)
    return f"select {columns} from {rows} where report_date between ? and ? order by {key}"


def _everything_agrees(
    connection: duckdb.DuckDBPyConnection,
    answers: Answers,
    known: Known,
    asked: dict[Place, datetime],
    now: datetime,
) -> None:
    """History, ledger, marts and the published file."""
    for export in EXPORTS:
        name, history = export.name, f"{export.name}_history"
        key, values = ", ".join(export.primary_key), ", ".join(export.column_names)
        facts = ", ".join(export.value_columns)
        # What was believed at any earlier moment is still known: the values, though not when they were generated.
        believed = [column for column in export.column_names if column != "exported_at"]
        for dates, moment in Random(now.toordinal()).sample(known.ranges, min(3, len(known.ranges))):
            at, asked_by = moment.replace(tzinfo=None), _asked(connection, answers.world, moment)
            as_of = (
                f"(select {values} from {name} where _valid_from <= timestamp '{at}' union all select {values}"
                f" from {history} where _valid_from <= timestamp '{at}' and _valid_until > timestamp '{at}')"
            )
            places = [export.column_names.index(column) for column in believed]
            _same(
                connection.execute(_ordered(export, as_of, ", ".join(believed)), [dates.start, dates.end]).fetchall(),
                [tuple(row[p] for p in places) for row in answers.table(export, asked_by, dates)],
                f"{name} as it was believed at {moment}, {dates}",
            )
        _none(
            connection,
            f"""
            select 'versions of a key follow one another', {key} from (
                select {key}, _valid_from, _valid_until, _vanished from {history}
                union all select {key}, _valid_from, null, false from {name}
            )
            window versions as (partition by {key} order by _valid_until nulls last)
            qualify case when _vanished then lead(_valid_from) over versions <= _valid_until
                else _valid_until is distinct from lead(_valid_from) over versions end
            union all by name
            select 'every row is of a delivery in the ledger', {key} from {name}
            where _delivery_id not in (select delivery_id from deliveries where export = '{name}')
            """,
        )
        _none(
            connection,
            f"""
            select 'the ledger counts what was done', inserted, updated, n, overwritten, changed from
                (select sum(inserted) as inserted, sum(updated) as updated from deliveries where export = '{name}'),
                (select count(*) as n from (
                    select 1 from {name} union all select 1 from vanished_rows where export = '{name}'
                )),
                (select count(*) filter (where not _vanished) as overwritten from {history}),
                -- its version was logged when it vanished
                (select count(*) as changed from (
                    select _vanished, was, lead(was) over (partition by {key} order by _valid_until nulls last) as comes
                    from (
                        select {key}, hash({facts}) as was, _valid_until, _vanished from {history}
                        union all select {key}, hash({facts}), null, false from {name}
                    )
                ) where _vanished and comes <> was)
            where inserted <> n or updated <> overwritten + changed
            """,
        )
        _none(
            connection,
            f"""
            select 'old days are settled', t.report_date, t.{export.id_column}
            from {name} as t left join report_date_status as s
                on s.export = '{name}' and s.row_subject_id = t.{export.id_column} and s.report_date = t.report_date
            where t.report_date < date '{now.date() - timedelta(days=8)}' and s.is_settled is distinct from true
            """,
        )
    _vanished_agrees(connection, answers, asked, now)
    country, engagement = ("impressions", "streams", "followers", "spend_total"), ("streams", "new_listeners")
    visits = ("views", "streams", "followers")
    for mart, raw, measures in (
        ("campaign_daily", "campaign_country_daily", country),
        ("country_daily", "campaign_country_daily", country),
        ("track_engagement_daily", "campaign_engagement_daily", engagement),
        ("soundlink_daily", "soundlink_country_daily", visits),
        ("soundlink_track_daily", "soundlink_engagement_daily", engagement),
    ):
        sums = ", ".join(f"sum({measure})" for measure in measures)
        per_day = f"select report_date, {sums} from {{}} group by all"
        _none(connection, f"{per_day.format(raw)} except all {per_day.format(f'marts.{mart}')}")
        _none(connection, f"{per_day.format(f'marts.{mart}')} except all {per_day.format(raw)}")
    tables = connection.execute(
        "select schema_name || '.' || table_name from duckdb_tables()"
        " where database_name = 'warehouse' and table_name not like '\\_%' escape '\\'"
    ).fetchall()
    assert len(tables) > 10
    for (table,) in tables:
        _none(connection, f"from warehouse.{table} except all from published.{table}")
        _none(connection, f"from published.{table} except all from warehouse.{table}")


def _vanished_agrees(
    connection: duckdb.DuckDBPyConnection, answers: Answers, asked: dict[Place, datetime], now: datetime
) -> None:
    """What has vanished was once answered, and was not when its day was last asked for."""
    vanished = connection.execute(
        "select v.export, v.subject_id, v.report_date, json(v.key), d.pulled_at"
        " from vanished_rows as v join deliveries as d on d.delivery_id = v.last_seen_delivery_id"
    ).fetchall()
    for export, row_id, day, key, pulled_at in Random(now.toordinal()).sample(vanished, min(50, len(vanished))):
        place, wanted = (export, row_id, day), json.loads(key)

        def is_answered(moment: datetime, place: Place = place, wanted: dict[str, Any] = wanted) -> bool:
            return any(wanted.items() <= row.items() for row in answers.rows(place, moment))

        assert is_answered(pulled_at.replace(tzinfo=UTC)), f"{key} was never answered"
        assert not is_answered(asked[place]), f"{key} has not vanished"


def _none(connection: duckdb.DuckDBPyConnection, wrong: str) -> None:
    found = connection.execute(f"from ({wrong}) limit 3").fetchall()
    assert not found, f"{found} from {wrong}"


def _landing_agrees(soundlink: Soundlink, retention_days: int, now: datetime) -> None:
    """Every delivery of the retention time lies in landing/ as it came, none older, and nothing else."""
    with soundlink.warehouse.read() as connection:
        landed = connection.execute("select landed_file, pulled_at from deliveries").fetchall()
    ages = {name: now.replace(tzinfo=None) - pulled_at for name, pulled_at in landed}
    retention = timedelta(days=retention_days)
    due = {name for name, age in ages.items() if age <= retention}
    allowed = {name for name, age in ages.items() if age <= retention + SLACK}
    root = soundlink.landing.root
    found = {str(path.relative_to(root)) for path in root.glob("*_daily/*/*")}
    assert due <= found <= allowed, f"landing/ on {now}: missing {due - found}, too old {found - allowed}"
    lying = [path.name for path in root.rglob(".*") if path.stat().st_mtime < time.time() - 2 * 86400]
    assert not lying, f"abandoned downloads stay: {lying}"
