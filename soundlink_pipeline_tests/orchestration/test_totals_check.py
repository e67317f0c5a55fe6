"""The check of Soundlink's own totals: what it requests, what it says, and that no other run pays for it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.orchestration import totals_check
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.orchestration.totals_check import COMPARE_TOTALS, config_of_part
from soundlink_pipeline.quality.totals import PARTS, part_of
from soundlink_pipeline.settings.settings import Settings, settings_from
from soundlink_pipeline.simulator import BREAKDOWN, CAMPAIGNS_READ, KeyInfo
from soundlink_pipeline.simulator.stats import Record, Stats
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.orchestration.told import lines_of
from soundlink_pipeline_tests.support.instances import instance_at
from soundlink_pipeline_tests.support.project import KEY, QUIET, Project, failure_of, project, pull, utc

CHECK = dg.AssetCheckKey(dg.AssetKey("campaign_totals"), "totals_agree")
SETTLED = ("2026-02-01", "2026-02-22")  # of what is pulled on 2 March


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose country rows of February are loaded."""
    with project(tmp_path_factory.mktemp("totals")) as made:
        assert pull(made.soundlink, "2026-02-01", "2026-03-01", exports=EXPORTS[:1]).failed == []
        yield made


@pytest.fixture
def here(pulled: Project, tmp_path: Path) -> Iterator[Project]:
    """The loaded project with a Dagster of its own, and every switch of the API as it was."""
    pulled.sim.stats.reset()
    with instance_at(tmp_path / "instance") as instance:
        yield replace(pulled, instance=instance)
    pulled.sim.overview_off.clear()
    pulled.sim.faults.clear()
    pulled.sim.keys[KEY] = KeyInfo()


