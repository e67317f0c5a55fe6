"""The SQL models: for each mart a few rows and the numbers that follow from them, to be checked by hand.

Rows are put straight into the tables of a real warehouse, so each test shows all that its numbers are made of.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soundlink_pipeline.campaigns import CAMPAIGN_COLUMNS, may_have_rows
from soundlink_pipeline.exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY, EXPORTS
from soundlink_pipeline.partitions import DateRange
from soundlink_pipeline.sql_models import ask_tests, build_models
from soundlink_pipeline.sql_project import SqlProject, read_project
from soundlink_pipeline.warehouse import Warehouse
from soundlink_pipeline_tests.deliveries import row

FOLDER = Path(__file__).parents[1] / "dbt_like_sql"
COUNTRY, ENGAGEMENT = CAMPAIGN_COUNTRY_DAILY.name, CAMPAIGN_ENGAGEMENT_DAILY.name
SETTLED, PROVISIONAL = "2026-05-01 07:00", "2026-03-05 07:00"
PROMOTED, OTHER = "promoted-track", "other-track"
_OWN = {"_pulled_at": SETTLED, "_valid_from": SETTLED, "_delivery_id": "d0"}
_NOTHING = dict.fromkeys(("bytes", "inserted", "updated", "unchanged", "ignored_as_older"), 0)
_numbers = itertools.count(1)
Rows = list[tuple[Any, ...]]


class Marts:
    """A warehouse to put rows into, and its models."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, project: SqlProject) -> None:
        self.connection, self.project = connection, project

    def put(self, table: str, values: dict[str, Any]) -> None:
        marks = ", ".join("?" * len(values))
        self.connection.execute(f"insert into {table} ({', '.join(values)}) values ({marks})", list(values.values()))

    def country(self, day: str, country: str = "US", *, table: str = COUNTRY, **changes: Any) -> None:
        """A row of campaign c1; counts and money are 0 unless given."""
        zero = dict.fromkeys(("impressions", "ad_clicks", "link_clicks", "streams", "listeners", "followers"), 0)
        money = dict.fromkeys(("spend_media", "spend_total", "fees"), 0)
        names = {"account_id": "a1", "campaign_id": "c1", "campaign_name": "One"}
        changes = zero | money | names | changes
        self.put(table, row(CAMPAIGN_COUNTRY_DAILY) | {"report_date": day, "country_code": country} | _OWN | changes)

    def engagement(self, day: str, track: str = PROMOTED, country: str = "US", **changes: Any) -> None:
        """A row of track campaign c1, made of `new` and `returning`: each a pair of listeners and streams."""
        (new, new_streams), (back, back_streams) = changes.pop("new", (0, 0)), changes.pop("returning", (0, 0))
        counts = {"new_listeners": new, "returning_listeners": back, "listeners": new + back}
        streams = {"new_listener_streams": new_streams, "returning_listener_streams": back_streams}
        streams["streams"] = new_streams + back_streams
        keys = {"report_date": day, "country_code": country, "engaged_spotify_track_id": track}
        names = {"account_id": "a1", "campaign_id": "c1", "campaign_name": "One", "status": "active"}
        target = {"campaign_target_type": "track", "campaign_target_spotify_track_id": PROMOTED}
        values = row(CAMPAIGN_ENGAGEMENT_DAILY) | keys | names | target | counts | streams | _OWN | changes
        self.put(ENGAGEMENT, values)

    def pulled(
        self, export: str, start: str, end: str | None = None, at: str = SETTLED, path: str = "c1", rows: int = 1
    ) -> None:
        """A delivery in the ledger. One without rows names no campaign of its own."""
        moments = dict.fromkeys(("requested_at", "received_at", "server_date", "pulled_at"), at)
        number = next(_numbers)
        asked = {"campaign_id": path, "start_date": start, "end_date": end or start}
        kept = {"sha256": "", "unknown_fields": [], "run_id": "r", "landed_file": "", "load_order": number}
        self.put(
            "deliveries",
            {"delivery_id": f"{at} {number:09}", "export": export, "rows": rows}
            | asked
            | moments
            | _NOTHING
            | kept
            | {"row_campaign_id": path.removeprefix("alias-") if rows else None},
        )

    def listed(self, campaign: str, listed_at: str = "2026-05-01", **changes: Any) -> None:
        self.put("campaigns", {"campaign_id": campaign, "_listed_at": listed_at, "_listed_json": "{}"} | changes)

    def build(self, dates: DateRange | None = None) -> None:
        build_models(self.connection, self.project, dates)

    def rows(self, table: str, columns: str, where: str = "true") -> Rows:
        """Rows in the order of the columns asked for; dates as text."""
        found = self.connection.execute(f"select {columns} from {table} where {where} order by all").fetchall()
        return [tuple(str(v) if isinstance(v, date) else v for v in line) for line in found]

    def everything(self) -> dict[str, Rows]:
        """Every mart, all rows."""
        marts = [model.table for model in self.project.models.values() if model.schema == "marts"]
        return {table: self.connection.execute(f"from {table} order by all").fetchall() for table in marts}

    def failing(self, *, singular: bool = False) -> list[str]:
        """The tests that find bad rows; `singular`: of those in dbt_like_sql/tests only."""
        models = self.project.models.values()
        found = [item for model in models for item in ask_tests(self.connection, self.project, model)]
        return [item.test.name for item in found if not item.passed and (item.test.singular or not singular)]

    def clear(self) -> None:
        for table in (COUNTRY, ENGAGEMENT, f"{COUNTRY}_history", f"{ENGAGEMENT}_history", "deliveries", "campaigns"):
            self.connection.execute(f"delete from {table}")


