"""The marts of soundlinks: for each a few rows and the numbers that follow from them, to be checked by hand."""

from __future__ import annotations

from typing import Any

from soundlink_pipeline_tests.marts.shared import COUNTRY, LISTENING, OTHER, PAGE, PROMOTED, Marts, one

TARGET = "soundlink_target_type, soundlink_target_spotify_track_id, soundlink_target_playlist_id"
SERVICES = "spotify_link_clicks, apple_music_link_clicks, youtube_music_link_clicks"
SPLITS = "new_listeners, returning_listeners, new_listener_streams, returning_listener_streams"

# soundlink_daily


def test_soundlink_day_sums_its_countries_and_divides_the_sums(marts: Marts) -> None:
    us: dict[str, Any] = {"views": 100, "link_clicks": 30, "streams": 30, "listeners": 10, "followers": 4}
    us |= dict(zip(f"{SERVICES}, {SPLITS}".split(", "), (20, 7, 3, 6, 4, 18, 12), strict=True))
    na: dict[str, Any] = {"views": 300, "link_clicks": 50, "streams": 30, "listeners": 30, "followers": 1}
    na |= dict(zip(f"{SERVICES}, {SPLITS}".split(", "), (50, 0, 0, 25, 5, 25, 5), strict=True))
    marts.page("2026-03-01", "US", **us)
    marts.page("2026-03-01", "NA", **na)
    marts.build()
    table = "marts.soundlink_daily"
    assert one(marts, table, "countries, views, link_clicks, streams, listeners, followers") == (2, 400, 80, 60, 40, 5)
    assert one(marts, table, SERVICES) == (70, 7, 3)
    assert one(marts, table, SPLITS) == (31, 9, 43, 17)
    assert one(marts, table, "streams_per_listener, ctr_lp") == (1.5, 0.2)


def test_click_rate_leaves_out_rows_whose_clicks_are_not_tracked(marts: Marts) -> None:
    marts.page("2026-03-01", "US", views=100, link_clicks=25)
    marts.page("2026-03-01", "DE", views=900)
    marts.page("2026-03-02", "US", views=900)
    marts.page("2026-03-03", "US", link_clicks=0)
    marts.build()
    columns = "report_date, views, link_clicks, views_with_link_clicks, ctr_lp, streams_per_listener"
    assert marts.rows("marts.soundlink_daily", columns) == [
        ("2026-03-01", 1000, 25, 100, 0.25, 0),
        ("2026-03-02", 900, None, None, None, 0),
        ("2026-03-03", 0, 0, 0, None, 0),
    ]
    assert one(marts, "marts.soundlink_summary", "views, link_clicks, views_with_link_clicks, ctr_lp") == (
        *(1900, 25, 100, 0.25),
    )


def test_splits_that_no_row_tells_are_null_and_those_of_some_are_theirs(marts: Marts) -> None:
    marts.page("2026-03-01", "US", streams=9, listeners=4)
    marts.page("2026-03-02", "US", streams=9, listeners=4)
    told: dict[str, Any] = dict(zip(SPLITS.split(", "), (2, 1, 3, 2), strict=True))
    marts.page("2026-03-02", "DE", streams=5, listeners=3, **told)
    marts.build()
    assert marts.rows("marts.soundlink_daily", f"report_date, listeners, {SPLITS}") == [
        ("2026-03-01", 4, None, None, None, None),
        ("2026-03-02", 7, 2, 1, 3, 2),
    ]


def test_attributes_of_a_soundlink_day_are_those_of_its_newest_row_with_what_is_null_there(marts: Marts) -> None:
    older: dict[str, Any] = {"exported_at": "2026-03-02 03:00", "soundlink_name": "Zebra"}
    newer: dict[str, Any] = {"exported_at": "2026-03-03 03:00", "soundlink_name": "Ape", "account_id": "a0"}
    newer |= dict.fromkeys(TARGET.split(", "))
    marts.page("2026-03-01", "US", **older)
    marts.page("2026-03-01", "DE", **newer)
    marts.soundlink_engagement("2026-03-01", country="US", new=(1, 2), **older)
    marts.soundlink_engagement("2026-03-01", country="DE", new=(1, 2), **newer)
    marts.build()
    columns = f"account_id, soundlink_name, {TARGET}"
    for mart in ("soundlink_daily", "soundlink_track_daily", "soundlink_summary"):
        assert one(marts, f"marts.{mart}", columns) == ("a0", "Ape", None, None, None), mart
    assert one(marts, "marts.soundlink_track_daily", "countries, streams, is_promoted_track") == (2, 4, False)