def evaluated(result: dg.JobExecutionResult | dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    assert result.success
    (found,) = [e for e in result.get_asset_check_evaluations() if e.asset_check_key == CHECK]
    assert found.severity is dg.AssetCheckSeverity.WARN
    assert not found.blocking
    return found


def compared(here: Project, part: int | None = None) -> dg.AssetCheckEvaluation:
    run_config = {} if part is None else config_of_part(part)
    return evaluated(here.execute(COMPARE_TOTALS, run_config=run_config))


def value(found: dg.AssetCheckEvaluation, name: str) -> Any:
    return found.metadata[name].value


def table(found: dg.AssetCheckEvaluation, name: str) -> list[list[str]]:
    lines = str(value(found, name)).splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def asked(here: Project) -> list[str]:
    """The paths requested, with their query."""
    return [f"{record.path}?{record.query}" for record in here.sim.stats.records]


def overview_of(campaign: str) -> str:
    return f"/v1/campaigns/{campaign}/metrics/overview?startDate={SETTLED[0]}&endDate={SETTLED[1]}"


def test_each_live_campaign_is_compared_with_one_request_over_its_settled_days(here: Project) -> None:
    result = here.execute(COMPARE_TOTALS)
    found = evaluated(result)
    # The world's last two have not begun, or ended so long ago that they were compared for the last time.
    ids = sorted(campaign.path_id for campaign in here.sim.world.campaigns[:6])
    assert (found.passed, value(found, "campaigns compared"), value(found, "requests")) == (True, 6, 6)
    assert value(found, "differences") == "none"
    assert found.description is None
    assert asked(here) == [overview_of(campaign) for campaign in ids]
    assert lines_of(here, result) == [
        "6 requests, one each for the totals of 6 of 6 live campaigns",
        "6 requests sent",
    ]


def test_a_difference_is_a_warning_with_both_numbers(here: Project) -> None:
    here.sim.overview_off["spend_total"] = Decimal("-0.01")
    found = compared(here)
    ours = dict(
        here.query(
            f"select d.subject_id, sum(spend_total) from {BREAKDOWN} as r"
            " join (select distinct subject_id, row_subject_id from deliveries) as d"
            " on d.row_subject_id = r.campaign_id"
            f" where report_date between '{SETTLED[0]}' and '{SETTLED[1]}' group by all"
        )
    )
    campaign = here.sim.world.campaigns[0]
    both = [f"{ours[campaign.path_id] - off:,.2f}".rstrip("0").rstrip(".") for off in (Decimal(0), Decimal("0.01"))]
    assert found.passed is False
    rows = {row[0]: row[1:8] for row in table(found, "differences")}
    assert rows[campaign.path_id] == [campaign.name, *SETTLED, "spend_total", *both, "-0.01"]
    assert found.description is not None
    assert (
        f"'{campaign.name}' ({campaign.path_id}), {SETTLED[0]} to {SETTLED[1]}: spend_total {both[0]} in the rows,"
        f" {both[1]} at Soundlink" in found.description
    )
    assert "more" in found.description.splitlines()[-1]


def test_a_difference_is_shown_until_its_campaign_is_compared_again(here: Project) -> None:
    here.sim.overview_off["streams"] = 10
    ids = {row[0] for row in table(compared(here), "differences")}
    assert len(ids) == 6
    here.sim.overview_off.clear()
    part = part_of(here.sim.world.campaigns[0].path_id)
    again = {campaign for campaign in ids if part_of(campaign) == part}
    here.sim.stats.reset()
    found = compared(here, part)
    assert asked(here) == [overview_of(campaign) for campaign in sorted(again)]
    assert not found.passed
    assert {row[0] for row in table(found, "differences")} == ids - again
    # A campaign whose totals cannot be had is not compared, either.
    here.sim.faults.add("status", status=404, code="campaign_not_found", times=None)
    assert {row[0] for row in table(compared(here), "differences")} == ids - again
    here.sim.faults.clear()
    assert compared(here).passed


def refresh(here: Project) -> dg.ExecuteInProcessResult:
    """Materialize the country rows as the UI does: with the checks of that asset."""
    everything = build_definitions(settings_from(here.settings), lambda _: KEY).resolve_implicit_global_asset_job_def()
    days = {RANGE_START: SETTLED[0], RANGE_END: SETTLED[1]}
    job = everything.get_subset(asset_selection={dg.AssetKey(BREAKDOWN)})
    return job.execute_in_process(instance=here.instance, run_config=QUIET, tags=days)


def shown_in_the_ui(here: Project, check: dg.AssetCheckKey) -> bool | None:
    """Whether the check passed, as the UI shows it: by the rule of GraphQL's executionForLatestMaterialization."""

    async def found() -> bool | None:
        context = LoadingContextForTest(here.instance)
        record = await AssetCheckExecutionRecord.gen(context, check)
        if record is None or record.evaluation is None or not await record.targets_latest_materialization(context):
            return None
        return record.evaluation.passed

    return asyncio.run(found())


def test_the_ui_shows_the_newest_verdict_however_often_the_exports_are_materialized(here: Project) -> None:
    here.sim.overview_off["streams"] = 10
    assert compared(here).passed is False
    assert shown_in_the_ui(here, CHECK) is False
    here.sim.stats.reset()
    result = refresh(here)
    assert result.success
    assert {record.kind for record in here.sim.stats.records} <= {"campaigns", "campaign"}, "no other run compares"
    assert CHECK not in {evaluation.asset_check_key for evaluation in result.get_asset_check_evaluations()}
    assert shown_in_the_ui(here, dg.AssetCheckKey(dg.AssetKey(BREAKDOWN), "primary_key_unique")) is True
    assert shown_in_the_ui(here, CHECK) is False
    here.sim.overview_off.clear()
    assert compared(here).passed
    assert shown_in_the_ui(here, CHECK) is True


def test_a_refresh_has_every_check_but_this_one() -> None:
    definitions = build_definitions(Settings(), lambda _: None)
    every = definitions.resolve_asset_graph().asset_check_keys
    refreshed = definitions.resolve_job_def(DAILY_REFRESH).asset_layer.asset_graph.asset_check_keys
    assert every - refreshed == {CHECK}


def test_a_key_without_the_scope_costs_one_request_and_is_told(here: Project) -> None:
    here.sim.keys[KEY] = KeyInfo(frozenset({CAMPAIGNS_READ}))
    found = compared(here)
    assert not found.passed
    assert (value(found, "requests"), value(found, "campaigns compared")) == (1, 0)
    assert found.description is not None
    assert found.description.startswith("6 campaigns could not be compared: the API key lacks the scope")
    assert "requestId" in found.description
    reasons = [row[2] for row in table(found, "could not be compared")]
    assert reasons[1:] == ["not requested after the API had refused the others"] * 5


def test_campaigns_without_totals_do_not_cost_the_others(here: Project) -> None:
    unknown, proxied, without = here.sim.world.campaigns[1:4]
    here.sim.faults.add("status", campaign=unknown.uuid, status=404, code="campaign_not_found")
    here.sim.faults.add("html", campaign=proxied.uuid)
    here.sim.faults.add("json", campaign=without.uuid, data={"streams": None, "total_listeners": 3})
    found = compared(here)
    assert (found.passed, value(found, "campaigns compared"), value(found, "requests")) == (False, 3, 6)
    told = {campaign: why for campaign, _, why in table(found, "could not be compared")}
    assert told.keys() == {unknown.path_id, proxied.path_id, without.path_id}
    assert "HTTP 404" in told[unknown.path_id]
    assert "code campaign_not_found, requestId" in told[unknown.path_id]
    assert "answered text/html where JSON was due" in told[proxied.path_id]
    assert told[without.path_id] == "the overview gives none of the figures"


def test_what_the_documents_leave_open_is_no_difference_and_is_counted(here: Project) -> None:
    here.sim.overview_off["listeners"] = -1
    found = compared(here)
    assert found.passed
    uncertain = {row[0]: row[1:] for row in table(found, "figures not compared")}
    assert uncertain["listeners"] == ["the overview says less: it may count new listeners only", "6"]


def test_without_a_warehouse_there_is_nothing_to_compare_and_no_key_is_needed(tmp_path: Path) -> None:
    with project(tmp_path) as new:
        result = new.execute(COMPARE_TOTALS)
        assert evaluated(result).passed
        assert lines_of(new, result) == ["0 requests: of 0 live campaigns none is due that has settled days"]
        assert new.sim.stats.records == []


def test_a_key_that_cannot_be_one_fails_the_run_with_that_sentence(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOUNDLINK_API_KEY", "")
    assert "SOUNDLINK_API_KEY" in failure_of(here.execute(COMPARE_TOTALS))


def test_the_warehouse_is_opened_once_and_closed_while_the_api_is_asked(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    record, connect = Stats.add, NativeFile._connect

    def requested(stats: Stats, request: Record) -> None:
        with here.soundlink.warehouse.write():  # raises if another connection of this process reads
            opened.append(request.kind)
        record(stats, request)

    def connected(home: NativeFile, *how: Any) -> Any:
        if any(frame.filename == totals_check.__file__ for frame in inspect.stack()):
            opened.append("warehouse")
        return connect(home, *how)

    monkeypatch.setattr(Stats, "add", requested)
    monkeypatch.setattr(NativeFile, "_connect", connected)
    assert compared(here).passed
    assert opened == ["warehouse", *["overview"] * 6]


def test_the_schedule_compares_each_part_once_a_week() -> None:
    definitions = build_definitions(Settings(), lambda _: None)
    schedule = definitions.resolve_schedule_def("compare_totals_schedule")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert (schedule.execution_timezone, schedule.cron_schedule) == ("UTC", "35 13 * * *")
    job, first = definitions.resolve_job_def(COMPARE_TOTALS), utc("2026-02-25T13:35")
    configs = []
    for offset in range(PARTS):
        with dg.build_schedule_context(scheduled_execution_time=first + timedelta(days=offset)) as context:
            (request,) = schedule.evaluate_tick(context).run_requests or []
        assert dg.validate_run_config(job, request.run_config)
        configs.append(request.run_config)
    assert sorted(map(str, configs)) == sorted(str(config_of_part(part)) for part in range(PARTS))
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(job, {"ops": {"totals": {}}})