@pytest.fixture(scope="module")
def project() -> SqlProject:
    project = read_project(FOLDER)
    assert project.problems == {}
    return project


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, project: SqlProject) -> Iterator[Marts]:
    with Warehouse(tmp_path_factory.mktemp("marts")).write() as connection:
        yield Marts(connection, project)


@pytest.fixture
def marts(warehouse: Marts) -> Marts:
    """A warehouse without a row; every build without dates is in full."""
    warehouse.clear()
    return warehouse


def one(marts: Marts, table: str, columns: str, where: str = "true") -> tuple[Any, ...]:
    (found,) = marts.rows(table, columns, where)
    return found


# campaign_daily


def test_campaign_day_sums_its_countries_and_divides_the_sums(marts: Marts) -> None:
    counts = {"impressions": 1000, "ad_clicks": 40, "link_clicks": 20, "streams": 30, "listeners": 10, "followers": 4}
    marts.country("2026-03-01", "US", **counts, spend_media=8, spend_total=10, fees=2)
    counts = {"impressions": 3000, "ad_clicks": 60, "link_clicks": 30, "streams": 30, "listeners": 30, "followers": 1}
    marts.country("2026-03-01", "NA", **counts, spend_media=12, spend_total=15, fees=3)
    marts.build()
    table = "marts.campaign_daily"
    sums = "countries, impressions, ad_clicks, link_clicks, streams, listeners, followers"
    assert one(marts, table, sums) == (2, 4000, 100, 50, 60, 40, 5)
    assert one(marts, table, "spend_media, spend_total, fees") == (Decimal(20), Decimal(25), Decimal(5))
    ratios = "streams_per_listener, cpl, cpf, cpc_linkclick, ctr_linkclick, ctr_adclick"
    assert one(marts, table, ratios) == (1.5, 0.5, 4, 0.4, 0.0125, 0.025)


def test_ratio_with_nothing_to_divide_by_is_what_the_export_says(marts: Marts) -> None:
    marts.country("2026-03-01", spend_media=8)
    marts.country("2026-03-02", impressions=None, ad_clicks=None, link_clicks=None, spend_media=8)
    marts.build()
    assert marts.rows("marts.campaign_daily", "report_date, streams_per_listener, cpl, cpf") == [
        ("2026-03-01", 0, 0, 0),
        ("2026-03-02", 0, 0, 0),
    ]
    columns = "report_date, impressions, link_clicks, cpc_linkclick, ctr_linkclick, ctr_adclick"
    assert marts.rows("marts.campaign_daily", columns) == [
        ("2026-03-01", 0, 0, None, None, None),
        ("2026-03-02", None, None, None, None, None),
    ]


def test_counts_that_are_null_in_one_country_are_those_of_the_others(marts: Marts) -> None:
    marts.country("2026-03-01", "US", impressions=100, link_clicks=None)
    marts.country("2026-03-01", "DE", impressions=None, link_clicks=5)
    marts.build()
    assert one(marts, "marts.campaign_daily", "impressions, link_clicks") == (100, 5)


def test_name_of_a_campaign_day_is_the_newest_rows(marts: Marts) -> None:
    marts.country("2026-03-01", "US", campaign_name="Zebra", exported_at="2026-03-02 03:00")
    marts.country("2026-03-01", "DE", campaign_name="Ape", exported_at="2026-03-03 03:00")
    marts.build()
    assert one(marts, "marts.campaign_daily", "campaign_name, exported_at") == ("Ape", "2026-03-03 03:00:00")


def test_campaign_day_is_settled_by_a_pull_of_its_own_export_under_any_id(marts: Marts) -> None:
    for day in (1, 2, 3):
        marts.country(f"2026-03-0{day}")
    marts.pulled(COUNTRY, "2026-03-01", at="2026-03-09 00:00", path="alias-c1")
    marts.pulled(COUNTRY, "2026-03-02", at="2026-03-09 00:00")
    marts.pulled(ENGAGEMENT, "2026-03-01", "2026-03-03")
    marts.build()
    assert marts.rows("marts.campaign_daily", "report_date, is_settled") == [
        ("2026-03-01", True),
        ("2026-03-02", False),
        ("2026-03-03", False),
    ]