def test_soundlink_day_is_settled_by_a_pull_of_its_own_export_under_any_id(marts: Marts) -> None:
    for day in (1, 2, 3):
        marts.page(f"2026-03-0{day}")
        marts.soundlink_engagement(f"2026-03-0{day}")
    marts.pulled(PAGE, "2026-03-01", at="2026-03-09 00:00", path="alias-s1")
    marts.pulled(PAGE, "2026-03-02", at="2026-03-09 00:00", path="s1")
    marts.pulled(LISTENING, "2026-03-03", path="s1")
    marts.pulled(COUNTRY, "2026-03-01", "2026-03-03", path="s1")
    marts.build()
    days = "report_date, is_settled"
    found = [("2026-03-01", True), ("2026-03-02", False), ("2026-03-03", False)]
    assert marts.rows("marts.soundlink_daily", days) == found
    assert marts.rows("marts.soundlink_track_daily", days) == [
        ("2026-03-01", False),
        ("2026-03-02", False),
        ("2026-03-03", True),
    ]


# soundlink_track_daily, soundlink_track_summary


def test_track_days_of_a_soundlink_are_apart_from_those_of_campaigns(marts: Marts) -> None:
    marts.engagement("2026-03-01", new=(100, 200))
    marts.soundlink_engagement("2026-03-01", PROMOTED, "US", new=(4, 6), returning=(1, 3))
    marts.soundlink_engagement("2026-03-01", PROMOTED, "DE", new=(2, 3), returning=(1, 4))
    marts.soundlink_engagement("2026-03-02", OTHER, new=(1, 1), engagement_context="playlist", playlist_position=3)
    marts.build()
    columns = (
        "report_date, engaged_spotify_track_id, engagement_context, is_promoted_track, playlist_position, countries"
    )
    assert marts.rows("marts.soundlink_track_daily", columns) == [
        ("2026-03-01", PROMOTED, "catalog", True, None, 2),
        ("2026-03-02", OTHER, "playlist", False, 3, 1),
    ]
    columns = f"report_date, {SPLITS}, listeners, streams, spl"
    assert marts.rows("marts.soundlink_track_daily", columns) == [
        ("2026-03-01", 6, 2, 9, 7, 8, 16, 2),
        ("2026-03-02", 1, 0, 1, 0, 1, 1, 1),
    ]
    assert one(marts, "marts.track_engagement_daily", "campaign_id, streams") == ("c1", 200)
    assert one(marts, "marts.track_engagement_summary", "campaign_id, streams") == ("c1", 200)


def test_listener_of_two_days_of_a_soundlink_is_one_unique_listener(marts: Marts) -> None:
    marts.soundlink_engagement("2026-03-01", new=(5, 8))
    marts.soundlink_engagement("2026-03-02", new=(1, 1), returning=(5, 9), engaged_track_name="Remastered")
    marts.pulled(LISTENING, "2026-03-01", path="s1")
    marts.build()
    table = "marts.soundlink_track_summary"
    columns = "unique_listeners, settled_unique_listeners, streams, settled_streams, streams_per_unique_listener"
    assert one(marts, table, columns) == (6, 5, 18, 8, 3)
    columns = "engaged_track_name, is_promoted_track, days, days_settled, first_report_date, last_report_date"
    assert one(marts, table, columns) == ("Remastered", True, 2, 1, "2026-03-01", "2026-03-02")


# soundlink_summary


def test_soundlink_is_told_in_total_and_for_settled_days(marts: Marts) -> None:
    marts.page("2026-03-01", views=50, link_clicks=10, streams=9, listeners=4, followers=2, new_listeners=3)
    marts.page("2026-03-02", views=30, link_clicks=6, streams=3, listeners=2, followers=0, new_listeners=1)
    marts.soundlink_engagement("2026-03-02", new=(5, 12), returning=(1, 3))
    marts.soundlink_engagement("2026-03-02", OTHER, new=(2, 5))
    marts.pulled(PAGE, "2026-03-01", "2026-03-02", at="2026-03-09 00:00", path="s1")
    marts.build()
    table = "marts.soundlink_summary"
    assert one(marts, table, "first_report_date, last_report_date, days, days_settled, is_settled") == (
        *("2026-03-01", "2026-03-02", 2, 1, False),
    )
    columns = "views, link_clicks, streams, listener_days, followers"
    assert one(marts, table, f"{columns}, new_listeners") == (80, 16, 12, 6, 2, 4)
    assert one(marts, table, ", ".join(f"settled_{name}" for name in columns.split(", "))) == (50, 10, 9, 4, 2)
    assert one(marts, table, "streams_per_listener, ctr_lp") == (2, 0.2)
    assert one(marts, table, "engagement_new_listeners, engagement_streams") == (7, 20)
    assert one(marts, table, "other_tracks_streams, other_tracks_stream_share") == (5, 0.25)


