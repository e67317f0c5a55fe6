"""How well estimates hold over a simulated year: `python -m benchmarks.settling [--days …] [--seeds …] [--picture …]`.

Each morning the newest days of every campaign are pulled, one morning in ten is missed, and once a week all estimates
are noted. At the end they are held against what the days became. Where no settled day had changed any more, nothing was
expected to: these are left out.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pandas as pd
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_EXPORTS
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.landing.deliveries import Delivery, HashedDelivery
from soundlink_pipeline.loading.batch import load_batch
from soundlink_pipeline.models.build import build_model, build_models
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.simulator import World, ndjson
from soundlink_pipeline.warehouse.native_file import NativeFile

_FIRST = date(2026, 1, 1)
# Of each export the keys that a grain may have, and the measures.
_EXPORTS = {
    "campaign_country_daily": (
        ("country_code", "null", "null", "currency"),
        ("impressions", "link_clicks", "streams", "listeners", "followers", "spend_total"),
    ),
    "campaign_engagement_daily": (
        ("null", "engagement_context", "engaged_spotify_track_id", "null"),
        ("new_listeners", "listeners", "streams"),
    ),
}
_KEYS = ("country_code", "engagement_context", "engaged_spotify_track_id", "currency")
_MISSED = 0.1
_SETTLED = " union all ".join(
    f"""
    from (
        unpivot (
            select '{export}' as export, campaign_id as subject_id, report_date,
                {", ".join(f"{name}::varchar as {key}" for key, name in zip(_KEYS, keys, strict=True))},
                columns(['{"', '".join(measures)}'])::decimal(18, 6)
            from {export}
        ) on {", ".join(measures)} into name measure value value
    )
    """
    for export, (keys, measures) in _EXPORTS.items()
)
_HELD = f"""
    with settled as ({_SETTLED})
    select look, export, grain, measure, report_date, days_after_close,
        any_value(value_now) as now, any_value(settled_estimate) as estimate,
        any_value(settled_low) as low, any_value(settled_high) as high, sum(value) as settled
    from looked join settled as s using (export, report_date, measure)
    where coalesce(looked.subject_id, s.subject_id) = s.subject_id
        {"".join(f"and coalesce(looked.{key}, s.{key}) is not distinct from s.{key} " for key in _KEYS)}
    group by look, export, grain, measure, looked.subject_id, {", ".join(f"looked.{key}" for key in _KEYS)},
        report_date, days_after_close
"""
# With the factors that an estimate is made of: those of the greatest band that its value reaches.
_LOOK = """
    insert into looked
    select e.*, $1
    from marts.settled_estimates as e
    asof join (select *, coalesce(currency, '') as money from marts.settling_factors) as f
        on f.account_id = e.account_id and f.export = e.export and f.grain = e.grain and f.measure = e.measure
        and f.money = coalesce(e.currency, '') and f.days_after_close = e.days_after_close
        and greatest(e.value_now, 0) >= f.values_from
    where settled_estimate is not null and f.low_factor < f.high_factor
"""
_BY_MEASURE = """
    select grain, measure, count(*), avg((settled between low and high)::integer),
        median(estimate / nullif(settled, 0)) - 1, sum(estimate) / sum(settled) - 1, sum(now) / sum(settled) - 1
    from held group by rollup (grain, measure) having grain is not null
    order by grain, measure nulls first
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.settling", description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--picture", type=Path, help="a file to draw the first world's estimates to")
    given = parser.parse_args()
    for place, seed in enumerate(given.seeds):
        print(f"World {seed}, {given.days} days:\n")
        print("| grain | measure | estimates | range holds % | median off by % | sum off by % | sum now off by % |")
        print("|---|---|--:|--:|--:|--:|--:|")
        held = _held(seed, given.days)
        for grain, measure, count, *shares in duckdb.connect().register("held", held).execute(_BY_MEASURE).fetchall():
            print(
                f"| {grain} | {measure or 'all'} | {count:,} | " + " | ".join(f"{100 * s:.1f}" for s in shares) + " |"
            )
        print(flush=True)
        if given.picture and place == 0:
            _draw(held, given.picture)