# country_daily


def test_country_day_has_its_share_and_place_within_its_currency(marts: Marts) -> None:
    marts.country("2026-03-01", "US", spend_total=30, listeners=10, campaign_id="c1")
    marts.country("2026-03-01", "US", spend_total=30, listeners=10, campaign_id="c2")
    marts.country("2026-03-01", "DE", spend_total=20, listeners=10, campaign_id="c1")
    marts.country("2026-03-01", "FR", spend_total=20, listeners=50, campaign_id="c1")
    marts.country("2026-03-01", "US", spend_total=7, listeners=0, campaign_id="c3", currency="EUR")
    marts.country("2026-03-02", "DE", spend_total=1, listeners=1, campaign_id="c1")
    marts.build()
    columns = "currency, country_code, campaigns, spend_share, spend_rank, listener_share, listener_rank"
    assert marts.rows("marts.country_daily", columns, "report_date = '2026-03-01'") == [
        ("EUR", "US", 1, 1, 1, None, 1),
        ("USD", "DE", 1, 0.2, 2, 0.125, 3),
        ("USD", "FR", 1, 0.2, 2, 0.625, 1),
        ("USD", "US", 2, 0.6, 1, 0.25, 2),
    ]
    assert one(marts, "marts.country_daily", "spend_share, spend_rank", "report_date = '2026-03-02'") == (1, 1)


def test_country_day_is_settled_when_every_campaign_in_it_is(marts: Marts) -> None:
    for country, campaign in (("US", "c1"), ("US", "c2"), ("DE", "c1")):
        marts.country("2026-03-01", country, campaign_id=campaign)
    marts.pulled(COUNTRY, "2026-03-01", path="c1")
    marts.pulled(COUNTRY, "2026-03-01", path="c2", at=PROVISIONAL)
    marts.build()
    assert marts.rows("marts.country_daily", "country_code, is_settled") == [("DE", True), ("US", False)]


# track_engagement_daily


def test_track_day_sums_its_countries_and_knows_the_promoted_track(marts: Marts) -> None:
    marts.engagement("2026-03-01", PROMOTED, "US", new=(4, 6), returning=(1, 3))
    marts.engagement("2026-03-01", PROMOTED, "DE", new=(2, 3), returning=(1, 4))
    marts.engagement("2026-03-01", OTHER, "US", new=(1, 1))
    marts.build()
    columns = "engaged_spotify_track_id, is_promoted_track, countries, new_listeners, returning_listeners, listeners"
    assert marts.rows("marts.track_engagement_daily", columns) == [
        (OTHER, False, 1, 1, 0, 1),
        (PROMOTED, True, 2, 6, 2, 8),
    ]
    columns = "engaged_spotify_track_id, new_listener_streams, returning_listener_streams, streams, spl"
    assert marts.rows("marts.track_engagement_daily", columns) == [(OTHER, 1, 0, 1, 1), (PROMOTED, 9, 7, 16, 2)]


def playlist(position: int | None, **changes: Any) -> dict[str, Any]:
    target = {"campaign_target_type": "playlist", "campaign_target_spotify_track_id": None}
    place = {"campaign_target_playlist_id": "p1", "engagement_context": "playlist", "playlist_position": position}
    return target | place | changes


def test_playlist_campaign_promotes_no_track_and_the_highest_place_counts(marts: Marts) -> None:
    for country, position in (("US", 7), ("DE", 5), ("FR", None)):
        marts.engagement("2026-03-01", PROMOTED, country, **playlist(position))
    marts.build()
    columns = "campaign_target_playlist_id, playlist_position, is_promoted_track, spl"
    assert one(marts, "marts.track_engagement_daily", columns) == ("p1", 5, False, 0)


# data_status

RUNNING = {"status": "active", "created_at": "2026-01-01"}
STATUS = "campaigns_expected, campaigns_pulled, is_complete, is_settled"


def test_day_is_complete_when_every_listed_campaign_was_pulled(marts: Marts) -> None:
    marts.listed("alias-c1", **RUNNING)
    marts.listed("c2", **RUNNING)
    marts.listed("c3", **RUNNING | {"created_at": "2026-03-02 23:00"})
    marts.listed("gone", listed_at="2026-04-30", **RUNNING)
    marts.pulled(COUNTRY, "2026-03-01", "2026-03-02", path="alias-c1")
    marts.pulled(COUNTRY, "2026-03-01", "2026-03-02", path="c2", rows=0)
    marts.build()
    assert marts.rows("marts.data_status", f"report_date, {STATUS}") == [
        ("2026-03-01", 2, 2, True, True),
        ("2026-03-02", 3, 2, False, False),
    ]


