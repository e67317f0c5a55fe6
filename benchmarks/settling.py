"""How well estimates hold over a simulated year: `python -m benchmarks.settling [--days …] [--seeds …]`.

Each morning the newest days of every campaign are pulled, one morning in ten is missed, and once a week all estimates
are noted. At the end they are held against what the days became. Ranges without width are left out: there nothing was
expected to change.
"""

import argparse
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import duckdb

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.landing.deliveries import Delivery, HashedDelivery
from soundlink_pipeline.loading.batch import load_batch
from soundlink_pipeline.models.build import build_models
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.simulator import World, ndjson
from soundlink_pipeline.warehouse.native_file import NativeFile

_FIRST = date(2026, 1, 1)
_MEASURES = ("impressions", "link_clicks", "streams", "listeners", "followers", "spend_total")
_MISSED = 0.1
_RESULT = f"""
    with settled as (
        unpivot (
            select campaign_id, country_code, report_date, columns(['{"', '".join(_MEASURES)}'])::decimal(18, 6)
            from campaign_country_daily
        ) on {", ".join(_MEASURES)} into name measure value value
    ),

    held as (
        select look, grain, measure, looked.subject_id, looked.country_code, report_date,
            any_value(value_now) as now, any_value(settled_estimate) as estimate,
            any_value(settled_low) as low, any_value(settled_high) as high, sum(value) as settled
        from looked join settled as s using (report_date, measure)
        where coalesce(looked.subject_id, s.campaign_id) = s.campaign_id
            and coalesce(looked.country_code, s.country_code) = s.country_code
        group by look, grain, measure, looked.subject_id, looked.country_code, report_date
    )

    select grain, measure, count(*), avg((settled between low and high)::integer),
        median(estimate / nullif(settled, 0)) - 1, sum(estimate) / sum(settled) - 1, sum(now) / sum(settled) - 1
    from held where low < high group by rollup (grain, measure) having grain is not null
    order by grain, measure nulls first
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.settling", description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    given = parser.parse_args()
    for seed in given.seeds:
        print(f"## World {seed}, {given.days} days\n")
        print("| grain | measure | estimates | range holds % | median off by % | sum off by % | sum now off by % |")
        print("|---|---|--:|--:|--:|--:|--:|")
        for grain, measure, count, *shares in _held(seed, given.days):
            print(
                f"| {grain} | {measure or 'all'} | {count:,} | " + " | ".join(f"{100 * s:.1f}" for s in shares) + " |"
            )
        print(flush=True)


def _held(seed: int, days: int) -> list[tuple[str, str | None, int, float, float, float, float]]:
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
            build_models(connection, project, dates)
            if morning % 7 == 0 and morning <= days:
                connection.execute(
                    "insert into looked select *, $1 from marts.settled_estimates where settled_estimate is not null",
                    [morning],
                )
        return connection.execute(_RESULT).fetchall()


def _pull(connection: duckdb.DuckDBPyConnection, world: World, folder: Path, morning: int, back: int) -> DateRange:
    """Load what a refresh of a morning brings; at the end, every day once more."""
    now = datetime.combine(_FIRST + timedelta(days=morning), datetime.min.time(), UTC) + timedelta(hours=7)
    dates = DateRange(max(_FIRST, now.date() - timedelta(days=back)), now.date() - timedelta(days=1))
    arrivals = []
    for number, campaign in enumerate(world.campaigns):
        path = folder / f"{morning}-{number}.ndjson"
        export = CAMPAIGN_COUNTRY_DAILY.name
        path.write_bytes(ndjson(world.rows(export, campaign.row_id, dates.start, dates.end, now)))
        delivery = Delivery(
            export=export,
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
    assert not load_batch(connection, [CAMPAIGN_COUNTRY_DAILY], arrivals).rejected
    return dates


if __name__ == "__main__":
    main()
