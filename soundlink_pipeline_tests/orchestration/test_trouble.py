"""Runs that meet trouble: nothing is lost, and the run says what is missing and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.orchestration.asset_checks import export_check_specs
from soundlink_pipeline.quality.row_checks import row_checks
from soundlink_pipeline.simulator import BREAKDOWN, ENGAGEMENT, Fault
from soundlink_pipeline_tests.orchestration.told import lines_of
from soundlink_pipeline_tests.support.examined import Examined
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS
from soundlink_pipeline_tests.support.project import (
    KEY,
    Project,
    asked,
    each_day,
    failure_of,
    project,
    pull,
    truth,
    utc,
)

NOW = utc("2026-03-02T06:00")
REFETCH = {"ops": {"exports": {"config": {"refetch": True}}}}


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five days that are all settled by now; to be copied."""
    folder = tmp_path_factory.mktemp("settled")
    with project(folder) as made:
        assert made.refresh("2026-02-10", "2026-02-14").success
    return folder


@pytest.fixture
def loaded(tmp_path: Path, settled: Path) -> Iterator[Project]:
    with project(tmp_path, like=settled) as made:
        yield made


def last_result(here: Project, asset: str, check: str) -> dg.AssetCheckEvaluation:
    """What the UI shows of a check."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    (record,) = here.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.evaluation is not None, "Dagster shows it as failed"
    return record.evaluation


def test_one_campaign_that_fails_costs_the_others_nothing_and_is_asked_for_alone_again(here: Project) -> None:
    breakdown, engagement = CAMPAIGN_EXPORTS
    bad = here.sim.world.campaigns[1]
    assert bad.path_id != bad.uuid
    here.sim.faults.add(
        Fault("status", export=BREAKDOWN, campaign=bad.uuid, times=None, status=404, code="campaign_not_found")
    )
    failed = here.refresh("2026-02-24", "2026-02-28")
    assert not failed.success
    description = failure_of(failed)
    # The other export's rows tell what people call the campaign.
    assert f"{BREAKDOWN} of {bad.name!r} ({bad.path_id}), 2026-02-24 to 2026-02-28: " in description
    assert "code campaign_not_found" in description
    assert re.search(r"requestId [0-9a-f-]{36}", description)
    # The other export does not wait for this one: it has been pulled.
    pulls = len(asked(here.sim))
    assert description.startswith(f"1 of {pulls} pulls failed; the other {pulls - 1} are loaded.")
    events = failed.get_asset_materialization_events()
    materialized = {event.asset_key.to_user_string() for event in events if event.asset_key}
    assert materialized == {"campaigns", "soundlinks", *(export.name for export in EXPORTS if export != breakdown)}
    checks = {(e.asset_key.to_user_string(), e.check_name): e for e in failed.get_asset_check_evaluations()}
    missing = checks[BREAKDOWN, "every_live_campaign_delivered"]
    assert not missing.passed
    assert bad.path_id in str(missing.metadata["missing"].value)
    assert checks[ENGAGEMENT, "every_live_campaign_delivered"].passed
    # What was loaded is checked all the same.
    of_rows = [e for (asset, name), e in checks.items() if asset == BREAKDOWN and e is not missing]
    assert {e.check_name for e in of_rows} == {check.name for check in row_checks(breakdown)}
    assert all(e.passed and "bad rows" in e.metadata for e in of_rows)
    # What comes after the step was not evaluated, which says nothing against its data.
    not_evaluated = last_result(here, "published_database", "equals_warehouse")
    assert not_evaluated.severity is dg.AssetCheckSeverity.WARN
    said = not_evaluated.description or ""
    assert said.startswith(f"not evaluated: the step exports failed before it (1 of {pulls} pulls failed; the other ")
    days = each_day("2026-02-24", "2026-02-28", NOW)
    expected = truth(here.sim.world, breakdown, days)
    place = breakdown.column_names.index("campaign_id")
    assert here.table(breakdown) == [row for row in expected if row[place] != bad.uuid]

    here.sim.faults.clear()
    here.sim.stats.reset()
    # Meanwhile another run has listed the campaigns, and one of them is no longer among them.
    with here.soundlink.warehouse.write() as connection:
        connection.execute("update campaigns set _run_id = 'another' where campaign_id <> ?", [bad.uuid])
    again = here.resume(failed)
    assert again.success
    assert [record.path for record in here.sim.stats.records] == [
        f"/v1/campaigns/{bad.path_id}/metrics/breakdown/export"
    ]
    assert here.table(breakdown) == expected
    assert here.table(engagement) == truth(here.sim.world, engagement, days)


def test_details_that_do_not_come_cost_a_run_nothing_but_a_line_of_its_log(here: Project) -> None:
    for campaign in here.sim.world.campaigns:
        here.sim.faults.add(Fault("html", match=f"/v1/campaigns/{campaign.path_id}?", times=None))
    result = here.refresh("2026-01-10", "2026-01-10", asset_selection=[dg.AssetKey(BREAKDOWN)])
    assert result.success
    (line,) = [line for line in lines_of(here, result) if line.startswith("details: ")]
    assert line.startswith(
        "details: 0 of 8 came, 8 are left to the next runs; 8 requests failed, the first of campaign "
    )
    assert here.table(CAMPAIGN_EXPORTS[0]) != []
    assert here.query("select count(*), count(_detail_at) from campaigns") == [(8, 0)]


def test_a_delivery_that_breaks_a_rule_is_kept_apart_and_the_run_says_which_line(here: Project) -> None:
    bad = here.sim.world.campaigns[0]
    here.sim.faults.add(
        Fault("edit", export=BREAKDOWN, campaign=bad.uuid, edit=lambda body: body.replace(b'"US"', b'"us"', 1))
    )
    result = here.refresh("2026-01-10", "2026-01-12", asset_selection=[dg.AssetKey(BREAKDOWN)])
    assert not result.success
    description = failure_of(result)
    assert f"{BREAKDOWN} of {bad.uuid}, 2026-01-10 to 2026-01-12: refused: line " in description
    assert 'got "us"' in description
    (refused,) = (here.data / "quarantine" / BREAKDOWN / bad.uuid).glob("*.ndjson")
    reason = refused.with_name(refused.name + ".reason.txt").read_text()
    assert reason.strip() in description
    assert str(refused.parent) in description
    assert b'"us"' in refused.read_bytes()
    place = CAMPAIGN_EXPORTS[0].column_names.index("campaign_id")
    expected = truth(here.sim.world, CAMPAIGN_EXPORTS[0], each_day("2026-01-10", "2026-01-12", NOW))
    assert here.table(CAMPAIGN_EXPORTS[0]) == [row for row in expected if row[place] != bad.uuid]


@pytest.mark.parametrize("listed", [True, False])
def test_a_wrong_key_is_one_sentence_and_never_shown(
    here: Project, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    wrong = "sk_test_WrongWrong77wrong"
    monkeypatch.setenv("SOUNDLINK_API_KEY", wrong)
    if not listed:
        ids = ",".join(campaign.uuid for campaign in here.sim.world.campaigns) + ",x" * 50
        here.settings["SOUNDLINK_CAMPAIGN_IDS"] = ids
    result = here.refresh("2026-01-10", "2026-01-12")
    assert not result.success
    description = failure_of(result)
    assert "the API does not know this key; check SOUNDLINK_API_KEY" in description
    assert "requestId" in description
    assert len(description.splitlines()) <= 6
    # Both ways of authenticating, for as many as ask at a time.
    assert len(here.sim.stats.records) <= (2 if listed else 2 * 4)
    for event in here.instance.all_logs(result.run_id):
        assert wrong not in repr(event)
    searched = 0
    for path, content in here.texts():
        assert wrong.encode() not in content, path
        assert KEY.encode() not in content, path
        searched += 1
    assert searched > 3


def test_no_key_is_a_sentence_that_names_the_setting(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDLINK_API_KEY", "")
    result = here.refresh("2026-01-10", "2026-01-12")
    assert "SOUNDLINK_API_KEY is not set" in failure_of(result)


def test_a_damaged_count_of_requests_is_a_sentence_that_says_what_to_delete(here: Project) -> None:
    here.data.mkdir(parents=True, exist_ok=True)
    (here.data / "requests.sqlite").write_bytes(b"no database" * 500)
    failure = failure_of(here.refresh("2026-02-20", "2026-02-20", raise_on_error=False))
    assert failure.startswith("requests cannot be counted: requests.sqlite in the data folder is damaged")
    assert "Delete it" in failure


def test_a_good_key_is_written_nowhere(here: Project) -> None:
    here.sim.faults.add(Fault("status", status=400, code="bad", message=f"what is {KEY}", export=ENGAGEMENT))
    assert not here.refresh("2026-01-10", "2026-01-12").success
    for path, content in here.texts():
        assert KEY.encode() not in content, path


def test_the_warehouse_rebuilt_from_landed_files_is_the_one_that_was_lost(here: Project) -> None:
    for moment, start, end in (
        ("2026-02-01T06:00", "2026-01-25", "2026-01-31"),
        ("2026-02-02T06:00", "2026-01-25", "2026-02-01"),
        ("2026-02-04T06:00", "2026-01-27", "2026-02-03"),
    ):
        here.sim.clock.set(utc(moment))
        assert pull(here.soundlink, start, end, f"run-{end}").failed == []
    before = here.everything()
    assert all(before[name] for name in before if name != "vanished_rows" and not name.startswith("soundlink"))
    here.sim.stats.reset()

    # On a warehouse that has everything it changes nothing.
    assert here.execute("rebuild_from_landing").success
    assert here.everything() == before

    lost = here.soundlink.warehouse.path
    lost.rename(lost.with_name("lost.duckdb"))
    assert here.execute("rebuild_from_landing").success
    assert here.everything() == before

    # Interrupted halfway, and repeated; the last delivery is as a crash between loading and compressing leaves it.
    lost.unlink()
    landing = here.soundlink.landing
    *_, last = landing.deliveries()
    with last.open() as compressed:
        last.path.with_name(replace(last, loaded=None).name).write_bytes(compressed.read())
    last.path.unlink()
    aside = [delivery.path for delivery in landing.deliveries() if (delivery.loaded or 10**6) > 12]
    assert len(aside) > 10
    for path in aside:
        path.rename(path.with_name("aside." + path.name))
    assert here.execute("rebuild_from_landing").success
    assert here.query("select count(*) from deliveries") == [(12,)]
    for path in aside:
        path.with_name("aside." + path.name).rename(path)
    assert here.execute("rebuild_from_landing").success
    assert here.everything() == before
    assert landing.not_archived() == []
    assert here.sim.stats.records == []


def test_a_rebuild_with_damaged_files_loads_the_others_and_names_the_command_that_pulls_what_is_missing(
    loaded: Project,
) -> None:
    here = loaded
    whole = here.everything()
    landing = here.soundlink.landing
    bad = next(d for d in landing.deliveries() if d.export == BREAKDOWN and d.declared_rows)
    (listing,) = landing.listings(CAMPAIGN)
    for path in (bad.path, listing.path):
        path.write_bytes(path.read_bytes()[:-4])
    here.soundlink.warehouse.path.unlink()

    failure = failure_of(here.execute("rebuild_from_landing"))

    assert failure.startswith(f"2 landed files could not be used; {len(whole['deliveries']) - 1} deliveries loaded")
    quarantine = here.data / "quarantine"
    lost = f"the landed file {listing.path} is damaged: it is cut short, its compressed data has no end"
    assert f"{lost}; set aside in {quarantine / 'campaigns'}. No campaign is known" in failure
    assert (
        f"{bad.describe()}: the landed file {bad.path} is damaged: it is cut short, its compressed data has no end;"
        f" set aside in {quarantine / BREAKDOWN / bad.path.parent.name}"
    ) in failure
    # Before the files, of which there may be many: an alert shows the first lines only.
    assert failure.splitlines()[2] == "make backfill FROM=2026-02-10 TO=2026-02-14 REFETCH=1"
    days = each_day("2026-02-10", "2026-02-14", NOW)
    assert set(here.table(CAMPAIGN_EXPORTS[0])) < set(truth(here.sim.world, CAMPAIGN_EXPORTS[0], days))
    assert here.table(CAMPAIGN_EXPORTS[1]) == truth(here.sim.world, CAMPAIGN_EXPORTS[1], days)
    finding = Examined(here).one("Data", "quarantine")
    assert finding.level == "warn"
    assert "make backfill FROM=2026-02-10 TO=2026-02-14 REFETCH=1" in finding.fix
    assert Examined(here).one("Data", "campaign listing").level == "warn"

    here.sim.clock.advance(timedelta(minutes=1))
    assert here.refresh("2026-02-10", "2026-02-14", run_config=REFETCH).success
    days = each_day("2026-02-10", "2026-02-14", here.sim.clock.now())
    assert here.table(CAMPAIGN_EXPORTS[0]) == truth(here.sim.world, CAMPAIGN_EXPORTS[0], days)
    examined = Examined(here)
    assert examined.one("Data", "quarantine").level == "ok"
    assert not [finding for finding in examined.group("Data") if finding.what == "campaign listing"]


def test_the_command_that_pulls_a_damaged_file_again_is_one_that_pull_takes(loaded: Project) -> None:
    here = loaded
    landing = here.soundlink.landing
    bad = next(d for d in landing.deliveries() if d.export == BREAKDOWN and d.declared_rows)
    bad.path.write_bytes(bad.path.read_bytes()[:-4])
    here.soundlink.warehouse.path.unlink()
    here.settings["SOUNDLINK_START_DATE"] = "2026-02-12"  # later than what was pulled

    said = failure_of(here.execute("rebuild_from_landing")).splitlines()

    command = "make backfill FROM=2026-02-12 TO=2026-02-14 REFETCH=1"
    earlier = (
        "2026-02-10 to 2026-02-11 came before SOUNDLINK_START_DATE was set to 2026-02-12: with"
        " SOUNDLINK_START_DATE=2026-02-10, make backfill FROM=2026-02-10 TO=2026-02-11 REFETCH=1"
    )
    assert said[2:4] == [command, earlier]
    fix = Examined(here).one("Data", "quarantine").fix
    assert fix.endswith(f"{command} pulls those days again, settled ones too; {earlier}")
    here.settings["SOUNDLINK_START_DATE"] = "2026-03-01"  # later than all of it
    fix = Examined(here).one("Data", "quarantine").fix
    assert fix.endswith(
        "2026-02-10 to 2026-02-14 came before SOUNDLINK_START_DATE was set to 2026-03-01: with"
        " SOUNDLINK_START_DATE=2026-02-10, make backfill FROM=2026-02-10 TO=2026-02-14 REFETCH=1"
    )
    assert "those days again" not in fix


def test_a_damaged_leftover_fails_the_run_that_finds_it_and_a_damaged_listing_is_asked_for_again(here: Project) -> None:
    bad = here.sim.world.campaigns[1]
    here.sim.faults.add(Fault("status", export=BREAKDOWN, campaign=bad.uuid, status=404, code="campaign_not_found"))
    failed = here.refresh("2026-02-24", "2026-02-25")
    assert not failed.success
    landing = here.soundlink.landing
    (listing,) = landing.listings(CAMPAIGN)
    listing.path.write_bytes(listing.path.read_bytes()[:-1])
    other = next(d for d in landing.deliveries() if d.export == ENGAGEMENT and d.declared_rows)
    plain = other.path.with_name(replace(other, loaded=None, requested_at=NOW, server_date=NOW).name)
    plain.write_bytes(b"")  # of another run, which was killed
    here.sim.stats.reset()

    description = failure_of(here.resume(failed))

    assert f": the landed file {plain} is damaged: it does not hold the bytes that arrived" in description
    assert description.splitlines()[2] == "make backfill FROM=2026-02-24 TO=2026-02-25 REFETCH=1"
    assert [record.kind for record in here.sim.stats.records] == ["campaigns", "breakdown_export"]
    assert listing.path.name in {path.name for path in (here.data / "quarantine" / "campaigns").iterdir()}
    for export in CAMPAIGN_EXPORTS:
        assert here.table(export) == truth(here.sim.world, export, each_day("2026-02-24", "2026-02-25", NOW))
    assert here.refresh("2026-02-24", "2026-02-25").success


def test_no_check_is_called_failed_where_none_of_its_pulls_or_its_step_came_to_rows(here: Project) -> None:
    here.sim.faults.add(Fault("status", export=BREAKDOWN, times=None, status=404, code="campaign_not_found"))
    assert not here.refresh("2026-02-27", "2026-02-28").success
    for check in row_checks(CAMPAIGN_EXPORTS[0]):
        result = last_result(here, BREAKDOWN, check.name)
        assert result.severity is dg.AssetCheckSeverity.WARN
        assert result.description == "not evaluated: every pull of this export failed; the run's failure says why"
    for check in row_checks(CAMPAIGN_EXPORTS[1]):
        assert last_result(here, ENGAGEMENT, check.name).passed
    here.sim.faults.clear()
    here.sim.faults.add(Fault("status", times=None, status=401, code="unauthorized"))
    assert not here.refresh("2026-02-27", "2026-02-28").success
    for export in CAMPAIGN_EXPORTS:
        for spec in export_check_specs():
            if spec.asset_key == dg.AssetKey(export.name):
                said = last_result(here, export.name, spec.name).description or ""
                assert said.startswith("not evaluated: the step listings failed before it (the API refuses the key")