def test_day_after_a_campaigns_tail_needs_no_further_pull(marts: Marts) -> None:
    # Ended on March 1; 30 days of engagement and 8 of revisions later it is April 8.
    ended = {"status": "ended", "created_at": "2026-02-01", "updated_at": "2026-03-01", "campaign_duration": 10}
    marts.listed("c1", **ended)
    marts.listed("c2", **RUNNING)
    for campaign, at in (("c1", "2026-04-10"), ("c2", SETTLED)):
        marts.pulled(ENGAGEMENT, "2026-04-08", "2026-04-09", path=campaign, at=at)
    marts.build()
    assert marts.rows("marts.data_status", f"report_date, {STATUS}") == [
        ("2026-04-08", 2, 2, True, False),
        ("2026-04-09", 1, 2, True, True),
    ]


def test_day_is_told_with_its_rows_and_with_what_was_revised_and_what_vanished(marts: Marts) -> None:
    first, second = "2026-03-02 07:00", "2026-03-03 07:00"
    marts.pulled(COUNTRY, "2026-03-01", at=first)
    marts.pulled(COUNTRY, "2026-03-01", at=second)
    old, new = (identity for (identity,) in marts.rows("deliveries", "delivery_id"))
    marts.country("2026-03-01", "US", _delivery_id=new)
    marts.country("2026-03-01", "DE", _delivery_id=new)
    marts.country("2026-03-01", "FR", _delivery_id=old)
    for country, until in (("US", first), ("US", second), ("DE", second)):
        versions = {"_valid_until": until, "_delivery_id": until}
        marts.country("2026-03-01", country, table=f"{COUNTRY}_history", **versions)
    marts.build()
    columns = "export, rows, revised_keys, vanished_keys, last_pulled_at"
    assert one(marts, "marts.data_status", columns) == (COUNTRY, 3, 2, 1, "2026-03-03 07:00:00")
    assert one(marts, "marts.data_status", STATUS) == (0, 1, True, False)


# campaign_summary


def test_campaign_is_told_in_total_and_for_settled_days(marts: Marts) -> None:
    marts.country("2026-03-01", impressions=100, link_clicks=10, streams=9, listeners=4, followers=2, spend_media=8)
    marts.country("2026-03-02", impressions=None, link_clicks=6, streams=3, listeners=2, followers=0, spend_media=4)
    marts.pulled(COUNTRY, "2026-03-01", "2026-03-02", at="2026-03-09 00:00")
    marts.build()
    table = "marts.campaign_summary"
    assert one(marts, table, "first_report_date, last_report_date, days, days_settled, is_settled") == (
        "2026-03-01",
        "2026-03-02",
        2,
        1,
        False,
    )
    columns = "impressions, link_clicks, streams, listener_days, followers, spend_media"
    assert one(marts, table, columns) == (100, 16, 12, 6, 2, 12)
    settled = ", ".join(f"settled_{name}" for name in columns.split(", "))
    assert one(marts, table, settled) == (100, 10, 9, 4, 2, 8)
    assert one(marts, table, "streams_per_listener, cpl, cpf, cpc_linkclick, ctr_linkclick") == (2, 2, 6, 0.75, 0.16)
    assert one(marts, table, "settled_cpl, settled_cpf") == (2, 4)


def test_campaigns_listening_is_told_before_during_and_after_it(marts: Marts) -> None:
    marts.country("2026-03-02")
    marts.engagement("2026-03-01", status="scheduled", new=(1, 2))
    marts.engagement("2026-03-02", status="active", new=(10, 20), returning=(1, 5))
    marts.engagement("2026-03-02", OTHER, status="active", new=(4, 10))
    marts.engagement("2026-03-03", OTHER, status="ended", new=(2, 3), campaign_name="Renamed")
    marts.build()
    table = "marts.campaign_summary"
    listeners = "engagement_new_listeners"
    assert one(marts, table, f"{listeners}, {listeners}_before, {listeners}_during, {listeners}_after") == (
        17,
        1,
        14,
        2,
    )
    streams = "engagement_streams"
    assert one(marts, table, f"{streams}, {streams}_before, {streams}_during, {streams}_after") == (40, 2, 35, 3)
    assert one(marts, table, "other_tracks_streams, other_tracks_stream_share") == (13, 0.325)
    assert one(marts, table, "campaign_name, days, last_report_date") == ("Renamed", 1, "2026-03-02")