def _held(seed: int, days: int) -> pd.DataFrame:
    """Every estimate that was noted, and what its value became."""
    random = Random(seed)
    world = World(seed=seed, campaigns=4, first_day=_FIRST, duration_days=days + 30, countries_per_campaign=5)
    project = read_project(Path("dbt_like_sql"))
    needed = ("settling_days", "settling_factors", "settled_estimates")
    with (
        tempfile.TemporaryDirectory(prefix="soundlink-bench-") as folder,
        NativeFile(Path(folder)).write() as connection,
    ):
        build_models(connection, project)
        others = set(project.models) - set(needed)
        for name in others:
            if project.models[name].schema == "marts":
                del project.models[name]
        connection.execute("create temp table looked as select *, 0 as look from marts.settled_estimates limit 0")
        for morning in range(1, days + 9):
            last = morning == days + 8
            if not last and random.random() < _MISSED:
                continue
            dates = _pull(connection, world, Path(folder), morning, back=morning if last else 8)
            build_model(connection, project, project.models["stg_report_date_status"])
            build_model(connection, project, project.models["settling_days"], dates)
            if morning % 7 == 0 and morning <= days:
                for name in ("settling_factors", "settled_estimates"):
                    build_model(connection, project, project.models[name])
                connection.execute(_LOOK, [morning])
        return connection.execute(_HELD).df()


def _draw(held: pd.DataFrame, file: Path) -> None:
    """What share the ranges held by age, and estimates of the account's totals beside what they became."""
    figure = Figure(figsize=(13, 5), layout="constrained")
    by_age, beside = figure.subplots(1, 2)
    held = held.assign(is_held=held["settled"].between(held["low"], held["high"]))
    for grain, mark in (("account", "o"), ("subject", "s"), ("country", "^"), ("track", "D")):
        shares = held[held["grain"] == grain].groupby("days_after_close")["is_held"].mean()
        by_age.plot(shares.index, 100 * shares, marker=mark, label=grain)
    by_age.axhspan(75, 85, color="0.85", zorder=0)
    by_age.set(title="Ranges that held, %", xlabel="days after the close (0: day after)", ylim=(50, 100))
    by_age.legend(title="grain")
    newest: Any = held[
        (held["grain"] == "account")
        & (held["measure"] == "streams")
        & (held["days_after_close"] == 0)
        & (held["export"] == "campaign_country_daily")
    ].sort_values("report_date")
    beside.fill_between(
        newest["report_date"], newest["low"].astype(float), newest["high"].astype(float), alpha=0.25, label="range"
    )
    beside.plot(newest["report_date"], newest["estimate"].astype(float), marker=".", label="estimate, the day after")
    beside.plot(newest["report_date"], newest["settled"].astype(float), "k+", label="settled")
    beside.plot(newest["report_date"], newest["now"].astype(float), "x", color="tab:red", label="known the day after")
    beside.set(title="Attributed streams of an account's day, once a week", ylim=(0, None))
    beside.xaxis.set_major_formatter(DateFormatter("%b"))  # type: ignore[no-untyped-call]
    beside.legend()
    figure.savefig(file, dpi=110)


def _pull(connection: duckdb.DuckDBPyConnection, world: World, folder: Path, morning: int, back: int) -> DateRange:
    """Load what a refresh of a morning brings; at the end, every day once more."""
    now = datetime.combine(_FIRST + timedelta(days=morning), datetime.min.time(), UTC) + timedelta(hours=7)
    dates = DateRange(max(_FIRST, now.date() - timedelta(days=back)), now.date() - timedelta(days=1))
    arrivals = []
    for export, (number, campaign) in itertools.product(CAMPAIGN_EXPORTS, enumerate(world.campaigns)):
        path = folder / f"{morning}-{number}-{export.name}.ndjson"
        path.write_bytes(ndjson(world.rows(export.name, campaign.row_id, dates.start, dates.end, now)))
        delivery = Delivery(
            export=export.name,
            subject_id=campaign.path_id,
            dates=dates,
            requested_at=now,
            received_at=now,
            server_date=now,
            declared_rows=None,
            run_id="benchmark",
            path=path,
            loaded=None,
            account="default",
        )
        arrivals.append(HashedDelivery.of(delivery))
    assert not load_batch(connection, list(CAMPAIGN_EXPORTS), arrivals).rejected
    return dates


if __name__ == "__main__":
    main()