def test_status_and_url_of_a_soundlink_are_those_last_listed_under_any_id(marts: Marts) -> None:
    for soundlink in ("s1", "s2", "s3"):
        marts.page("2026-03-01", soundlink_id=soundlink)
    marts.listed_soundlink("s1", status="active", url="https://soundlink.example/s1")
    marts.listed_soundlink("alias-s2", status="archived", url="https://soundlink.example/two")
    marts.listed_soundlink("never-played", status="draft")
    marts.pulled(PAGE, "2026-03-01", path="s1")
    marts.pulled(PAGE, "2026-03-01", path="alias-s2")
    marts.build()
    assert marts.rows("marts.soundlink_summary", "soundlink_id, status, url") == [
        ("s1", "active", "https://soundlink.example/s1"),
        ("s2", "archived", "https://soundlink.example/two"),
        ("s3", None, None),
    ]


def test_soundlink_that_only_one_export_has_is_in_the_summary(marts: Marts) -> None:
    marts.page("2026-03-01", soundlink_id="looked-at", views=5)
    marts.soundlink_engagement("2026-03-01", soundlink_id="listened-to", new=(3, 4))
    marts.pulled(LISTENING, "2026-03-01", path="listened-to")
    marts.build()
    columns = "soundlink_id, days, views, link_clicks, engagement_streams, other_tracks_streams, is_settled"
    assert marts.rows("marts.soundlink_summary", columns) == [
        ("listened-to", 0, 0, None, 4, 0, True),
        ("looked-at", 1, 5, None, 0, 0, False),
    ]
    assert marts.failing(singular=True) == ["rows_have_a_data_status"], "one page was never pulled"


def test_newest_row_of_a_soundlinks_day_of_both_exports_is_the_one_generated_last_or_else_the_pages(
    marts: Marts,
) -> None:
    for soundlink, page_at, listening_at in (("s1", 3, 4), ("s2", 4, 3), ("s3", 3, 3)):
        of: dict[str, Any] = {"soundlink_id": soundlink}
        marts.page("2026-03-01", soundlink_name="page", exported_at=f"2026-03-02 0{page_at}:00", **of)
        marts.page("2026-02-28", soundlink_name="a day before", exported_at="2026-03-05 03:00", **of)
        listening: dict[str, Any] = {"soundlink_name": "listening", "exported_at": f"2026-03-02 0{listening_at}:00"}
        marts.soundlink_engagement("2026-03-01", **listening, **of)
    marts.build()
    names = [("s1", "listening"), ("s2", "page"), ("s3", "page")]
    assert marts.rows("marts.soundlink_summary", "soundlink_id, soundlink_name") == names


# revision_curve


def test_revision_curve_has_the_exports_of_soundlinks(marts: Marts) -> None:
    for export in (PAGE, LISTENING):
        for morning in ("2026-03-02 07:00", "2026-03-09 07:00"):
            marts.pulled(export, "2026-03-01", at=morning, path="s1")
    since, until = {"_valid_from": "2026-03-02 07:00"}, {"_valid_until": "2026-03-09 07:00"}
    marts.page("2026-03-01", table=f"{PAGE}_history", views=60, streams=6, **since, **until)
    marts.page("2026-03-01", views=80, streams=10, _valid_from="2026-03-09 07:00")
    marts.soundlink_engagement("2026-03-01", new=(3, 4), **since)
    marts.build()
    columns = "export, measure, value_then, value_settled, shortfall_share"
    where = "days_after_close = 0 and measure in ('views', 'streams', 'new_listeners')"
    assert marts.rows("marts.revision_curve", columns, where) == [
        (PAGE, "streams", 6, 10, 0.4),
        (PAGE, "views", 60, 80, 0.25),
        (LISTENING, "new_listeners", 3, 3, 0),
        (LISTENING, "streams", 4, 4, 0),
    ]