def test_track_campaign_without_spillover_has_none_and_a_playlist_campaign_has_no_other_tracks(marts: Marts) -> None:
    marts.engagement("2026-03-01", new=(1, 2))
    marts.engagement("2026-03-01", OTHER, new=(1, 2), campaign_id="c2", **playlist(1))
    marts.engagement("2026-03-01", campaign_id="c3")
    marts.build()
    columns = "campaign_id, other_tracks_streams, other_tracks_stream_share"
    assert marts.rows("marts.campaign_summary", columns) == [("c1", 0, 0), ("c2", None, None), ("c3", 0, None)]


def test_campaign_that_only_one_export_has_is_in_the_summary(marts: Marts) -> None:
    marts.country("2026-03-01", campaign_id="ads", spend_total=5)
    marts.engagement("2026-03-01", campaign_id="tail", new=(3, 4))
    marts.pulled(ENGAGEMENT, "2026-03-01", path="tail")
    marts.build()
    columns = "campaign_id, currency, days, impressions, spend_total, engagement_streams, is_settled"
    assert marts.rows("marts.campaign_summary", columns) == [
        ("ads", "USD", 1, 0, 5, 0, False),
        ("tail", None, 0, None, 0, 4, True),
    ]


# country_summary


def test_country_sums_its_days_and_has_its_share_and_place(marts: Marts) -> None:
    marts.country("2026-03-01", "US", spend_total=50, spend_media=40, listeners=20, link_clicks=5)
    marts.country("2026-03-03", "US", spend_total=10, spend_media=8, listeners=10, link_clicks=None)
    marts.country("2026-03-01", "NA", spend_total=40, spend_media=30, listeners=30)
    marts.pulled(COUNTRY, "2026-03-01")
    marts.build()
    table = "marts.country_summary"
    columns = "country_code, first_report_date, last_report_date, days, days_settled, is_settled"
    assert marts.rows(table, columns) == [
        ("NA", "2026-03-01", "2026-03-01", 1, 1, True),
        ("US", "2026-03-01", "2026-03-03", 2, 1, False),
    ]
    columns = "country_code, spend_total, listener_days, cpl, cpc_linkclick, spend_share, spend_rank, listener_rank"
    assert marts.rows(table, columns) == [("NA", 40, 30, 1, None, 0.4, 2, 1), ("US", 60, 30, 1.6, 9.6, 0.6, 1, 1)]


# track_engagement_summary


def test_listener_of_two_days_is_one_unique_listener(marts: Marts) -> None:
    marts.engagement("2026-03-01", new=(5, 8))
    marts.engagement("2026-03-02", new=(1, 1), returning=(5, 9), engaged_track_name="Remastered")
    marts.pulled(ENGAGEMENT, "2026-03-01")
    marts.build()
    table = "marts.track_engagement_summary"
    columns = "unique_listeners, settled_unique_listeners, streams, settled_streams, streams_per_unique_listener"
    assert one(marts, table, columns) == (6, 5, 18, 8, 3)
    columns = (
        "engaged_track_name, is_promoted_track, new_listener_streams, returning_listener_streams, days, is_settled"
    )
    assert one(marts, table, columns) == ("Remastered", True, 9, 9, 2, False)


def test_track_that_only_returning_listeners_play_has_no_streams_per_unique_listener(marts: Marts) -> None:
    marts.engagement("2026-03-01", returning=(2, 6))
    marts.build()
    assert one(marts, "marts.track_engagement_summary", "streams, streams_per_unique_listener") == (6, None)


# catalog_spillover


def test_spillover_is_told_by_weeks_from_the_campaigns_start(marts: Marts) -> None:
    marts.engagement("2026-03-02", OTHER, status="scheduled", new=(1, 1))  # the day before
    marts.engagement("2026-03-03", new=(6, 9))  # the start
    marts.engagement("2026-03-03", OTHER, new=(1, 2))
    marts.engagement("2026-03-09", "third-track", new=(1, 1))  # the last day of week 0
    marts.engagement("2026-03-10", status="ended", returning=(1, 4))
    marts.pulled(ENGAGEMENT, "2026-03-02", "2026-03-03")
    marts.build()
    table = "marts.catalog_spillover"
    assert marts.rows(table, "week_since_start, week_start_date, week_end_date, days, is_settled") == [
        (-1, "2026-02-24", "2026-03-02", 1, True),
        (0, "2026-03-03", "2026-03-09", 2, False),
        (1, "2026-03-10", "2026-03-16", 1, False),
    ]
    columns = "week_since_start, other_tracks, promoted_new_listeners, other_new_listeners, spillover_listener_share"
    assert marts.rows(table, columns) == [(-1, 1, 0, 1, 1), (0, 2, 6, 2, 0.25), (1, 0, 0, 0, None)]
    columns = "week_since_start, promoted_streams, other_streams, spillover_stream_share"
    assert marts.rows(table, columns) == [(-1, 0, 1, 1), (0, 9, 3, 0.25), (1, 4, 0, 0)]


