"""Listening that goes on after a campaign: a whole run finds it, asks on, and shows it in the marts."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import dagster as dg

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.simulator import World
from soundlink_pipeline.simulator.campaigns import midnight
from soundlink_pipeline.simulator.oddities import Oddities
from soundlink_pipeline_tests.orchestration.told import lines_of
from soundlink_pipeline_tests.support.project import REPOSITORY, asked, each_day, project, truth

JUNE = date(2026, 6, 20)


def test_rows_that_a_probe_finds_are_asked_on_for_and_reach_the_marts_of_days_before_the_runs_range(
    tmp_path: Path,
) -> None:
    world = World(campaigns=3, countries_per_campaign=2, tracks_per_campaign=1, oddities=Oddities(long_tails=True))
    over = world.campaigns[2]
    assert over.last_day + timedelta(days=60) < JUNE < over.last_day + timedelta(days=120)

    probe = DateRange(JUNE - timedelta(days=98), JUNE - timedelta(days=9))
    window = DateRange(JUNE - timedelta(days=8), JUNE - timedelta(days=1))
    with project(tmp_path, world, sql_dir=REPOSITORY / "dbt_like_sql") as here:
        here.settings["SOUNDLINK_START_DATE"] = "2026-01-04"
        now = midnight(JUNE) + timedelta(hours=7)
        here.sim.clock.set(now)
        result = here.refresh(str(window.start), str(window.end))
        assert result.success
        of_it = [query for path, query in asked(here.sim) if over.path_id in path]
        assert of_it == [f"startDate={dates.start}&endDate={dates.end}" for dates in (probe, window)]
        lines = lines_of(here, result)
        told = "4 requests for 2 of 3 campaigns and 1 of those that are over, to see whether rows still come"
        assert told in lines[2]
        assert lines[3].startswith("the earliest campaign was created on 2026-01-01; the 3 days from then to ")
        assert "1 further request, for what is over and still has rows" in lines
        listed = here.instance.get_latest_materialization_event(dg.AssetKey("campaigns"))
        assert listed is not None
        assert listed.asset_materialization is not None
        assert listed.asset_materialization.metadata["left out"].value == lines[3]
        export = CAMPAIGN_ENGAGEMENT_DAILY
        expected = truth(world, export, each_day(str(probe.start), str(window.end), now))
        ours = [row for row in expected if row[export.column_names.index("campaign_id")] == over.uuid]
        assert here.table(export, f"campaign_id = '{over.uuid}'") == ours
        counted = "select report_date, count(*) from marts.track_engagement_daily where campaign_id = '{}' group by all"
        at = export.column_names.index("report_date")
        assert {day for day, _ in here.query(counted.format(over.uuid))} == {row[at] for row in ours}
        status = "select subjects_expected, subjects_pulled, rows > 0 from marts.data_status where export = '{}'"
        before = probe.end - timedelta(days=20)
        assert here.query(f"{status.format(export.name)} and report_date = '{before}'") == [(3, 1, True)]
