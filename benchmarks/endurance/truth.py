"""Whether every row is true: tables, history, ledger, marts, published file and landing against the simulated world."""

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import duckdb

from benchmarks.endurance.world import FIRST_DAY
from soundlink_pipeline.contracts.days import DateRange, settled_at
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.simulator import World
from soundlink_pipeline_tests.support.project import truth

# Landed files may outlive their time by so much: the clocks differ by days and hours, the setting is in days.
SLACK = timedelta(days=2)


@dataclass
class Known:
    """What a comparison must know: how long landed files are kept, and what those of earlier days found."""

    retention_days: int
    pulled: dict[date, datetime] = field(default_factory=dict)  # when each day was last pulled by a whole refresh
    checksums: dict[tuple[str, date], int] = field(default_factory=dict)  # of each day, when last compared
    ranges: list[tuple[DateRange, datetime]] = field(default_factory=list)  # compared with the world, and when


def hold_against_the_world(
    soundlink: Soundlink, world: World, known: Known, run: dict[str, Any], now: datetime, *, everything: bool
) -> tuple[Any, ...]:
    """The checksums of all days and some figures, if every row is true; AssertionError if not."""
    asked = DateRange(date.fromisoformat(run["start"]), date.fromisoformat(run["end"]))
    assert asked.end == now.date() - timedelta(days=1), f"the schedule asked for {asked}"
    open_days = [day for day, moment in known.pulled.items() if moment < settled_at(day)]
    window = DateRange(min([asked.start, *open_days]), asked.end)
    compared = DateRange(FIRST_DAY, window.end) if everything else window
    moments = {**known.pulled, **dict.fromkeys(window.dates(), now)}
    with soundlink.warehouse.read() as connection:
        connection.execute(f"attach '{soundlink.published_path}' as published (read_only)")
        checksums: dict[tuple[str, date], int] = {}
        for export in EXPORTS:
            _same(
                connection.execute(_ordered(export, export.name), [compared.start, compared.end]).fetchall(),
                truth(world, export, [(day, moments[day]) for day in compared.dates()]),
                f"{export.name}, {compared}, at {now}",
            )
            columns = ", ".join(export.column_names)
            checksums |= {
                (export.name, day): value
                for day, value in connection.execute(
                    f"select report_date, bit_xor(hash({columns})) from {export.name} group by all"
                ).fetchall()
            }
        changed = [
            (export, day)
            for (export, day), value in known.checksums.items()
            if day < window.start and checksums.get((export, day)) != value
        ]
        assert not changed, f"settled numbers changed on {now}: {changed}"
        ((publisher,),) = connection.execute("select run_id from published.publication").fetchall()
        assert publisher == run["run_id"], "the file was not published"
        if everything:
            _everything_agrees(connection, world, known, now)
        figures = connection.execute(
            f"""
            select (select count(*) from campaign_country_daily) + (select count(*) from campaign_engagement_daily),
                (select count(*) from campaign_country_daily_history)
                    + (select count(*) from campaign_engagement_daily_history),
                coalesce(sum(rows), 0)::bigint, count(distinct campaign_id)
            from deliveries where run_id = '{run["run_id"]}'
            """
        ).fetchone()
    _landing_agrees(soundlink, known.retention_days, now)
    return checksums, window, figures


def _same(found: list[Any], expected: list[Any], what: str) -> None:
    if found != expected:
        first = next((pair for pair in zip(found, expected, strict=False) if pair[0] != pair[1]), "one has more")
        raise AssertionError(f"{what}: {len(found)} rows where the world has {len(expected)}; first: {first}")


def _ordered(export: Export, rows: str, columns: str = "") -> str:
    key = ", ".join(export.primary_key)
    columns = columns or ", ".join(export.column_names)
    return f"select {columns} from {rows} where report_date between ? and ? order by {key}"


def _everything_agrees(connection: duckdb.DuckDBPyConnection, world: World, known: Known, now: datetime) -> None:
    """History, ledger, marts and the published file."""
    for export in EXPORTS:
        name, history = export.name, f"{export.name}_history"
        key, values = ", ".join(export.primary_key), ", ".join(export.column_names)
        facts = ", ".join(export.value_columns)
        # What was believed at any earlier moment is still known: the values, though not when they were generated.
        believed = [column for column in export.column_names if column != "exported_at"]
        for dates, moment in Random(now.toordinal()).sample(known.ranges, min(3, len(known.ranges))):
            at = moment.replace(tzinfo=None)
            as_of = (
                f"(select {values} from {name} where _valid_from <= timestamp '{at}' union all select {values}"
                f" from {history} where _valid_from <= timestamp '{at}' and _valid_until > timestamp '{at}')"
            )
            places = [export.column_names.index(column) for column in believed]
            _same(
                connection.execute(_ordered(export, as_of, ", ".join(believed)), [dates.start, dates.end]).fetchall(),
                [tuple(row[p] for p in places) for row in truth(world, export, [(d, moment) for d in dates.dates()])],
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
            select 'old days are settled', t.report_date, t.campaign_id
            from {name} as t left join report_date_status as s
                on s.export = '{name}' and s.row_campaign_id = t.campaign_id and s.report_date = t.report_date
            where t.report_date < date '{now.date() - timedelta(days=8)}' and s.is_settled is distinct from true
            """,
        )
    _vanished_agrees(connection, world, now)
    country, engagement = ("impressions", "streams", "followers", "spend_total"), ("streams", "new_listeners")
    for mart, raw, measures in (
        ("campaign_daily", "campaign_country_daily", country),
        ("country_daily", "campaign_country_daily", country),
        ("track_engagement_daily", "campaign_engagement_daily", engagement),
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


def _vanished_agrees(connection: duckdb.DuckDBPyConnection, world: World, now: datetime) -> None:
    """What has vanished was once answered, and is no more."""
    vanished = connection.execute(
        "select v.export, v.campaign_id, v.report_date, json(v.key), d.pulled_at"
        " from vanished_rows as v join deliveries as d on d.delivery_id = v.last_seen_delivery_id"
    ).fetchall()
    for export, campaign, day, key, pulled_at in Random(now.toordinal()).sample(vanished, min(50, len(vanished))):

        def is_answered(moment: datetime, asked: tuple[str, str, date], key: Any) -> bool:
            rows = world.rows(asked[0], asked[1], asked[2], asked[2], moment)
            return any(key.items() <= row.items() for row in rows)

        asked, wanted = (export, campaign, day), json.loads(key)
        assert is_answered(pulled_at.replace(tzinfo=UTC), asked, wanted), f"{key} was never answered"
        assert not is_answered(now, asked, wanted), f"{key} has not vanished"


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
    found = {str(path.relative_to(root)) for path in root.glob("campaign_*/*/*")}
    assert due <= found <= allowed, f"landing/ on {now}: missing {due - found}, too old {found - allowed}"
    lying = [path.name for path in root.rglob(".*") if path.stat().st_mtime < time.time() - 2 * 86400]
    assert not lying, f"abandoned downloads stay: {lying}"