def test_campaign_that_has_not_started_counts_from_its_first_day_and_playlists_are_left_out(marts: Marts) -> None:
    marts.engagement("2026-03-02", status="scheduled")
    marts.engagement("2026-03-09", status="scheduled")
    marts.engagement("2026-03-02", campaign_id="c2", **playlist(1))
    marts.build()
    assert marts.rows("marts.catalog_spillover", "campaign_id, week_since_start") == [("c1", 0), ("c1", 1)]


# playlist_position_performance


def test_slots_are_told_in_bands(marts: Marts) -> None:
    for position in (1, 10, 11, 20, 21, 30, 31, 50, 51, None):
        marts.engagement("2026-03-01", f"track-{position}", new=(1, 2), **playlist(position))
    marts.engagement("2026-03-02", "track-1", returning=(4, 20), **playlist(4))
    marts.pulled(ENGAGEMENT, "2026-03-01")
    marts.build()
    columns = "slot_band, tracks, track_days, unique_listeners, streams, streams_per_unique_listener, stream_share"
    assert marts.rows("marts.playlist_position_performance", f"{columns}, last_report_date, is_settled") == [
        ("01-10", 2, 3, 2, 24, 12, 0.6, "2026-03-02", False),
        ("11-20", 2, 2, 2, 4, 2, 0.1, "2026-03-01", True),
        ("21-30", 2, 2, 2, 4, 2, 0.1, "2026-03-01", True),
        ("31-50", 2, 2, 2, 4, 2, 0.1, "2026-03-01", True),
        ("51+", 1, 1, 1, 2, 2, 0.05, "2026-03-01", True),
        ("unknown", 1, 1, 1, 2, 2, 0.05, "2026-03-01", True),
    ]


# revision_curve


def test_revision_curve_tells_what_was_believed_at_the_end_of_each_day_after_the_close(marts: Marts) -> None:
    for pull in range(2, 10):  # every morning, March 2 to 9
        marts.pulled(COUNTRY, "2026-03-01", at=f"2026-03-0{pull} 07:00")

    def version(streams: int, since: int, until: int | None, country: str = "US") -> None:
        moments = {"_valid_from": f"2026-03-0{since} 07:00", "_delivery_id": f"d{since}"}
        table = COUNTRY if until is None else f"{COUNTRY}_history"
        ended = {} if until is None else {"_valid_until": f"2026-03-0{until} 07:00"}
        marts.country("2026-03-01", country, table=table, streams=streams, **moments, **ended)

    version(60, 2, 3)
    version(80, 3, 5)
    version(90, 5, None)
    version(10, 4, None, "DE")  # a country that came on the third morning
    marts.build()
    columns = "days_after_close, report_dates, value_then, value_settled, shortfall_share, worst_shortfall_share"
    assert marts.rows("marts.revision_curve", columns, "measure = 'streams'") == [
        (0, 1, 60, 100, 0.4, 0.4),
        (1, 1, 80, 100, 0.2, 0.2),
        (2, 1, 90, 100, 0.1, 0.1),
        *((k, 1, 100, 100, 0, 0) for k in range(3, 8)),
    ]
    assert one(marts, "marts.revision_curve", columns, "measure = 'followers' and days_after_close = 0") == (
        *(0, 1, 0, 0),
        *(None, None),
    )


def test_revision_curve_leaves_out_what_was_not_pulled_yet_or_is_not_settled(marts: Marts) -> None:
    for campaign, pulls in {
        "daily": ("03-02", "03-09"),
        "late": ("03-04", "03-09"),  # first pulled on the third day after
        "backfilled": ("04-20",),
        "open": ("03-02",),
    }.items():
        for pull in pulls:
            marts.pulled(COUNTRY, "2026-03-01", at=f"2026-{pull} 07:00", path=campaign)
        valid_from = f"2026-{pulls[0]} 07:00"
        marts.country("2026-03-01", campaign_id=campaign, streams=1, _valid_from=valid_from)
    marts.build()
    found = marts.rows("marts.revision_curve", "days_after_close, value_settled", "measure = 'streams'")
    assert found == [(0, 1), (1, 1), *((k, 2) for k in range(2, 8))]


def test_first_pull_that_was_empty_believed_zero(marts: Marts) -> None:
    marts.pulled(COUNTRY, "2026-03-01", at="2026-03-02 07:00", path="alias-c1", rows=0)
    marts.pulled(COUNTRY, "2026-03-01", at="2026-03-09 07:00", path="alias-c1")
    marts.country("2026-03-01", streams=5, _valid_from="2026-03-09 07:00")
    marts.build()
    columns = "days_after_close, value_then, value_settled"
    found = marts.rows("marts.revision_curve", columns, "measure = 'streams'")
    assert found == [*((k, 0, 5) for k in range(7)), (7, 5, 5)]


