"""Estimates held against what the simulator's days became, in random worlds: their ranges and their medians.

A year of many worlds is tried by hand; here it is two worlds of seven weeks each, of one export.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median

import duckdb
import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.landing.deliveries import HashedDelivery
from soundlink_pipeline.loading.batch import load_batch
from soundlink_pipeline.models.build import build_model
from soundlink_pipeline.models.project import SqlProject
from soundlink_pipeline.simulator import World, ndjson
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.marts.shared import COUNTRY, Marts
from soundlink_pipeline_tests.support.deliveries import arrival

FIRST = date(2026, 1, 1)
# Estimates of each week's end, so that no day is looked at twice; the last has settled at the end of all.
LOOKS, LAST = (27, 34, 41, 48), 56
MISSED = 0.1  # share of mornings without a pull
MEASURES = ("impressions", "link_clicks", "streams", "listeners", "followers", "spend_total")
NEEDED = ("stg_report_date_status", "settling_days", "settling_factors", "settled_estimates")
# Of one grain, what was shown, estimated, the range and what it became.
Held = tuple[str, float, float, float, float, float]


def mornings(world: World, folder: Path, random: Random) -> Iterator[tuple[int, list[HashedDelivery]]]:
    """Of each morning, by days since FIRST, what a refresh pulls: the newest days that may still change."""
    for morning in range(1, LAST + 1):
        if morning not in LOOKS and morning < LAST - 8 and random.random() < MISSED:
            continue
        now = datetime(2026, 1, 1, 7, tzinfo=UTC) + timedelta(days=morning)
        # At the end every day is pulled once more, so that those of a missed morning are settled, too.
        back = 8 if morning < LAST else LAST
        dates = DateRange(max(FIRST, now.date() - timedelta(days=back)), now.date() - timedelta(days=1))
        yield (
            morning,
            [
                arrival(
                    folder,
                    ndjson(world.rows(COUNTRY, campaign.row_id, dates.start, dates.end, now)),
                    campaign=campaign.path_id,
                    dates=dates,
                    pulled=now,
                )
                for campaign in world.campaigns
            ],
        )


def backtest(marts: Marts, folder: Path, seed: int) -> list[Held]:
    """Every estimate that stood beside a provisional value at one of LOOKS, with what that became."""
    world = World(seed=seed, campaigns=3, soundlinks=0, first_day=FIRST, duration_days=90, countries_per_campaign=4)
    connection = marts.connection
    estimates = "select *, {} as look from marts.settled_estimates"
    connection.execute(f"create or replace temp table looked as {estimates.format(0)} limit 0")
    batch: list[HashedDelivery] = []
    for morning, arrivals in mornings(world, folder, Random(seed)):
        batch += arrivals
        if morning in LOOKS or morning == LAST:
            assert not load_batch(connection, [CAMPAIGN_COUNTRY_DAILY], batch).rejected
            batch = []
        if morning in LOOKS:
            for name in NEEDED:
                build_model(connection, marts.project, marts.project.models[name])
            connection.execute(f"insert into looked {estimates.format(morning)}")
    return connection.execute(
        f"""
        with settled as (
            unpivot (
                select account_id, campaign_id, country_code, report_date,
                    columns(['{"', '".join(MEASURES)}'])::decimal(18, 6)
                from {COUNTRY}
            ) on {", ".join(MEASURES)} into name measure value value
        )
        select grain, any_value(value_now)::double, any_value(settled_estimate)::double,
            any_value(settled_low)::double, any_value(settled_high)::double, sum(value)::double
        from looked join settled as s
            on looked.report_date = s.report_date and looked.measure = s.measure
            and coalesce(looked.subject_id, s.campaign_id) = s.campaign_id
            and coalesce(looked.country_code, s.country_code) = s.country_code
        where settled_estimate is not null
        group by look, grain, looked.subject_id, looked.country_code, looked.report_date, looked.measure
        """
    ).fetchall()


def in_a_new_warehouse(project: SqlProject, folder: Path, seed: int) -> list[Held]:
    with NativeFile(folder).write() as connection:
        marts = Marts(connection, project)
        marts.build()
        assert marts.rows("marts.settled_estimates", "*") == []  # makes what it is made of, and no other mart
        return backtest(marts, folder, seed)


@pytest.fixture(scope="module")
def held(project: SqlProject, tmp_path_factory: pytest.TempPathFactory) -> list[Held]:
    found: list[Held] = []
    for seed in (1, 2):
        try:
            found += in_a_new_warehouse(project, tmp_path_factory.mktemp("first"), seed)
        except duckdb.Error as error:
            # By chance DuckDB 2.0.1 fails to merge, and the pipeline tries once more with a new engine (DECISIONS 162).
            if "Corrupted" not in str(error):
                raise
            found += in_a_new_warehouse(project, tmp_path_factory.mktemp("second"), seed)
    return found


@pytest.mark.parametrize(
    ("grain", "most"),
    # Countries have small whole numbers, and a range of whole numbers holds more than it was to.
    [("account", 0.85), ("subject", 0.9), ("country", 0.95)],
)
def test_range_holds_and_median_is_unbiased(held: list[Held], grain: str, most: float) -> None:
    # Where both ends are the same nothing is expected to change; that is tried below.
    of = [row for row in held if row[0] == grain and row[3] < row[4]]
    holds = sum(low <= settled <= high for _, _, _, low, high, settled in of) / len(of)
    bias = median(estimate / settled for _, _, estimate, _, _, settled in of if settled) - 1
    assert len(of) > 200
    assert 0.75 <= holds <= most
    assert abs(bias) < 0.02
    if grain == "account":  # of which alone the sum means something
        assert abs(sum(row[2] for row in of) / sum(row[5] for row in of) - 1) < 0.02
        assert sum(row[1] for row in of) / sum(row[5] for row in of) < 0.95  # what the estimates are better than


# A range without width is a range of four in five, too.
def test_what_is_not_expected_to_change_does_not_in_four_cases_of_five(held: list[Held]) -> None:
    same = [row for row in held if row[3] == row[4]]
    assert sum(low == settled for _, _, _, low, _, settled in same) / len(same) >= 0.8
