"""A run that is told to accept smaller answers takes what any other run would not believe."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import dagster as dg

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.simulator import Shrinking, World
from soundlink_pipeline_tests.support.project import failure_of, project, pull

DAYS = ("2026-02-18", "2026-02-20")


def test_a_run_takes_a_smaller_answer_only_if_its_config_says_so(tmp_path: Path) -> None:
    world = World(campaigns=1, countries_per_campaign=24, tracks_per_campaign=1)
    (campaign,) = world.campaigns
    with project(tmp_path, world) as here:
        assert pull(here.soundlink, *DAYS, exports=[CAMPAIGN_COUNTRY_DAILY]).failed == []
        held = here.query(f"select count(*) from {CAMPAIGN_COUNTRY_DAILY.name}")
        here.sim.shrinking.add(Shrinking(date(2026, 2, 19), keep=3, answers=None, moving=True))

        def run(**config: bool) -> dg.JobExecutionResult:
            run_config = {"ops": {"exports": {"config": config}}}
            only = [dg.AssetKey(CAMPAIGN_COUNTRY_DAILY.name)]
            return here.refresh(*DAYS, run_config=run_config, asset_selection=only, raise_on_error=False)

        failure = failure_of(run(refetch=True))
        assert campaign.path_id in failure
        assert "accept_smaller: true in the run's config" in failure
        assert here.query("select count(*) from deliveries") == [(1,)]
        assert run(refetch=True, accept_smaller=True).success
        ((rows,),) = here.query("select rows from deliveries order by load_order desc limit 1")
        assert 2 * rows > held[0][0] > rows  # of three days, one is all but gone