def test_revision_curve_reaches_back_ninety_settled_days(marts: Marts) -> None:
    newest = date(2026, 6, 30)
    for back in (0, 89, 90):
        day, pulled = newest - timedelta(days=back), f"{newest - timedelta(days=back - 1)} 07:00"
        marts.pulled(COUNTRY, str(day), at=pulled)
        marts.pulled(COUNTRY, str(day), at=str(day + timedelta(days=8)))
        marts.country(str(day), streams=1, _valid_from=pulled)
    marts.build()
    assert one(marts, "marts.revision_curve", "report_dates", "measure = 'streams' and days_after_close = 0") == (2,)


# Staging


@pytest.mark.parametrize("status", ["active", "ended", "stopped", None])
@pytest.mark.parametrize("created", ["2026-01-10T12:00:00Z", None])
@pytest.mark.parametrize("updated", ["2026-02-01T00:00:00Z", "2026-02-20T23:00:00Z", None])
@pytest.mark.parametrize("duration", [30, 0, None])
def test_days_a_campaign_may_have_rows_on_are_those_it_is_asked_for(
    rule: duckdb.DuckDBPyConnection, status: str | None, created: str | None, updated: str | None, duration: int | None
) -> None:
    listed = {"status": status, "createdAt": created, "updatedAt": updated, "campaignDuration": duration}
    days = [date(2026, 1, 9) + timedelta(days=offset) for offset in range(100)]
    rule.execute("delete from campaigns")
    rule.execute(
        "insert into campaigns (campaign_id, status, created_at, updated_at, campaign_duration) values (?, ?, ?, ?, ?)",
        ["c1", status, created and created[:-1], updated and updated[:-1], duration],
    )
    ((first, last),) = rule.execute("select may_have_rows_from, may_have_rows_until from days").fetchall()
    assert [day for day in days if (first or day) <= day <= (last or day)] == [
        day for day in days if may_have_rows(listed, DateRange(day, day))
    ]


@pytest.fixture(scope="module")
def rule(project: SqlProject) -> Iterator[duckdb.DuckDBPyConnection]:
    """The view `days`: stg_campaigns over an empty table."""
    connection = duckdb.connect(":memory:")
    connection.execute(f"create table campaigns ({', '.join(f'{name} {kind}' for name, kind, _ in CAMPAIGN_COLUMNS)})")
    connection.execute(f"create view days as {project.render(project.models['stg_campaigns'], incremental=False)}")
    yield connection
    connection.close()


def test_status_of_a_day_goes_by_the_id_in_the_rows(marts: Marts) -> None:
    marts.pulled(COUNTRY, "2026-03-01", path="alias-c1", at=PROVISIONAL)
    marts.pulled(COUNTRY, "2026-03-01", path="c1")
    marts.pulled(COUNTRY, "2026-03-01", path="empty", rows=0, at=PROVISIONAL)
    marts.build()
    columns = "campaign_id, last_pulled_at, deliveries, is_settled"
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
        marts.pulled(COUNTRY, day)
        marts.pulled(ENGAGEMENT, day)
    marts.build()
    before = marts.everything()
    for table in (COUNTRY, ENGAGEMENT):
        marts.connection.execute(f"update {table} set streams = 7")
    # A row that is no more: its key in country_daily holds the currency.
    marts.connection.execute(f"update {COUNTRY} set currency = 'EUR' where report_date = '2026-03-02'")
    marts.build(DateRange(date(2026, 3, 2), date(2026, 3, 2)))
    columns = "report_date, currency, streams"
    assert marts.rows("marts.country_daily", columns) == [("2026-03-01", "USD", 0), ("2026-03-02", "EUR", 7)]
    for name in ("campaign_daily", "country_daily", "track_engagement_daily", "data_status"):
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
        ("delete from marts.country_daily where country_code = 'DE'", "country_daily_reconciles"),
        ("update marts.country_daily set spend_share = spend_share / 2", "country_shares_sum_to_one"),
        ("update marts.track_engagement_daily set streams = streams + 1", "track_engagement_daily_reconciles"),
        ("update marts.track_engagement_daily set listeners = 0", "listeners_are_new_or_returning"),
        ("delete from marts.data_status", "rows_have_a_data_status"),
        ("update marts.campaign_summary set spend_total = 0", "campaign_summary_is_the_sum_of_days"),
        ("delete from marts.campaign_summary", "campaign_summary_is_the_sum_of_days"),
        ("update marts.country_summary set streams = streams + 1", "country_summary_is_the_sum_of_days"),
        ("update marts.track_engagement_summary set days = 3", "track_engagement_summary_is_the_sum_of_days"),
        ("delete from marts.catalog_spillover", "catalog_spillover_is_the_sum_of_days"),
        ("update marts.playlist_position_performance set streams = 0", "playlist_bands_are_the_sum_of_days"),
        (f"update {COUNTRY} set currency = 'EUR' where country_code = 'DE'", "one_currency_per_campaign"),
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
    with Warehouse(tmp_path_factory.mktemp("damaged")).write() as connection:
        marts = Marts(connection, project)
        marts.pulled(COUNTRY, "2026-03-01")
        marts.pulled(ENGAGEMENT, "2026-03-01")
        ((delivery,), _) = marts.rows("deliveries", "delivery_id")
        for country in ("US", "DE"):
            money = {"spend_media": 8, "spend_total": 10, "fees": 2}
            marts.country("2026-03-01", country, streams=3, listeners=1, **money, _delivery_id=delivery)
            marts.engagement("2026-03-01", country=country, new=(1, 2), _delivery_id=delivery)
            playing = playlist(3, campaign_id="c2", _delivery_id=delivery)
            marts.engagement("2026-03-01", OTHER, country, new=(1, 2), **playing)
        marts.build()
        assert marts.failing() == []
        yield marts


