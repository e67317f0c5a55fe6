"""Whole runs over real HTTP into real DuckDB files: what a range asks for; the tables hold what the API holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster_shared.check import CheckError

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.display.markdown import SHOWN_IN_A_DIALOG
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline.simulator import BREAKDOWN, ENGAGEMENT
from soundlink_pipeline.wording import in_words
from soundlink_pipeline_tests.orchestration.told import lines_of, materialized
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS
from soundlink_pipeline_tests.support.project import KEY, QUIET, Project, asked, day, each_day, failure_of, truth, utc

NOW = utc("2026-03-02T06:00")


def test_a_range_in_one_run_gives_the_tables_the_api_holds(here: Project) -> None:
    result = here.refresh("2026-01-03", "2026-01-22")
    assert result.success
    live = [c for c in here.sim.world.campaigns if c.created_at.date() <= day("2026-01-22")]
    assert 0 < len(live) < len(here.sim.world.campaigns)
    for export in CAMPAIGN_EXPORTS:
        expected = truth(here.sim.world, export, each_day("2026-01-03", "2026-01-22", NOW))
        assert here.table(export) == expected
        assert len(expected) > 200
    assert len(asked(here.sim)) == 2 * len(live)
    assert len(set(asked(here.sim))) == 2 * len(live)
    listed = here.sim.world.listing(NOW)
    kinds = [record.kind for record in here.sim.stats.records]
    assert len(kinds) == 2 * len(live) + 2 + len(listed)  # and the listings, and the details
    assert kinds[-len(listed) :] == ["campaign"] * len(listed), "details wait until the exports are there"
    assert here.query("select count(*) from campaigns") == [(len(listed),)]
    for export in CAMPAIGN_EXPORTS:
        partitions = materialized(here, export.name)
        assert list(partitions) == [str(d) for d, _ in each_day("2026-01-03", "2026-01-22", NOW)]
        totals = here.query(
            f"select report_date::varchar, count(*), {', '.join(f'sum({m})::double' for m in export.measures)}"
            f" from {export.name} group by 1 order by 1"
        )
        for name, rows, *sums in totals:
            assert partitions[name]["rows"] == partitions[name]["inserted"] == rows
            shown = [f"{measure}, USD" if measure in export.money else measure for measure in export.measures]
            assert [partitions[name][measure] for measure in shown] == [round(s, 2) for s in sums]
            assert partitions[name]["settled"] is True
            assert partitions[name]["settled share"] == 1
            assert partitions[name]["requests"] == len(live)
        last = partitions["2026-01-22"]
        delivered = sum(row[1] for row in totals)
        assert last["dagster/row_count"] == delivered
        figures = dict(line.strip("| ").split(" | ") for line in last["last run"].splitlines()[2:])
        assert figures["rows delivered"] == figures["inserted"] == str(delivered)
        assert figures["requests, all exports"] == str(2 * len(live))
        assert figures["days"] == "2026-01-03 to 2026-01-22"
        preview = last["newest rows"].splitlines()[2:]
        assert len(preview) == 5
        assert all("2026-01-22" in line for line in preview)
        assert last["last days"].startswith("![")
        # What matters comes first, and can be read without a click; what has a page of its own comes last.
        titles = [f"{title}, newest days" for name, title in export.charted.items() if name not in export.money]
        assert list(last)[: len(titles) + 2] == [*titles, "last run", "rows"]
        assert all(len(last[name]) < SHOWN_IN_A_DIALOG for name in (*titles, "last run"))
        assert list(last)[-2:] == ["last days", "newest rows"]
        # Every number is one of each day, so that the UI plots a line over the days and no lone dot.
        numbers = {name for name, value in last.items() if isinstance(value, int | float)}
        assert all(numbers <= partition.keys() for partition in partitions.values())
        assert numbers >= {"rows", "requests", "inserted", "updated", "unchanged", "settled share"}


@pytest.mark.parametrize(
    ("start", "end", "sentence"),
    [
        ("2026-01-20", "2026-01-10", "reversed"),
        ("2026-1-5", "2026-01-10", "YYYY-MM-DD"),
    ],
)
def test_a_range_that_makes_no_sense_costs_no_request(here: Project, start: str, end: str, sentence: str) -> None:
    _assert_refused(here, start, end, sentence)


def test_a_range_up_to_today_costs_no_request(here: Project) -> None:
    today = datetime.now(UTC).date()  # which day is still open is asked of the real clock
    _assert_refused(here, str(today - timedelta(days=7)), str(today), "has not closed yet")


def _assert_refused(here: Project, start: str, end: str, sentence: str) -> None:
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
    here.settings["SOUNDLINK_START_DATE"] = "2026-01-20"  # no day before it is made up for
    here.sim.clock.set(first)
    assert here.refresh("2026-01-20", "2026-01-31").success
    before = {export.name: here.table(export) for export in CAMPAIGN_EXPORTS}
    here.sim.clock.set(second)
    assert here.refresh("2026-01-24", "2026-02-02").success
    days = each_day("2026-01-20", "2026-01-23", first) + each_day("2026-01-24", "2026-02-02", second)
    for export in CAMPAIGN_EXPORTS:
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
        pages = materialized(here, export.name)
        assert sum(page["updated"] for page in pages.values()) == len(revised)
        assert sum(page["unchanged"] for page in pages.values()) > 0
        settled = [str(d) for d, _ in each_day("2026-01-20", "2026-01-26", second)]
        assert {name: page["settled share"] for name, page in pages.items() if page["settled share"]} == dict.fromkeys(
            settled, 1
        )
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
    assert "| rows delivered | 0 |" in materialized(here, BREAKDOWN)["2026-02-22"]["last run"]
    assert materialized(here, BREAKDOWN)["2026-02-21"]["requests"] == 0
    assert materialized(here, BREAKDOWN)["2026-02-22"]["settled"] is True
    assert lines_of(here, nothing)[0] == (
        f"{BREAKDOWN}, 2026-02-18 to 2026-02-22: 0 requests for {live} of {len(here.sim.world.campaigns)} campaigns."
        f" {live} requests skipped: already pulled and final (refetch: true in the run's config repeats them)"
    )

    # Missing on one end and unsettled on the other: from the first such day to the last, in one request.
    assert here.refresh("2026-02-20", "2026-02-27", **only).success
    assert len(asked(here.sim)) == live
    assert {query for _, query in asked(here.sim)} == {"startDate=2026-02-23&endDate=2026-02-27"}
    days = each_day("2026-02-18", "2026-02-22", NOW) + each_day("2026-02-23", "2026-02-27", utc("2026-03-03T06:00"))
    assert here.table(CAMPAIGN_EXPORTS[0]) == truth(here.sim.world, CAMPAIGN_EXPORTS[0], days)

    here.sim.stats.reset()
    refetch = {"ops": {"exports": {"config": {"refetch": True}}}}
    assert here.refresh("2026-02-18", "2026-02-22", run_config=refetch, **only).success
    assert {query for _, query in asked(here.sim)} == {"startDate=2026-02-18&endDate=2026-02-22"}
    assert len(asked(here.sim)) == live


def test_a_runs_plan_says_how_many_requests_it_takes_and_how_long_at_the_apis_limits(here: Project) -> None:
    here.settings |= {"SOUNDLINK_REQUESTS_PER_MINUTE": "60", "SOUNDLINK_REQUESTS_PER_HOUR": "61"}
    names, count = in_words([export.name for export in EXPORTS]), len(here.sim.world.campaigns)
    result = here.refresh("2026-02-20", "2026-02-21")
    requests, campaigns = len(asked(here.sim)), len({path.split("/")[3] for path, _ in asked(here.sim)})
    plan = f"{names}, 2026-02-20 to 2026-02-21: {requests} requests for {campaigns} of {count} campaigns"
    assert lines_of(here, result)[:3] == [f"{count} campaigns listed", "0 soundlinks listed", plan]

    made = len(here.sim.stats.records)
    here.settings["SOUNDLINK_REQUESTS_PER_HOUR"] = str(made + 1)  # the next listing, and nothing left
    refused = here.refresh("2026-02-26", "2026-02-27", asset_selection=[dg.AssetKey("campaigns")])
    assert lines_of(here, refused) == [f"{count} campaigns listed"]  # which asks for no export
    assert here.query(f"select count(*) from campaigns where _run_id = '{refused.run_id}'") == [(count,)]
    with here.soundlink.connect(lambda _: None) as (_, pacer):
        assert pacer.left_this_hour() == 0


def test_days_before_the_earliest_campaign_are_a_success_without_rows_and_requests(here: Project) -> None:
    earliest = min(campaign.created_at for campaign in here.sim.world.campaigns).date()
    first = str(earliest - timedelta(days=40))
    here.settings["SOUNDLINK_START_DATE"] = first
    assert here.refresh(first, str(earliest - timedelta(days=35))).success
    assert asked(here.sim) == []
    for export in CAMPAIGN_EXPORTS:
        assert here.table(export) == []
        assert materialized(here, export.name)[first]["rows"] == 0
    here.sim.stats.reset()
    assert here.refresh(first, str(earliest + timedelta(days=3))).success
    assert asked(here.sim) != []


def test_campaigns_fixed_by_a_setting_are_the_only_ones_asked(here: Project) -> None:
    only = here.sim.world.campaigns[1]
    here.settings["SOUNDLINK_CAMPAIGN_IDS"] = only.path_id
    here.settings["SOUNDLINK_START_DATE"] = "2026-01-05"
    result = here.refresh("2026-01-10", "2026-01-12")
    assert result.success
    # Nothing lists it: a ping tells the server's time, and the first run asks when it was created, and for its details.
    requests = ["breakdown_export", "engagement_export", "ping", "soundlinks"]
    assert sorted(record.kind for record in here.sim.stats.records) == sorted([*requests, "campaign", "campaign"])
    days = (utc("2026-01-05").date() - only.created_at.date()).days
    assert days > 0
    assert [line for line in lines_of(here, result) if "left out" in line] == [
        f"the earliest campaign was created on {only.created_at.date()}; the {days} days from then to"
        " SOUNDLINK_START_DATE (2026-01-05) are left out"
    ]
    assert here.query("select distinct campaign_id from campaign_country_daily") == [(only.uuid,)]
    here.sim.stats.reset()
    assert here.refresh("2026-01-13", "2026-01-14").success
    assert sorted(record.kind for record in here.sim.stats.records) == requests


def test_every_campaign_gone_is_a_run_without_rows(here: Project) -> None:
    here.sim.clock.set(utc("2025-12-01T06:00"))  # before any was created
    assert here.refresh("2026-01-10", "2026-01-11").success
    assert here.table(CAMPAIGN_EXPORTS[0]) == []
    assert asked(here.sim) == []


def test_a_range_longer_than_the_api_gives_is_asked_for_in_pieces(here: Project) -> None:
    here.sim.clock.set(utc("2026-05-20T06:00"))
    assert here.refresh("2026-01-01", "2026-04-10", asset_selection=[dg.AssetKey(BREAKDOWN)]).success
    queries = {query for _, query in asked(here.sim)}
    assert queries == {"startDate=2026-01-01&endDate=2026-03-31", "startDate=2026-04-01&endDate=2026-04-10"}
    days = each_day("2026-01-01", "2026-04-10", utc("2026-05-20T06:00"))
    assert here.table(CAMPAIGN_EXPORTS[0]) == truth(here.sim.world, CAMPAIGN_EXPORTS[0], days)


def test_a_run_for_a_single_day_begins_with_its_plan_too(here: Project) -> None:
    job = build_definitions(settings_from(here.settings), lambda _: KEY).resolve_job_def(DAILY_REFRESH)
    result = job.execute_in_process(instance=here.instance, partition_key="2026-02-20", run_config=QUIET)
    assert result.success
    listed, _, planned = lines_of(here, result)[:3]
    assert listed == f"{len(here.sim.world.campaigns)} campaigns listed"
    names = in_words([export.name for export in EXPORTS])
    assert planned.startswith(f"{names}, 2026-02-20 to 2026-02-20: ")
    assert f": {len(asked(here.sim))} requests for " in planned
