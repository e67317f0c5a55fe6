"""Whole runs, over real HTTP into real DuckDB files: the tables hold what the API holds, or the run says why not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_shared.check import CheckError

from soundlink_pipeline.definitions import build_definitions, settings_from
from soundlink_pipeline.exports import EXPORTS
from soundlink_pipeline.jobs import DAILY_REFRESH
from soundlink_pipeline.simulator import BREAKDOWN, ENGAGEMENT, Fault, World
from soundlink_pipeline_tests.project import (
    KEY,
    QUIET,
    Project,
    asked,
    day,
    each_day,
    failure_of,
    project,
    truth,
    utc,
)

NOW = utc("2026-03-02T06:00")
# The one thing that is asked of the real clock: which day is still open.
_TODAY = str(datetime.now(UTC).date())
_LAST_WEEK = str(datetime.now(UTC).date() - timedelta(days=7))


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path) as made:
        yield made


def materialized(here: Project, export: str) -> dict[str, dict[str, Any]]:
    """Metadata by partition, as the instance has recorded them."""
    records = here.instance.fetch_materializations(dg.AssetKey(export), limit=1000).records
    return {
        record.partition_key: {name: value.value for name, value in record.asset_materialization.metadata.items()}
        for record in reversed(records)
    }


def lines_of(here: Project, result: dg.JobExecutionResult) -> list[str]:
    """What the run has logged in its own words, in order."""
    return [log.user_message for log in here.instance.all_logs(result.run_id) if not log.is_dagster_event]


def test_a_range_in_one_run_gives_the_tables_the_api_holds(here: Project) -> None:
    result = here.refresh("2026-01-03", "2026-01-22")
    assert result.success
    live = [c for c in here.sim.world.campaigns if c.created_at.date() <= day("2026-01-22")]
    assert 0 < len(live) < len(here.sim.world.campaigns)
    for export in EXPORTS:
        expected = truth(here.sim.world, export, each_day("2026-01-03", "2026-01-22", NOW))
        assert here.table(export) == expected
        assert len(expected) > 200
    assert len(asked(here.sim)) == 2 * len(live)
    assert len(set(asked(here.sim))) == 2 * len(live)
    assert len(here.sim.stats.records) == 2 * len(live) + 1
    assert here.query("select count(*) from campaigns") == [(len(here.sim.world.listing(NOW)),)]
    for export in EXPORTS:
        partitions = materialized(here, export.name)
        assert list(partitions) == [str(d) for d, _ in each_day("2026-01-03", "2026-01-22", NOW)]
        totals = here.query(
            f"select report_date::varchar, count(*), {', '.join(f'sum({m})::double' for m in export.measures)}"
            f" from {export.name} group by 1 order by 1"
        )
        for name, rows, *sums in totals:
            assert partitions[name]["dagster/partition_row_count"] == rows
            assert [partitions[name][measure] for measure in export.measures] == [round(s, 2) for s in sums]
            assert partitions[name]["settled"] is True
        last = partitions["2026-01-22"]
        assert last["rows delivered"] == last["inserted"] == sum(row[1] for row in totals)
        assert last["dagster/row_count"] == last["rows delivered"]
        assert last["requests of the run's step"] == 2 * len(live)
        assert last["range of the run"] == "2026-01-03 to 2026-01-22"
        preview = last["newest rows"].splitlines()[2:]
        assert len(preview) == 5
        assert all("2026-01-22" in line for line in preview)
        assert last["last days"].startswith("![")
        # The day's own figures come first, and a day's page has no other's.
        assert next(iter(last)) == "dagster/partition_row_count"
        assert "inserted" not in partitions["2026-01-21"]


@pytest.mark.parametrize(
    ("start", "end", "sentence"),
    [
        ("2026-01-20", "2026-01-10", "reversed"),
        (_LAST_WEEK, _TODAY, "has not closed yet"),
        ("2026-1-5", "2026-01-10", "YYYY-MM-DD"),
    ],
)
def test_a_range_that_makes_no_sense_costs_no_request(here: Project, start: str, end: str, sentence: str) -> None:
    result = here.refresh(start, end)
    assert not result.success
    assert failure_of(result).startswith("cannot pull ")
    assert sentence in failure_of(result)
    assert here.sim.stats.records == []


def test_a_range_before_the_first_partition_makes_no_run(here: Project) -> None:
    with pytest.raises(CheckError, match="2025-12-30 is before the partitions definition start time 2026-01-01"):
        here.refresh("2025-12-30", "2026-01-10")
    assert here.sim.stats.records == []


def test_a_run_for_no_day_at_all_says_how_to_ask(here: Project) -> None:
    result = here.execute(DAILY_REFRESH, asset_selection=[dg.AssetKey(BREAKDOWN)])
    assert not result.success
    assert "make backfill FROM=" in failure_of(result)
    assert here.sim.stats.records == []


def test_a_later_run_brings_what_was_revised_and_keeps_what_was_believed(here: Project) -> None:
    first, second = utc("2026-02-01T06:00"), utc("2026-02-03T06:00")
    here.sim.clock.set(first)
    assert here.refresh("2026-01-20", "2026-01-31").success
    before = {export.name: here.table(export) for export in EXPORTS}
    here.sim.clock.set(second)
    assert here.refresh("2026-01-24", "2026-02-02").success
    days = each_day("2026-01-20", "2026-01-23", first) + each_day("2026-01-24", "2026-02-02", second)
    for export in EXPORTS:
        assert here.table(export) == truth(here.sim.world, export, days)
        # The history holds, of every row whose values changed, the version that was believed in between.
        key = [export.column_names.index(name) for name in export.primary_key]
        values = [export.column_names.index(name) for name in export.value_columns]
        now = {tuple(row[i] for i in key): tuple(row[i] for i in values) for row in here.table(export)}
        revised = [
            row for row in before[export.name] if now[tuple(row[i] for i in key)] != tuple(row[i] for i in values)
        ]
        kept = here.query(
            f"select {', '.join(export.column_names)} from {export.name}_history"
            f" order by {', '.join(export.primary_key)}"
        )
        assert kept == revised
        assert len(revised) > 50
        assert here.query(f"select distinct _valid_from, _valid_until from {export.name}_history") == [
            (first.replace(tzinfo=None), second.replace(tzinfo=None))
        ]
    # Our own clock says that all of these days are long settled; the API's Date says which of them are.
    assert here.query(
        "select export, min(report_date)::varchar, max(report_date)::varchar, is_settled, max(last_pulled_at)"
        " from report_date_status group by export, is_settled order by export, is_settled"
    ) == [
        (name, *last)
        for name in (BREAKDOWN, ENGAGEMENT)
        for last in (
            ("2026-01-27", "2026-02-02", False, second.replace(tzinfo=None)),
            ("2026-01-20", "2026-01-26", True, second.replace(tzinfo=None)),
        )
    ]


def test_one_campaign_that_fails_costs_the_others_nothing_and_is_asked_for_alone_again(here: Project) -> None:
    bad = here.sim.world.campaigns[1]
    assert bad.path_id != bad.uuid
    here.sim.faults.add(
        Fault("status", export=BREAKDOWN, campaign=bad.uuid, times=None, status=403, code="access_denied")
    )
    failed = here.refresh("2026-02-24", "2026-02-28")
    assert not failed.success
    description = failure_of(failed)
    # The other export's rows tell what people call the campaign.
    assert f"{BREAKDOWN} of campaign {bad.name!r} ({bad.path_id}), 2026-02-24 to 2026-02-28: " in description
    assert "code access_denied" in description
    assert re.search(r"requestId [0-9a-f-]{36}", description)
    # The other export does not wait for this one: it has been pulled.
    pulls = len(asked(here.sim))
    assert description.startswith(f"1 of {pulls} pulls failed; the other {pulls - 1} are loaded.")
    materialized = {event.asset_key.to_user_string() for event in failed.get_asset_materialization_events()}
    assert materialized == {"campaigns", ENGAGEMENT}
    checks = {(e.asset_key.to_user_string(), e.check_name): e for e in failed.get_asset_check_evaluations()}
    missing = checks[BREAKDOWN, "every_live_campaign_delivered"]
    assert not missing.passed
    assert bad.path_id in str(missing.metadata["missing"].value)
    assert checks[ENGAGEMENT, "every_live_campaign_delivered"].passed
    assert {name for asset, name in checks if asset == BREAKDOWN} == {"every_live_campaign_delivered"}
    (breakdown, engagement) = EXPORTS
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


def test_a_new_run_asks_for_what_is_missing_or_not_settled_unless_it_is_told_to_refetch(here: Project) -> None:
    only = {"asset_selection": [dg.AssetKey(BREAKDOWN)]}
    assert here.refresh("2026-02-18", "2026-02-22", **only).success  # on March 2: settled up to the 22nd
    assert here.refresh("2026-02-25", "2026-02-26", **only).success
    live = len(asked(here.sim)) // 2
    here.sim.stats.reset()
    here.sim.clock.set(utc("2026-03-03T06:00"))

    # Settled: nothing to ask, and the run says so. Whoever re-executes it as a whole gets the same.
    nothing = here.refresh("2026-02-18", "2026-02-22", **only)
    parent = {"dagster/parent_run_id": nothing.run_id, "dagster/root_run_id": nothing.run_id}
    assert here.refresh("2026-02-18", "2026-02-22", tags=parent, **only).success
    assert asked(here.sim) == []
    assert materialized(here, BREAKDOWN)["2026-02-22"]["rows delivered"] == 0
    assert materialized(here, BREAKDOWN)["2026-02-22"]["settled"] is True
    assert lines_of(here, nothing)[0] == (
        f"{BREAKDOWN}, 2026-02-18 to 2026-02-22: 0 requests for {live} of {len(here.sim.world.campaigns)} campaigns."
        f" {live} more are spared: pulled before, and settled (refetch: true in the run's config asks again)"
    )

    # Missing on one end and unsettled on the other: from the first such day to the last, in one request.
    assert here.refresh("2026-02-20", "2026-02-27", **only).success
    assert len(asked(here.sim)) == live
    assert {query for _, query in asked(here.sim)} == {"startDate=2026-02-23&endDate=2026-02-27"}
    days = each_day("2026-02-18", "2026-02-22", NOW) + each_day("2026-02-23", "2026-02-27", utc("2026-03-03T06:00"))
    assert here.table(EXPORTS[0]) == truth(here.sim.world, EXPORTS[0], days)

    here.sim.stats.reset()
    refetch = {"ops": {"exports": {"config": {"refetch": True}}}}
    assert here.refresh("2026-02-18", "2026-02-22", run_config=refetch, **only).success
    assert {query for _, query in asked(here.sim)} == {"startDate=2026-02-18&endDate=2026-02-22"}
    assert len(asked(here.sim)) == live


def test_a_runs_first_line_says_how_many_requests_it_takes_and_how_long_at_the_apis_limits(here: Project) -> None:
    here.settings |= {"SOUNDLINK_REQUESTS_PER_MINUTE": "60", "SOUNDLINK_REQUESTS_PER_HOUR": "61"}
    names, count = f"{BREAKDOWN} and {ENGAGEMENT}", len(here.sim.world.campaigns)
    result = here.refresh("2026-02-20", "2026-02-21")
    requests = len(asked(here.sim))
    plan = f"{names}, 2026-02-20 to 2026-02-21: {requests} requests for {requests // 2} of {count} campaigns"
    assert lines_of(here, result)[:2] == [f"{count} campaigns listed. Next, {plan}", plan]

    here.settings["SOUNDLINK_REQUESTS_PER_HOUR"] = str(requests + 2)  # the next listing, and nothing left
    refused = here.refresh("2026-02-26", "2026-02-27", asset_selection=[dg.AssetKey("campaigns")])
    assert lines_of(here, refused) == [f"{count} campaigns listed"]  # which asks for no export
    with here.soundlink.connect(lambda _: None) as (_, pacer):
        assert pacer.left_this_hour() == 0


def test_days_before_the_earliest_campaign_are_a_success_without_rows_and_requests(here: Project) -> None:
    earliest = min(campaign.created_at for campaign in here.sim.world.campaigns).date()
    first = str(earliest - timedelta(days=40))
    here.settings["SOUNDLINK_START_DATE"] = first
    assert here.refresh(first, str(earliest - timedelta(days=35))).success
    assert asked(here.sim) == []
    for export in EXPORTS:
        assert here.table(export) == []
        assert materialized(here, export.name)[first]["dagster/partition_row_count"] == 0
    here.sim.stats.reset()
    assert here.refresh(first, str(earliest + timedelta(days=3))).success
    assert asked(here.sim) != []


# What the checks say


def test_a_run_whose_rows_contradict_themselves_builds_nothing_on_them_and_says_which(here: Project) -> None:
    days, world = (day("2026-02-20"), day("2026-02-21")), here.sim.world
    bad = next(c for c in world.campaigns if any(True for _ in world.rows(BREAKDOWN, c.uuid, *days, NOW)))
    broken = {"edit": lambda body: re.sub(rb'"fees":[0-9.]+', b'"fees":987654', body, count=1)}
    here.sim.faults.add(Fault("edit", export=BREAKDOWN, campaign=bad.uuid, **broken))
    result = here.refresh("2026-02-20", "2026-02-21")
    assert not result.success
    said = failure_of(result)
    assert said.startswith("The rows are loaded but wrong, so no model is built and nothing published.")
    assert f"{BREAKDOWN}: 1 row breaks fees_add_up (spend_total - spend_media = fees, within 0.01.)" in said
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
    assert {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()} >= {
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
    definitions = build_definitions(settings_from(here.settings), lambda: None)  # not even a key is needed
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
        assert {e.asset_key.to_user_string() for e in found} == {BREAKDOWN, ENGAGEMENT, "published_database"}
        return {e.asset_key.to_user_string() for e in found if not e.passed}

    everything = {BREAKDOWN, ENGAGEMENT, "published_database"}
    assert red() == everything  # there is nothing at all
    old = yesterday - timedelta(days=40)
    assert here.refresh(str(old), str(old)).success
    assert red() == everything
    before_yesterday = [str(yesterday - timedelta(days=8)), str(yesterday)]
    assert here.refresh(*before_yesterday, asset_selection=[dg.AssetKey(BREAKDOWN)]).success
    assert red() == {ENGAGEMENT, "published_database"}
    assert here.refresh(*before_yesterday).success
    assert red() == set()


def test_a_delivery_that_breaks_a_rule_is_kept_apart_and_the_run_says_which_line(here: Project) -> None:
    bad = here.sim.world.campaigns[0]
    here.sim.faults.add(
        Fault("edit", export=BREAKDOWN, campaign=bad.uuid, edit=lambda body: body.replace(b'"US"', b'"us"', 1))
    )
    result = here.refresh("2026-01-10", "2026-01-12", asset_selection=[dg.AssetKey(BREAKDOWN)])
    assert not result.success
    description = failure_of(result)
    assert f"{BREAKDOWN} of campaign {bad.uuid}, 2026-01-10 to 2026-01-12: refused: line " in description
    assert 'country_code must be two capital letters (ISO 3166-1 alpha-2), got "us"' in description
    (refused,) = (here.data / "quarantine" / BREAKDOWN / bad.uuid).glob("*.ndjson")
    reason = refused.with_name(refused.name + ".reason.txt").read_text()
    assert reason.strip() in description
    assert str(refused.parent) in description
    assert b'"us"' in refused.read_bytes()
    place = EXPORTS[0].column_names.index("campaign_id")
    expected = truth(here.sim.world, EXPORTS[0], each_day("2026-01-10", "2026-01-12", NOW))
    assert here.table(EXPORTS[0]) == [row for row in expected if row[place] != bad.uuid]


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


def test_a_good_key_is_written_nowhere(here: Project) -> None:
    here.sim.faults.add(Fault("status", status=400, code="bad", message=f"what is {KEY}", export=ENGAGEMENT))
    assert not here.refresh("2026-01-10", "2026-01-12").success
    for path, content in here.texts():
        assert KEY.encode() not in content, path


def test_campaigns_fixed_by_a_setting_are_the_only_ones_asked(here: Project) -> None:
    only = here.sim.world.campaigns[1]
    here.settings["SOUNDLINK_CAMPAIGN_IDS"] = only.path_id
    assert here.refresh("2026-01-10", "2026-01-12").success
    assert sorted(record.kind for record in here.sim.stats.records) == ["breakdown_export", "engagement_export"]
    assert here.query("select distinct campaign_id from campaign_country_daily") == [(only.uuid,)]


def test_every_campaign_gone_is_a_run_without_rows(here: Project) -> None:
    here.sim.clock.set(utc("2025-12-01T06:00"))  # before any was created
    assert here.refresh("2026-01-10", "2026-01-11").success
    assert here.table(EXPORTS[0]) == []
    assert asked(here.sim) == []


def test_fields_the_contract_does_not_know_are_told_and_do_no_harm(here: Project) -> None:
    here.sim.faults.add(Fault("extra_field", export=BREAKDOWN, times=None, fields={"saves": 3}))
    result = here.refresh("2026-01-10", "2026-01-12", asset_selection=[dg.AssetKey(BREAKDOWN)])
    assert result.success
    assert here.table(EXPORTS[0]) == truth(here.sim.world, EXPORTS[0], each_day("2026-01-10", "2026-01-12", NOW))
    assert materialized(here, BREAKDOWN)["2026-01-12"]["unknown fields"] == "saves"
    warnings = [log.user_message for log in here.instance.all_logs(result.run_id) if log.level == 30]
    assert any("fields its contract does not know: saves." in text for text in warnings)


def test_the_warehouse_rebuilt_from_landed_files_is_the_one_that_was_lost(here: Project) -> None:
    for moment, start, end in (
        ("2026-02-01T06:00", "2026-01-25", "2026-01-31"),
        ("2026-02-02T06:00", "2026-01-25", "2026-02-01"),
        ("2026-02-04T06:00", "2026-01-27", "2026-02-03"),
    ):
        here.sim.clock.set(utc(moment))
        assert here.refresh(start, end).success
    before = here.everything()
    assert all(before[name] for name in before if name != "vanished_rows")
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


def test_a_range_longer_than_the_api_gives_is_asked_for_in_pieces(here: Project) -> None:
    here.sim.clock.set(utc("2026-05-20T06:00"))
    assert here.refresh("2026-01-01", "2026-04-10", asset_selection=[dg.AssetKey(BREAKDOWN)]).success
    queries = {query for _, query in asked(here.sim)}
    assert queries == {"startDate=2026-01-01&endDate=2026-03-31", "startDate=2026-04-01&endDate=2026-04-10"}
    days = each_day("2026-01-01", "2026-04-10", utc("2026-05-20T06:00"))
    assert here.table(EXPORTS[0]) == truth(here.sim.world, EXPORTS[0], days)


def test_a_run_for_a_single_day_begins_with_its_plan_too(here: Project) -> None:
    job = build_definitions(settings_from(here.settings), lambda: KEY).resolve_job_def(DAILY_REFRESH)
    result = job.execute_in_process(instance=here.instance, partition_key="2026-02-20", run_config=QUIET)
    assert result.success
    first = next(log.user_message for log in here.instance.all_logs(result.run_id) if not log.is_dagster_event)
    assert f" campaigns listed. Next, {BREAKDOWN} and {ENGAGEMENT}, 2026-02-20 to 2026-02-20: " in first
    assert f": {len(asked(here.sim))} requests for " in first
