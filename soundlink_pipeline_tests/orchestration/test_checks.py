"""What the checks of a run say, what they stop, and what turns red without a run."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline.simulator import BREAKDOWN, ENGAGEMENT, Fault, World
from soundlink_pipeline_tests.orchestration.told import materialized
from soundlink_pipeline_tests.support.project import QUIET, Project, day, each_day, failure_of, project, truth, utc

NOW = utc("2026-03-02T06:00")


NAMES = [export.name for export in EXPORTS]


def test_a_run_whose_rows_contradict_themselves_builds_nothing_on_them_and_says_which(here: Project) -> None:
    days, world = (day("2026-02-20"), day("2026-02-21")), here.sim.world
    bad = next(c for c in world.campaigns if any(True for _ in world.rows(BREAKDOWN, c.uuid, *days, NOW)))
    broken: dict[str, Any] = {"edit": lambda body: re.sub(rb'"fees":[0-9.]+', b'"fees":987654', body, count=1)}
    here.sim.faults.add(Fault("edit", export=BREAKDOWN, campaign=bad.uuid, **broken))
    result = here.refresh("2026-02-20", "2026-02-21")
    assert not result.success
    said = failure_of(result)
    assert said.startswith("Loaded rows failed a blocking check; models and publication were skipped.")
    assert (
        f"{BREAKDOWN}, fees_add_up: 1 row breaks the rule: spend_total - spend_media = fees, within one minor unit of"
        in said
    )
    assert not here.soundlink.published_path.exists()
    checks = {(e.asset_key.to_user_string(), e.check_name): e for e in result.get_asset_check_evaluations()}
    failed = checks[BREAKDOWN, "fees_add_up"]
    assert (failed.passed, failed.severity, failed.metadata["bad rows"].value) == (
        False,
        dg.AssetCheckSeverity.ERROR,
        1,
    )
    assert "987654" in str(failed.metadata["sample"].value)
    assert failed.metadata["what to do"].value
    assert [key for key, check in checks.items() if not check.passed] == [(BREAKDOWN, "fees_add_up")]
    # Both exports are loaded and their days green: what is wrong is told by the check.
    assert {
        str(event.asset_key and event.asset_key.to_user_string()) for event in result.get_asset_materialization_events()
    } >= {
        BREAKDOWN,
        ENGAGEMENT,
    }
    # Once the API delivers well, the same range goes through: these days are not settled, or refetched.
    refetch = {"ops": {"exports": {"config": {"refetch": True}}}}
    here.sim.clock.set(utc("2026-03-02T07:00"))
    assert here.refresh("2026-02-20", "2026-02-21", run_config=refetch).success
    assert here.soundlink.published_path.exists()


def test_a_warning_stops_nothing(here: Project) -> None:
    here.sim.faults.add(Fault("extra_field", export=BREAKDOWN, times=None, fields={"saves": 3}))
    result = here.refresh("2026-02-20", "2026-02-21")
    assert result.success
    failed = [e for e in result.get_asset_check_evaluations() if not e.passed and e.check_name != "newest_day"]
    assert {(e.asset_key.to_user_string(), e.check_name, e.severity) for e in failed} == {
        (BREAKDOWN, "no_unknown_fields", dg.AssetCheckSeverity.WARN)
    }
    assert "saves" in str(failed[0].metadata["sample"].value)
    assert here.soundlink.published_path.exists()


def test_checks_are_answered_alone_without_a_request(here: Project) -> None:
    assert here.refresh("2026-02-20", "2026-02-21").success
    here.sim.stats.reset()
    key = dg.AssetCheckKey(dg.AssetKey(BREAKDOWN), "primary_key_unique")
    definitions = build_definitions(settings_from(here.settings), lambda _: None)  # not even a key is needed
    alone = definitions.resolve_implicit_global_asset_job_def().get_subset(asset_check_selection={key})
    result = alone.execute_in_process(instance=here.instance, run_config=QUIET)
    assert result.success
    assert [(e.asset_check_key, e.passed) for e in result.get_asset_check_evaluations()] == [(key, True)]
    assert here.sim.stats.records == []


def test_yesterday_missing_turns_exports_and_published_file_red_and_an_old_backfill_does_not_turn_them_green(
    tmp_path: Path,
) -> None:
    # Days as the real clock has them, for what is due is asked of it.
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    first = yesterday - timedelta(days=90)
    world = World(campaigns=4, first_day=first, countries_per_campaign=2, tracks_per_campaign=1)
    with project(tmp_path, world) as here:
        here.sim.clock.set(datetime.now(UTC))
        here.settings["SOUNDLINK_START_DATE"] = str(first)
        _freshness(here, yesterday)


def _freshness(here: Project, yesterday: date) -> None:
    def red() -> set[str]:
        result = here.execute("freshness")
        assert result.success
        assert result.get_asset_materialization_events() == []
        found = result.get_asset_check_evaluations()
        assert {e.check_name for e in found} == {"newest_day"}
        assert {e.asset_key.to_user_string() for e in found} == {*NAMES, "published_database"}
        return {e.asset_key.to_user_string() for e in found if not e.passed}

    everything = {*NAMES, "published_database"}
    assert red() == everything  # there is nothing at all
    old = yesterday - timedelta(days=40)
    assert here.refresh(str(old), str(old)).success
    assert red() == {BREAKDOWN, ENGAGEMENT, "published_database"}  # there is no soundlink to wait for
    before_yesterday = [str(yesterday - timedelta(days=8)), str(yesterday)]
    assert here.refresh(*before_yesterday, asset_selection=[dg.AssetKey(BREAKDOWN)]).success
    assert red() == {ENGAGEMENT, "published_database"}
    assert here.refresh(*before_yesterday).success
    assert red() == set()


def test_fields_the_contract_does_not_know_are_told_and_do_no_harm(here: Project) -> None:
    here.sim.faults.add(Fault("extra_field", export=BREAKDOWN, times=None, fields={"saves": 3}))
    result = here.refresh("2026-01-10", "2026-01-12", asset_selection=[dg.AssetKey(BREAKDOWN)])
    assert result.success
    assert here.table(EXPORTS[0]) == truth(here.sim.world, EXPORTS[0], each_day("2026-01-10", "2026-01-12", NOW))
    page = materialized(here, BREAKDOWN)["2026-01-12"]["last run"]
    assert re.search(r"unknown fields *\| *saves \(integer, all rows\)", page)
    warnings = [log.user_message for log in here.instance.all_logs(result.run_id) if log.level == 30]
    told = [text for text in warnings if "fields its contract does not know" in text]
    assert [text.partition(": ")[2].partition(". ")[0] for text in told] == ["saves (integer, all rows)"]
    assert here.query(f"select distinct _unknown_fields from {BREAKDOWN}") == [('{"saves":3}',)]
