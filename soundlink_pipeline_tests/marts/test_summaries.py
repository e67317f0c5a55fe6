"""The marts of many days: for each a few rows and the numbers that follow from them, to be checked by hand."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from soundlink_pipeline_tests.marts.shared import COUNTRY, ENGAGEMENT, OTHER, Marts, one, playlist

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
    assert one(marts, table, "streams_per_listener, cpl, cpf, cpc_linkclick, ctr_linkclick") == (2, 2, 6, 0.75, 0.1)
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


def test_campaign_that_moves_to_another_account_is_one_row_with_the_newest_account(marts: Marts) -> None:
    # On 2 March it stands under both: a country each.
    ads: dict[str, Any] = {
        "impressions": 100,
        "streams": 6,
        "listeners": 2,
        "spend_media": 8,
        "spend_total": 10,
        "fees": 2,
    }
    marts.country("2026-03-01", "US", **ads)
    marts.country("2026-03-02", "US", **ads, ad_clicks=1, exported_at="2026-03-03 03:00")
    marts.country("2026-03-02", "DE", **ads, ad_clicks=3, exported_at="2026-03-03 04:00", account_id="a0")
    marts.country("2026-03-03", "US", **ads, account_id="a0")
    marts.engagement("2026-03-02", "t", "US", new=(4, 9), exported_at="2026-03-03 03:00")
    marts.engagement("2026-03-02", "t", "DE", new=(2, 3), exported_at="2026-03-03 04:00", account_id="a0")
    marts.engagement("2026-03-04", "t", "US", new=(1, 1), account_id="a0")
    marts.build()
    columns = "report_date, account_id, countries, ad_clicks, impressions, ctr_adclick, spend_total"
    assert marts.rows("marts.campaign_daily", columns) == [
        ("2026-03-01", "a1", 1, 0, 100, 0, 10),
        ("2026-03-02", "a0", 2, 4, 200, 0.02, 20),
        ("2026-03-03", "a0", 1, 0, 100, 0, 10),
    ]
    columns = "campaign_id, account_id, days, impressions, spend_total, streams_per_listener, ctr_adclick, cpl"
    assert marts.rows("marts.campaign_summary", columns) == [("c1", "a0", 3, 400, 40, 3, 0.01, 4)]
    assert marts.rows("marts.campaign_summary", "engagement_new_listeners, engagement_streams") == [(7, 13)]
    columns = "report_date, account_id, countries, new_listeners, streams"
    assert marts.rows("marts.track_engagement_daily", columns) == [
        ("2026-03-02", "a0", 2, 6, 12),
        ("2026-03-04", "a0", 1, 1, 1),
    ]
    columns = "account_id, days, unique_listeners, streams"
    assert marts.rows("marts.track_engagement_summary", columns) == [("a0", 2, 7, 13)]
    assert marts.failing(singular=True) == ["rows_have_a_data_status"], "nothing was pulled here"


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
    assert marts.rows(table, columns) == [("NA", 40, 30, 1, None, 0.4, 2, 1), ("US", 60, 30, 1.6, 8, 0.6, 1, 1)]


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


def test_weeks_of_a_campaign_that_moves_to_another_account_go_on(marts: Marts) -> None:
    marts.engagement("2026-03-01", OTHER, new=(1, 1))
    marts.engagement("2026-03-09", OTHER, new=(1, 1), account_id="a0")
    marts.engagement("2026-03-10", OTHER, new=(1, 1))
    marts.engagement("2026-03-11", OTHER, new=(1, 1), account_id="a0")
    marts.build()
    columns = "account_id, week_since_start, week_start_date, days"
    assert marts.rows("marts.catalog_spillover", columns) == [("a0", 0, "2026-03-01", 1), ("a0", 1, "2026-03-08", 3)]


# playlist_position_performance


def test_slots_of_a_campaign_that_moves_to_another_account_are_one_row(marts: Marts) -> None:
    marts.engagement("2026-03-01", new=(1, 2), **playlist(1))
    marts.engagement("2026-03-02", new=(1, 4), account_id="a0", **playlist(2))
    marts.engagement("2026-03-01", OTHER, new=(1, 2), **playlist(11))
    marts.build()
    columns = "slot_band, account_id, unique_listeners, streams, stream_share"
    assert marts.rows("marts.playlist_position_performance", columns) == [
        ("01-10", "a0", 2, 6, 0.75),
        ("11-20", "a0", 1, 2, 0.25),
    ]


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
    # Not even from the third day on does the late one count: each row is about the same days as the others.
    assert found == [(k, 1) for k in range(8)]


def test_first_pull_that_was_empty_believed_zero(marts: Marts) -> None:
    marts.pulled(COUNTRY, "2026-03-01", at="2026-03-02 07:00", path="alias-c1", rows=0)
    marts.pulled(COUNTRY, "2026-03-01", at="2026-03-09 07:00", path="alias-c1")
    marts.country("2026-03-01", streams=5, _valid_from="2026-03-09 07:00")
    marts.build()
    columns = "days_after_close, value_then, value_settled"
    found = marts.rows("marts.revision_curve", columns, "measure = 'streams'")
    assert found == [*((k, 0, 5) for k in range(7)), (7, 5, 5)]


def test_revision_curve_has_shares_of_sums_that_no_column_holds(marts: Marts) -> None:
    for campaign, country in (("c1", "US"), ("c2", "DE")):
        marts.pulled(COUNTRY, "2026-03-01", at="2026-03-02 07:00", path=campaign)
        marts.pulled(COUNTRY, "2026-03-01", path=campaign)
        large: dict[str, Any] = {"spend_total": 9 * 10**11, "impressions": 9 * 10**18}
        marts.country("2026-03-01", country, campaign_id=campaign, _valid_from="2026-03-02 07:00", **large)
    marts.build()
    columns = "measure, value_then, value_settled, shortfall_share, worst_shortfall_share"
    found = marts.rows("marts.revision_curve", columns, "days_after_close = 0 and value_settled is distinct from 0")
    assert found == [("impressions", None, None, 0, 0), ("spend_total", None, None, 0, 0)]


def test_revision_curve_reaches_back_ninety_settled_days(marts: Marts) -> None:
    newest = date(2026, 6, 30)
    for back in (0, 89, 90):
        day, pulled = newest - timedelta(days=back), f"{newest - timedelta(days=back - 1)} 07:00"
        marts.pulled(COUNTRY, str(day), at=pulled)
        marts.pulled(COUNTRY, str(day), at=str(day + timedelta(days=8)))
        marts.country(str(day), streams=1, _valid_from=pulled)
    marts.build()
    assert one(marts, "marts.revision_curve", "report_dates", "measure = 'streams' and days_after_close = 0") == (2,)
