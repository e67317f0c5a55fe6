"""Staging, and what holds of all SQL models: types, descriptions, refreshes, and tests that find wrong numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

import duckdb
import pytest
import yaml

from soundlink_pipeline.contracts.campaign_exports import ATTRIBUTION
from soundlink_pipeline.contracts.campaign_exports import LISTENING as LISTENING_TAIL
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import SETTLED_AFTER_DAYS, DateRange
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.soundlink_exports import WHILE_PLAYED
from soundlink_pipeline.contracts.subject import ExpectedDays, expected_days
from soundlink_pipeline.models.build import run_tests
from soundlink_pipeline.models.project import SqlProject
from soundlink_pipeline.warehouse import tables
from soundlink_pipeline.warehouse.accounts import EXPECTED_ACCOUNTS
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.marts.shared import (
    COUNTRY,
    ENGAGEMENT,
    FOLDER,
    LISTENING,
    OTHER,
    PAGE,
    PROVISIONAL,
    RUNNING,
    SETTLED,
    Marts,
    playlist,
)
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS

# Staging


STATUSES = [
    "active",
    "ended",
    "stopped",
    "completed",
    "failed",
    "restart_failed",
    "renew_failed",
    "creating",
    "new",
    None,
]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("created", ["2026-01-10T12:00:00Z", None])
@pytest.mark.parametrize("updated", ["2026-02-01T00:00:00Z", "2026-02-20T23:00:00Z", None])
@pytest.mark.parametrize("duration", [30, 0, None])
def test_days_on_which_the_models_expect_rows_of_a_campaign_are_those_it_is_asked_for(
    rule: duckdb.DuckDBPyConnection, status: str | None, created: str | None, updated: str | None, duration: int | None
) -> None:
    listed = {"status": status, "createdAt": created, "updatedAt": updated, "campaignDuration": duration}
    rule.execute("delete from campaigns")
    rule.execute(
        "insert into campaigns (account, campaign_id, status, created_at, updated_at, campaign_duration)"
        " values ('default', ?, ?, ?, ?, ?)",
        ["c1", status, created and created[:-1], updated and updated[:-1], duration],
    )
    first, *lasts = rule.execute(
        "select may_have_rows_from, country_rows_until, may_have_rows_until from days"
    ).fetchall()[0]
    assert [ExpectedDays(first, last) for last in lasts] == [
        expected_days(CAMPAIGN.lifetime(listed), export.tail) for export in CAMPAIGN_EXPORTS
    ]


def test_days_in_the_sql_folder_are_those_of_the_contracts(project: SqlProject) -> None:
    assert project.variables["attribution_days"] == ATTRIBUTION.days
    assert project.variables["engagement_tail_days"] == LISTENING_TAIL.days
    assert project.variables["engagement_after_rows_days"] == LISTENING_TAIL.after_rows
    assert ATTRIBUTION.after_rows == 0
    assert project.variables["soundlink_first_days"] == WHILE_PLAYED.days
    assert project.variables["soundlink_after_rows_days"] == WHILE_PLAYED.after_rows
    assert project.variables["settled_after_days"] == SETTLED_AFTER_DAYS
    texts = [path.read_text(encoding="utf-8") for path in (FOLDER / "models").rglob("*.yml")]
    told = {days for text in texts for days in re.findall(r"report_date \+ (\d+) days", text)}
    assert told == {str(SETTLED_AFTER_DAYS)}


@pytest.fixture(scope="module")
def rule(project: SqlProject) -> Iterator[duckdb.DuckDBPyConnection]:
    """The view `days`: stg_campaigns over an empty table."""
    connection = duckdb.connect(":memory:")
    for table in (tables.listing_table(CAMPAIGN), EXPECTED_ACCOUNTS):
        connection.execute(tables.create(table))
    connection.execute(f"create view days as {project.render(project.models['stg_campaigns'], incremental=False)}")
    yield connection
    connection.close()


def test_status_of_a_day_goes_by_the_id_in_the_rows(marts: Marts) -> None:
    marts.pulled(COUNTRY, "2026-03-01", path="alias-c1", at=PROVISIONAL)
    marts.pulled(COUNTRY, "2026-03-01", path="c1")
    marts.pulled(COUNTRY, "2026-03-01", path="empty", rows=0, at=PROVISIONAL)
    marts.build()
    columns = "subject_id, last_pulled_at, deliveries, is_settled"
    assert marts.rows("staging.stg_report_date_status", columns) == [
        ("c1", f"{SETTLED}:00", 2, True),
        ("empty", f"{PROVISIONAL}:00", 1, False),
    ]


def test_staging_has_every_column_of_the_exports_and_every_version_of_a_row(marts: Marts) -> None:
    marts.build()
    for export in EXPORTS:
        for name in (export.name, f"{export.name}_history"):
            found = {n for n, *_ in marts.connection.execute(f"describe staging.stg_{name}").fetchall()}
            assert set(export.column_names) | {"_pulled_at", "_valid_from", "_delivery_id"} <= found


# All models


def test_every_column_is_described_in_its_place_and_every_description_tells_the_grain(marts: Marts) -> None:
    marts.build()
    described = {}
    for path in (FOLDER / "models").rglob("_*.yml"):
        for model in yaml.safe_load(path.read_text()).get("models", []):
            assert "One row per " in model["description"].rstrip(".").rpartition(". ")[2], model["name"]
            assert all(column["description"].endswith(".") for column in model["columns"]), model["name"]
            described[model["name"]] = [column["name"] for column in model["columns"]]
    for model in marts.project.models.values():
        found = [name for name, *_ in marts.connection.execute(f"describe {model.table}").fetchall()]
        assert described.pop(model.name) == found, model.name
    assert described == {}


def test_sums_keep_the_types_of_the_exports(marts: Marts) -> None:
    marts.build()
    found = marts.connection.execute(
        "select distinct data_type from duckdb_columns() where schema_name = 'marts' and not internal"
    ).fetchall()
    allowed = {"VARCHAR", "DATE", "TIMESTAMP", "BOOLEAN", "BIGINT", "INTEGER", "DOUBLE", "DECIMAL(18,6)"}
    assert {kind for (kind,) in found} <= allowed


def test_refresh_of_days_replaces_them_and_touches_no_other(marts: Marts) -> None:
    for day in ("2026-03-01", "2026-03-02"):
        marts.country(day, spend_total=10)
        marts.engagement(day, new=(1, 1))
        marts.page(day, views=10)
        marts.soundlink_engagement(day, new=(1, 1))
        for export in EXPORTS:
            marts.pulled(export.name, day)
    marts.build()
    before = marts.everything()
    for table in (COUNTRY, ENGAGEMENT, PAGE, LISTENING):
        marts.connection.execute(f"update {table} set streams = 7")
    # A row that is no more: its key in country_daily holds the currency.
    marts.connection.execute(f"update {COUNTRY} set currency = 'EUR' where report_date = '2026-03-02'")
    marts.build(DateRange(date(2026, 3, 2), date(2026, 3, 2)))
    columns = "report_date, currency, streams"
    assert marts.rows("marts.country_daily", columns) == [("2026-03-01", "USD", 0), ("2026-03-02", "EUR", 7)]
    assert marts.rows("marts.soundlink_daily", "streams") == [(0,), (7,)]
    assert marts.rows("marts.soundlink_track_daily", "streams") == [(1,), (7,)]
    daily = ("campaign_daily", "country_daily", "track_engagement_daily", "soundlink_daily", "soundlink_track_daily")
    for name in (*daily, "new_listeners_country_daily", "data_status"):
        days = marts.connection.execute(f"from marts.{name} where report_date = '2026-03-01' order by all").fetchall()
        assert days == [line for line in before[f"marts.{name}"] if date(2026, 3, 1) in line]
    marts.build(DateRange(date(2026, 3, 1), date(2026, 3, 2)))
    by_days = marts.everything()
    marts.connection.execute("drop schema marts cascade")
    marts.build()
    assert marts.everything() == by_days


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("update marts.campaign_daily set spend_media = spend_media + 0.01", "campaign_daily_reconciles"),
        ("update marts.campaign_daily set fees = fees + 1", "fees_are_what_is_not_media"),
        ("update marts.campaign_daily set link_clicks_with_impressions = 1", "campaign_daily_reconciles"),
        ("update marts.country_daily set spend_media_with_link_clicks = 1", "country_daily_reconciles"),
        ("update marts.campaign_summary set engagement_streams = null", "campaign_summary_is_the_sum_of_days"),
        ("delete from marts.country_daily where country_code = 'DE'", "country_daily_reconciles"),
        ("update marts.country_daily set spend_share = spend_share / 2", "country_shares_sum_to_one"),
        ("update marts.track_engagement_daily set streams = streams + 1", "track_engagement_daily_reconciles"),
        ("update marts.track_engagement_daily set listeners = 0", "listeners_are_new_or_returning"),
        ("delete from marts.data_status", "rows_have_a_data_status"),
        ("update marts.campaign_summary set spend_total = 0", "campaign_summary_is_the_sum_of_days"),
        ("delete from marts.campaign_summary", "campaign_summary_is_the_sum_of_days"),
        ("update marts.country_summary set streams = streams + 1", "country_summary_is_the_sum_of_days"),
        ("update marts.track_engagement_summary set days = 3", "track_engagement_summary_is_the_sum_of_days"),
        ("update marts.soundlink_daily set views = views + 1", "soundlink_daily_reconciles"),
        ("update marts.soundlink_daily set views_with_link_clicks = 1", "soundlink_daily_reconciles"),
        ("update marts.soundlink_summary set listener_days = 0", "soundlink_summary_is_the_sum_of_days"),
        ("update marts.soundlink_summary set engagement_streams = 0", "soundlink_summary_is_the_sum_of_days"),
        ("delete from marts.soundlink_summary", "soundlink_summary_is_the_sum_of_days"),
        ("update marts.soundlink_track_daily set streams = streams + 1", "soundlink_track_daily_reconciles"),
        ("update marts.soundlink_track_daily set listeners = 0", "listeners_are_new_or_returning"),
        ("update marts.soundlink_track_summary set streams = 0", "soundlink_track_summary_is_the_sum_of_days"),
        ("delete from marts.catalog_spillover", "catalog_spillover_is_the_sum_of_days"),
        ("update marts.playlist_position_performance set streams = 0", "playlist_bands_are_the_sum_of_days"),
        ("update marts.campaign_weekly set week_start_date = '2026-02-22'", "campaign_weekly_is_the_sum_of_days"),
        ("update marts.country_weekly set spend_total = 0", "country_weekly_is_the_sum_of_days"),
        ("update marts.campaign_pacing set spend_total_to_date = 0", "campaign_pacing_is_the_sum_of_days"),
        ("delete from marts.campaign_pacing", "campaign_pacing_is_the_sum_of_days"),
        ("update marts.new_listeners_country_daily set new_listeners = 0", "new_listeners_country_daily_reconciles"),
        ("update marts.cohort set returning_listener_days = 1", "cohort_is_the_sum_of_days"),
        ("update marts.costs set spend_media_7d = 0", "costs_are_of_seven_days"),
        ("update marts.country_daily set spend_total_with_link_clicks = 1", "country_daily_reconciles"),
    ],
)
def test_wrong_number_is_found_by_a_test(damaged: Marts, damage: str, found: str) -> None:
    damaged.connection.execute("begin")
    damaged.connection.execute(damage)
    failing = damaged.failing(singular=True)
    damaged.connection.execute("rollback")
    assert found in failing


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory, project: SqlProject) -> Iterator[Marts]:
    """A warehouse of its own in which no test finds anything yet."""
    with NativeFile(tmp_path_factory.mktemp("damaged")).write() as connection:
        marts = Marts(connection, project)
        for export in EXPORTS:
            marts.pulled(export.name, "2026-03-01")
        ((delivery,), *_) = marts.rows("deliveries", "delivery_id")
        for country in ("US", "DE"):
            money: dict[str, Any] = {"spend_media": 8, "spend_total": 10, "fees": 2}
            marts.country("2026-03-01", country, streams=3, listeners=1, **money, _delivery_id=delivery)
            marts.engagement("2026-03-01", country=country, new=(1, 2), _delivery_id=delivery)
            playing = playlist(3, campaign_id="c2", _delivery_id=delivery)
            marts.engagement("2026-03-01", OTHER, country, new=(1, 2), **playing)
            marts.page("2026-03-01", country, views=10, link_clicks=4, listeners=1, streams=3, _delivery_id=delivery)
            marts.soundlink_engagement("2026-03-01", country=country, new=(1, 2), _delivery_id=delivery)
        marts.build()
        assert marts.failing() == []
        yield marts


def test_status_that_the_api_has_never_announced_is_a_warning(marts: Marts) -> None:
    marts.listed("c0", status=None)
    # What it lists today, and what it listed of older campaigns.
    today = (
        "creating active inactive ended renewing restarting restart_failed renew_awaiting_charge renew_failed stopped"
    )
    for status in (*today.split(), "paused", "completed", "failed"):
        marts.listed(f"c-{status}", status=status)
    model = marts.project.models["stg_campaigns"]
    marts.build()
    assert [item.test.name for item in run_tests(marts.connection, marts.project, model) if not item.passed] == []
    marts.listed("c1", status="exploded")
    assert [item.test.name for item in run_tests(marts.connection, marts.project, model) if not item.passed] == [
        "accepted_values_status"
    ]


def test_campaign_that_was_not_pulled_is_a_warning(marts: Marts) -> None:
    marts.listed("c1", **RUNNING)
    marts.listed("c2", **RUNNING)
    marts.pulled(COUNTRY, "2026-03-01")
    marts.build()
    assert marts.failing() == ["every_expected_campaign_was_pulled"]
    (severity,) = (t.severity for t in marts.project.tests if t.name == "every_expected_campaign_was_pulled")
    assert severity == "warn"