def test_campaign_that_was_not_pulled_is_a_warning(marts: Marts) -> None:
    marts.listed("c1", **RUNNING)
    marts.listed("c2", **RUNNING)
    marts.pulled(COUNTRY, "2026-03-01")
    marts.build()
    assert marts.failing() == ["every_expected_campaign_was_pulled"]
    (severity,) = (t.severity for t in marts.project.tests if t.name == "every_expected_campaign_was_pulled")
    assert severity == "warn"


DAYS = st.dates(date(2026, 3, 1), date(2026, 3, 20)).map(str)
CAMPAIGNS, COUNTRIES, TRACKS = st.sampled_from(["c1", "c2"]), st.sampled_from(["US", "NA", "DE"]), [PROMOTED, OTHER]
COUNT = st.integers(0, 2**40)
CENTS = st.integers(0, 10**8).map(lambda cents: Decimal(cents) / 100)
COUNTRY_ROWS = st.dictionaries(
    st.tuples(DAYS, COUNTRIES, CAMPAIGNS),
    st.tuples(st.none() | COUNT, st.none() | COUNT, COUNT, COUNT, COUNT, CENTS, CENTS),
    max_size=15,
)
ENGAGEMENT_ROWS = st.dictionaries(
    st.tuples(DAYS, st.sampled_from(TRACKS), COUNTRIES, CAMPAIGNS),
    st.tuples(
        st.tuples(COUNT, COUNT),
        st.tuples(COUNT, COUNT),
        st.sampled_from(["active", "ended", "scheduled"]),
        st.none() | st.integers(1, 60),
    ),
    max_size=15,
)


def test_sums_of_marts_reconcile_with_the_exports_to_the_cent(marts: Marts) -> None:
    @settings(max_examples=12, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(COUNTRY_ROWS, ENGAGEMENT_ROWS)
    def check(country: dict[Any, Any], engagement: dict[Any, Any]) -> None:
        marts.clear()
        for export in (COUNTRY, ENGAGEMENT):
            marts.pulled(export, "2026-03-01", "2026-03-20")
        for (day, code, campaign), (seen, clicks, streams, listeners, followers, media, fees) in country.items():
            counts = {"impressions": seen, "link_clicks": clicks, "streams": streams, "listeners": listeners}
            money = {"spend_media": media, "fees": fees, "spend_total": media + fees}
            marts.country(day, code, campaign_id=campaign, followers=followers, **counts, **money)
        for (day, track, code, campaign), (new, back, status, position) in engagement.items():
            changes = {"campaign_id": campaign, "status": status, "new": new, "returning": back}
            context = playlist(position) if campaign == "c2" else {"engagement_context": "catalog"}
            marts.engagement(day, track, code, **changes, **context)
        marts.build()
        sums = "coalesce(sum(spend_media), 0), coalesce(sum(spend_total), 0), coalesce(sum(fees), 0)"
        sums += ", sum(impressions), sum(link_clicks), coalesce(sum(streams), 0), coalesce(sum(followers), 0)"
        raw = one(marts, COUNTRY, sums)
        for name in ("campaign_daily", "country_daily", "campaign_summary", "country_summary"):
            assert one(marts, f"marts.{name}", sums) == raw, name
        streams = "coalesce(sum(streams), 0)"
        (raw_streams,) = one(marts, ENGAGEMENT, streams)
        for name in ("track_engagement_daily", "track_engagement_summary"):
            assert one(marts, f"marts.{name}", streams) == (raw_streams,), name
        assert one(marts, "marts.campaign_summary", "coalesce(sum(engagement_streams), 0)") == (raw_streams,)
        assert marts.failing(singular=True) == []

    check()
