"""What a mart makes of rows that are unlike: other targets, figures that are null, other currencies, no country."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from soundlink_pipeline.report.figures import read_figures
from soundlink_pipeline_tests.marts.shared import COUNTRY, ENGAGEMENT, OF_ROWS, OTHER, PROMOTED, Marts, one, playlist

TARGET = "campaign_target_type, campaign_target_spotify_track_id, campaign_target_playlist_id"


def target(kind: str | None = None, track: str | None = None, list_id: str | None = None) -> dict[str, Any]:
    return dict(zip(TARGET.split(", "), (kind, track, list_id), strict=True))


TRACK, PLAYLIST, UNDETERMINED = target("track", PROMOTED), target("playlist", list_id="p1"), target()

# Attributes are those of one row, the newest


def test_attributes_of_a_day_are_those_of_its_newest_row_with_what_is_null_there(marts: Marts) -> None:
    marts.country("2026-03-01", "US", exported_at="2026-03-02 03:00", **TRACK)
    marts.country("2026-03-01", "DE", exported_at="2026-03-03 03:00", **UNDETERMINED)
    for track in (PROMOTED, OTHER):
        marts.engagement("2026-03-01", track, "US", new=(1, 2), exported_at="2026-03-02 03:00", **TRACK)
        newer: dict[str, Any] = {"exported_at": "2026-03-03 03:00", "engaged_track_isrc": None} | UNDETERMINED
        marts.engagement("2026-03-01", track, "DE", new=(1, 2), status="ended", **newer)
    marts.build()
    assert one(marts, "marts.campaign_daily", TARGET) == (None, None, None)
    columns = f"{TARGET}, engaged_track_isrc, status, is_promoted_track, exported_at"
    newest = (None, None, None, None, "ended", False, "2026-03-03 03:00:00")
    assert marts.rows("marts.track_engagement_daily", columns) == [newest, newest]


def test_of_rows_of_one_moment_the_greatest_country_code_is_the_newest(marts: Marts) -> None:
    for country, of in (("US", PLAYLIST), ("NA", TRACK), ("DE", UNDETERMINED)):
        marts.country("2026-03-01", country, **of)
        marts.engagement("2026-03-01", OTHER, country, new=(1, 1), **of)
    marts.build()
    for mart in ("campaign_daily", "track_engagement_daily", "campaign_summary"):
        assert one(marts, f"marts.{mart}", TARGET) == ("playlist", None, "p1"), mart


def test_place_in_the_playlist_is_the_newest_rows_and_of_one_moment_the_highest(marts: Marts) -> None:
    older, newer = "2026-03-02 03:00", "2026-03-03 03:00"
    for day, rows in {
        "2026-03-01": [("US", 5, older), ("DE", None, newer)],
        "2026-03-02": [("US", 7, newer), ("DE", 5, newer), ("FR", None, newer), ("IT", 1, older)],
    }.items():
        for country, position, moment in rows:
            of: dict[str, Any] = {"exported_at": moment, "engaged_track_name": f"in {country}"}
            marts.engagement(day, OTHER, country, new=(1, 1), **playlist(position, **of))
    marts.build()
    columns = "report_date, playlist_position, engaged_track_name"
    assert marts.rows("marts.track_engagement_daily", columns) == [
        ("2026-03-01", None, "in DE"),
        ("2026-03-02", 5, "in DE"),
    ]


def test_campaign_that_turned_from_a_track_to_a_playlist_is_a_playlist_campaign(marts: Marts) -> None:
    for day, of in (("2026-03-01", TRACK), ("2026-03-02", PLAYLIST)):
        marts.country(day, **of)
        marts.engagement(day, new=(1, 10), **of)
    marts.build()
    assert one(marts, "marts.campaign_summary", TARGET) == ("playlist", None, "p1")
    # On the one day that promoted a track, nobody listened to another.
    assert one(marts, "marts.campaign_summary", "other_tracks_streams, other_tracks_stream_share") == (0, 0)
    columns = "report_date, is_promoted_track"
    days = [("2026-03-01", True), ("2026-03-02", False)]
    assert marts.rows("marts.track_engagement_daily", columns) == days


def test_campaign_whose_newest_day_is_undetermined_is_undetermined(marts: Marts) -> None:
    marts.country("2026-03-01", **TRACK)
    marts.engagement("2026-03-01", new=(1, 10), engaged_track_isrc="DEXW62500001", **TRACK)
    marts.engagement("2026-03-02", new=(1, 10), engaged_track_isrc=None, **UNDETERMINED)
    marts.build()
    assert one(marts, "marts.campaign_summary", TARGET) == (None, None, None)
    columns = "engaged_track_isrc, is_promoted_track"
    assert one(marts, "marts.track_engagement_summary", columns) == (None, False)


def test_newest_row_of_a_day_of_both_exports_is_the_one_generated_last_or_else_the_ads(marts: Marts) -> None:
    for campaign, ads_at, listening_at in (("c1", 3, 4), ("c2", 4, 3), ("c3", 3, 3)):
        of: dict[str, Any] = {"campaign_id": campaign}
        marts.country("2026-03-01", campaign_name="ads", exported_at=f"2026-03-02 0{ads_at}:00", **of)
        marts.country("2026-02-28", campaign_name="a day before", exported_at="2026-03-05 03:00", **of)
        marts.engagement("2026-03-01", campaign_name="listening", exported_at=f"2026-03-02 0{listening_at}:00", **of)
        marts.engagement("2026-03-01", OTHER, campaign_name="older", exported_at="2026-03-02 01:00", **of)
    marts.build()
    columns = "campaign_id, campaign_name"
    names = [("c1", "listening"), ("c2", "ads"), ("c3", "ads")]
    assert marts.rows("marts.campaign_summary", columns) == names
    assert marts.rows("marts.catalog_spillover", "distinct campaign_name") == [("listening",)]


def test_track_campaign_without_a_known_track_has_no_spillover_share(marts: Marts) -> None:
    marts.engagement("2026-03-01", OTHER, new=(2, 6), **target("track"))
    marts.build()
    columns = "other_streams, spillover_stream_share, spillover_listener_share"
    assert one(marts, "marts.catalog_spillover", columns) == (6, None, None)
    marts.engagement("2026-03-02", PROMOTED, new=(3, 6))
    marts.engagement("2026-03-02", OTHER, new=(1, 2))
    marts.build()
    assert one(marts, "marts.catalog_spillover", columns) == (8, 0.25, 0.25)
    columns = "other_tracks_streams, other_tracks_stream_share"
    assert one(marts, "marts.campaign_summary", columns) == (2, 0.25)


# A ratio counts the rows in which both sides are known

RATIOS = "ctr_adclick, ctr_linkclick, cpc_linkclick"
WITH_MONEY = ("campaign_daily", "country_daily", "campaign_summary", "country_summary")


def test_ratio_leaves_out_rows_of_which_one_side_is_unknown(marts: Marts) -> None:
    us: dict[str, Any] = {"impressions": 1000, "ad_clicks": 25, "link_clicks": 10, "spend_media": 5}
    de: dict[str, Any] = {"impressions": None, "ad_clicks": 990, "link_clicks": 40, "spend_media": 20}
    fr: dict[str, Any] = {"impressions": 9000, "ad_clicks": None, "link_clicks": None, "spend_media": 75}
    for code, counts in (("US", us), ("DE", de), ("FR", fr)):
        marts.country("2026-03-01", code, **counts)
    for day, counts in (("2026-03-02", us), ("2026-03-03", de), ("2026-03-04", fr)):
        marts.country(day, campaign_id="c2", **counts)
    marts.build()
    # 25 of the 1,000 impressions, 10 of them to a link; and 25 for the 50 link clicks that are known.
    assert one(marts, "marts.campaign_daily", RATIOS, "campaign_id = 'c1'") == (0.025, 0.01, 0.5)
    assert marts.rows("marts.campaign_summary", RATIOS) == [(0.025, 0.01, 0.5), (0.025, 0.01, 0.5)]
    assert marts.rows("marts.country_daily", f"report_date, {RATIOS}", "country_code = 'US'") == [
        ("2026-03-01", 0.025, 0.01, 0.5),
        ("2026-03-02", 0.025, 0.01, 0.5),
        ("2026-03-03", None, None, 0.5),
        ("2026-03-04", None, None, None),
    ]
    # The US over its days: twice us, de and fr.
    assert one(marts, "marts.country_summary", RATIOS, "country_code = 'US'") == (0.025, 0.01, 0.5)


def test_parts_of_a_ratio_add_up_to_the_ratio_of_more_rows(marts: Marts) -> None:
    marts.country("2026-03-01", "US", impressions=1000, ad_clicks=25, link_clicks=10, spend_media=5)
    marts.country("2026-03-01", "DE", impressions=None, ad_clicks=990, link_clicks=None, spend_media=95)
    marts.build()
    parts = "spend_media_with_link_clicks, link_clicks_with_impressions, impressions_with_link_clicks"
    parts += ", ad_clicks_with_impressions, impressions_with_ad_clicks"
    for mart in ("campaign_daily", "campaign_summary"):
        assert one(marts, f"marts.{mart}", parts) == (5, 10, 1000, 25, 1000)
    for mart in ("country_daily", "country_summary"):
        assert marts.rows(f"marts.{mart}", f"country_code, {parts}") == [
            ("DE", None, None, None, None, None),
            ("US", 5, 10, 1000, 25, 1000),
        ]


def test_ratio_of_which_no_row_knows_both_sides_is_null(marts: Marts) -> None:
    marts.country("2026-03-01", "US", impressions=1000, ad_clicks=None, link_clicks=None, spend_media=5)
    marts.country("2026-03-01", "DE", impressions=None, ad_clicks=990, link_clicks=0, spend_media=5)
    marts.build()
    for mart in ("campaign_daily", "campaign_summary"):
        assert one(marts, f"marts.{mart}", f"impressions, ad_clicks, {RATIOS}") == (1000, 990, None, None, None)


# Money is of one currency


def test_campaign_that_changes_its_currency_has_a_row_for_each_and_nothing_twice(marts: Marts) -> None:
    usd: dict[str, Any] = {"spend_media": 8, "spend_total": 10, "fees": 2, "followers": 4, "streams": 5}
    jpy: dict[str, Any] = {"spend_media": 800, "spend_total": 1001, "fees": 200, "followers": 2, "streams": 7}
    marts.country("2026-03-01", "US", **usd)
    marts.country("2026-03-02", "US", **usd, currency="USD")
    marts.country("2026-03-02", "DE", **jpy, currency="JPY", campaign_name="Renamed")
    marts.country("2026-03-03", "US", **jpy, currency="JPY", campaign_name="Renamed")
    marts.engagement("2026-03-02", new=(3, 6))
    marts.pulled(COUNTRY, "2026-03-01", "2026-03-02", delivery=OF_ROWS)
    marts.pulled(ENGAGEMENT, "2026-03-01", "2026-03-02")
    marts.pulled(COUNTRY, "2026-03-03", at="2026-03-04 07:00")
    marts.build()
    columns = "report_date, currency, countries, spend_total, followers, streams, cpf"
    assert marts.rows("marts.campaign_daily", columns) == [
        ("2026-03-01", "USD", 1, 10, 4, 5, 2),
        ("2026-03-02", "JPY", 1, 1001, 2, 7, 400),
        ("2026-03-02", "USD", 1, 10, 4, 5, 2),
        ("2026-03-03", "JPY", 1, 1001, 2, 7, 400),
    ]
    columns = "currency, campaign_name, first_report_date, days, spend_total, followers, streams, cpf, is_settled"
    assert marts.rows("marts.campaign_summary", columns) == [
        ("JPY", "Renamed", "2026-03-02", 2, 2002, 4, 14, 400, False),
        ("USD", "Renamed", "2026-03-01", 2, 20, 8, 10, 2, True),
    ]
    # Listening has no currency: it is in the row of the newest.
    columns = "currency, engagement_streams, engagement_new_listeners, other_tracks_streams"
    assert marts.rows("marts.campaign_summary", columns) == [("JPY", 6, 3, 0), ("USD", None, None, None)]
    columns = "country_code, currency, spend_total"
    expected = [("DE", "JPY", 1001), ("US", "JPY", 1001), ("US", "USD", 20)]
    assert marts.rows("marts.country_summary", columns) == expected
    assert marts.failing(singular=True) == []


def test_report_calls_a_campaign_as_its_summary_does_where_its_newest_day_has_two_currencies(marts: Marts) -> None:
    marts.country("2026-03-01", "DE", currency="EUR", campaign_name="Two")
    marts.country("2026-03-01", "US", currency="USD", campaign_name="One")
    marts.pulled(COUNTRY, "2026-03-01")
    marts.build()
    assert marts.rows("marts.campaign_summary", "currency, campaign_name") == [("EUR", "One"), ("USD", "One")]
    shown = read_figures(marts.connection, None).campaigns
    assert [(row["currency"], row["campaign_name"]) for row in shown] == [("EUR", "One"), ("USD", "One")]


def test_revision_curve_compares_money_within_its_currency(marts: Marts) -> None:
    for morning in ("2026-03-02 07:00", "2026-03-09 07:00"):
        marts.pulled(COUNTRY, "2026-03-01", at=morning)
    for code, currency, before, now in (("US", "USD", 6, 10), ("JP", "JPY", 900, 1000)):
        of: dict[str, Any] = {"currency": currency, "streams": 1, "_valid_from": "2026-03-02 07:00"}
        of["currency_account"] = {"USD": "EUR", "JPY": "GBP"}[currency]
        ended: dict[str, Any] = {"_valid_until": "2026-03-09 07:00"}
        marts.country("2026-03-01", code, table=f"{COUNTRY}_history", **of | {"spend_total": before} | ended)
        marts.country("2026-03-01", code, **of | {"spend_total": now, "_valid_from": "2026-03-09 07:00"})
    marts.build()
    columns = "measure, currency, currency_account, report_dates, value_then, value_settled, shortfall_share"
    found = marts.rows(
        "marts.revision_curve", columns, "days_after_close = 0 and measure in ('spend_total', 'streams')"
    )
    assert found == [
        ("spend_total", "JPY", "GBP", 1, 900, 1000, 0.1),
        ("spend_total", "USD", "EUR", 1, 6, 10, 0.4),
        ("streams", None, None, 1, 2, 2, 0),
    ]


def test_fees_may_differ_by_one_minor_unit_of_their_currency(marts: Marts) -> None:
    # QQQ is not in ISO 4217: two decimals.
    cases = ("USD 2.01", "USD 2.02", "JPY 3", "JPY 4", "KWD 2.001", "KWD 2.002", "CLF 2.0001", "CLF 2.0002")
    for case in (*cases, "QQQ 2.01", "QQQ 2.02"):
        currency, fees = case.split()
        money: dict[str, Any] = {"spend_media": 8, "spend_total": 10, "fees": Decimal(fees)}
        marts.country("2026-03-01", campaign_id=case, currency=currency, **money)
    marts.build()
    (test,) = (test for test in marts.project.tests if test.name == "fees_are_what_is_not_media")
    found = marts.rows(f"({marts.project.render_test(test)})", "campaign_id")
    assert found == [("CLF 2.0002",), ("JPY 4",), ("KWD 2.002",), ("QQQ 2.02",), ("USD 2.02",)]


# A code of no country


def test_code_that_iso_3166_does_not_assign_is_shown_as_unknown(marts: Marts) -> None:
    for code in ("US", "NA", "T1", "A2", "XK", "EU"):
        marts.country("2026-03-01", code, streams=1)
    marts.build()
    for mart in ("country_daily", "country_summary"):
        assert marts.rows(f"marts.{mart}", "country_code, country") == [
            ("A2", "unknown (A2)"),
            ("EU", "unknown (EU)"),
            ("NA", "NA"),
            ("T1", "unknown (T1)"),
            ("US", "US"),
            ("XK", "unknown (XK)"),
        ]
