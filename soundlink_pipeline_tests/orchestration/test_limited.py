"""A run that is limited to some campaigns: its days do not count as done while others lack them."""

from __future__ import annotations

from typing import Any

import dagster as dg

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.orchestration.run_context import BACKFILL
from soundlink_pipeline_tests.orchestration.told import materialized
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS
from soundlink_pipeline_tests.support.project import Project, failure_of

SOUNDLINK_EXPORTS = [export for export in EXPORTS if export not in CAMPAIGN_EXPORTS]
DAYS = ("2026-02-20", "2026-02-21", "2026-02-22")


def of(*campaigns: str) -> dict[str, Any]:
    return {"ops": {"exports": {"config": {"campaigns": list(campaigns)}}}}


def days_done(here: Project) -> list[list[str]]:
    return [list(materialized(here, export.name)) for export in CAMPAIGN_EXPORTS]


def test_days_that_lack_other_campaigns_are_loaded_and_not_materialized(here: Project) -> None:
    one, *others = (campaign.path_id for campaign in here.sim.world.campaigns)
    assert here.refresh(DAYS[0], DAYS[-1], run_config=of(one)).success
    assert here.query("select distinct subject_id from deliveries") == [(one,)]
    assert "soundlinks" not in {record.kind for record in here.sim.stats.records}  # nothing of it needs them
    assert [dict(materialized(here, export.name)) for export in SOUNDLINK_EXPORTS] == [{}, {}]
    assert days_done(here) == [[], []]
    # What the UI calls missing is what a backfill of missing days would pull.
    for export in CAMPAIGN_EXPORTS:
        assert here.instance.get_materialized_partitions(dg.AssetKey(export.name)) == set()
        (seen,) = here.instance.fetch_observations(dg.AssetKey(export.name), limit=10).records
        assert seen.asset_observation is not None
        assert seen.asset_observation.metadata["days that lack other campaigns"].value == 3
    # The others come for one day: that one is whole, by whatever runs.
    assert here.refresh(DAYS[1], DAYS[1], run_config=of(*others)).success
    assert here.refresh(DAYS[0], DAYS[-1], run_config=of(one)).success
    assert [set(days) for days in days_done(here)] == [{DAYS[1]}, {DAYS[1]}]
    for export in CAMPAIGN_EXPORTS:
        assert materialized(here, export.name)[DAYS[1]]["rows"] > 1
    assert here.refresh(DAYS[0], DAYS[-1]).success
    assert [sorted(set(days)) for days in days_done(here)] == [list(DAYS), list(DAYS)]


def test_a_run_whose_exports_are_not_those_of_its_ids_is_told_so_without_a_request(here: Project) -> None:
    selected = [dg.AssetKey(export.name) for export in SOUNDLINK_EXPORTS]
    result = here.refresh(DAYS[0], DAYS[0], run_config=of("camp_1"), asset_selection=selected)
    assert failure_of(result) == (
        "the run is limited to campaigns by their ids, and none of the exports that it selects is about campaigns"
    )
    assert here.sim.stats.records == []


def test_a_backfill_is_not_limited_since_its_days_would_count_as_done(here: Project) -> None:
    one = here.sim.world.campaigns[0].path_id
    result = here.refresh(DAYS[0], DAYS[0], run_config=of(one), tags={BACKFILL: "abcdefgh"})
    assert not result.success
    assert failure_of(result).startswith("a backfill pulls all that is listed: ")
    assert {record.kind for record in here.sim.stats.records} <= {"campaigns", "soundlinks"}
