"""Whole runs, over real HTTP into real DuckDB files: the tables hold what the API holds, or the run says why not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_shared.check import CheckError

from soundlink_pipeline.exports import EXPORTS
from soundlink_pipeline.jobs import DAILY_REFRESH
from soundlink_pipeline.simulator import BREAKDOWN, ENGAGEMENT, Fault
from soundlink_pipeline_tests.project import (
    KEY,
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
        assert last["requests of the step"] == 2 * len(live)
        assert last["range"] == "2026-01-03 to 2026-01-22"
        assert export.primary_key[0] in last["newest rows"]
        assert last["last days"].startswith("![")


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
    failed = here.refresh("2026-01-10", "2026-01-14")
    assert not failed.success
    description = failure_of(failed)
    assert f"{BREAKDOWN} of campaign {bad.path_id}, 2026-01-10 to 2026-01-14: " in description
    assert "code access_denied" in description
    assert re.search(r"requestId [0-9a-f-]{36}", description)
    # The other export does not wait for this one: it has been pulled.
    pulls = len(asked(here.sim))
    assert description.startswith(f"1 of {pulls} pulls failed; the other {pulls - 1} are loaded.")
    materialized = {event.asset_key.to_user_string() for event in failed.get_asset_materialization_events()}
    assert materialized == {"campaigns", ENGAGEMENT}
    (breakdown, engagement) = EXPORTS
    days = each_day("2026-01-10", "2026-01-14", NOW)
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


def test_re_executing_a_run_as_a_whole_asks_for_everything_anew(here: Project) -> None:
    first = here.refresh("2026-02-20", "2026-02-21", asset_selection=[dg.AssetKey(BREAKDOWN)])
    here.sim.clock.set(utc("2026-03-05T06:00"))
    before = len(asked(here.sim))
    parent = {"dagster/parent_run_id": first.run_id, "dagster/root_run_id": first.run_id}
    assert here.refresh("2026-02-20", "2026-02-21", tags=parent, asset_selection=[dg.AssetKey(BREAKDOWN)]).success
    assert len(asked(here.sim)) == 2 * before
    days = each_day("2026-02-20", "2026-02-21", utc("2026-03-05T06:00"))
    assert here.table(EXPORTS[0]) == truth(here.sim.world, EXPORTS[0], days)


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
    assert [record.kind for record in here.sim.stats.records] == ["breakdown_export", "engagement_export"]
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
