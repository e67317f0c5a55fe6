"""The marts of single days: for each a few rows and the numbers that follow from them, to be checked by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline_tests.marts.shared import (
    COUNTRY,
    ENGAGEMENT,
    OTHER,
    PROMOTED,
    PROVISIONAL,
    RUNNING,
    SETTLED,
    Marts,
    one,
    playlist,
)

# campaign_daily


def test_campaign_day_sums_its_countries_and_divides_the_sums(marts: Marts) -> None:
    counts: dict[str, Any] = {
        "impressions": 1000,
        "ad_clicks": 40,
        "link_clicks": 20,
        "streams": 30,
        "listeners": 10,
        "followers": 4,
    }
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


def test_playlist_campaign_promotes_no_track_and_the_highest_place_counts(marts: Marts) -> None:
    for country, position in (("US", 7), ("DE", 5), ("FR", None)):
        marts.engagement("2026-03-01", PROMOTED, country, **playlist(position))
    marts.build()
    columns = "campaign_target_playlist_id, playlist_position, is_promoted_track, spl"
    assert one(marts, "marts.track_engagement_daily", columns) == ("p1", 5, False, 0)


# data_status

STATUS = "subjects_expected, subjects_pulled, is_complete, is_settled"


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


# Over on March 1.
ENDED: dict[str, Any] = {"status": "ended", "campaign_duration": 10}
ENDED |= {"created_at": "2026-02-01", "updated_at": "2026-03-01"}


@pytest.mark.parametrize(("export", "last", "after"), [(COUNTRY, "03-08", "03-09"), (ENGAGEMENT, "03-31", "04-01")])
def test_day_after_a_campaigns_tail_needs_no_further_pull(marts: Marts, export: str, last: str, after: str) -> None:
    # 7 days of attribution, 30 of listening.
    marts.listed("c1", **ENDED)
    marts.listed("c2", **RUNNING)
    for campaign, at in (("c1", "2026-03-10"), ("c2", SETTLED)):
        marts.pulled(export, f"2026-{last}", f"2026-{after}", path=campaign, at=at)
    marts.build()
    assert marts.rows("marts.data_status", f"report_date, {STATUS}, subjects_probed") == [
        (f"2026-{last}", 2, 2, True, False, 0),
        (f"2026-{after}", 1, 2, True, True, 1),
    ]


def test_campaign_that_is_only_probed_is_counted_and_never_waited_for(marts: Marts) -> None:
    marts.listed("c1", **ENDED)
    marts.listed("alias-c2", **ENDED)
    marts.listed("c3", **RUNNING)
    marts.pulled(ENGAGEMENT, "2026-05-01", "2026-05-03", path="c3", at="2026-06-01")
    marts.pulled(ENGAGEMENT, "2026-05-01", "2026-05-02", path="c1", at="2026-06-01", rows=0)
    marts.pulled(ENGAGEMENT, "2026-05-01", "2026-05-01", path="alias-c2", at="2026-06-01")
    columns = f"report_date, {STATUS}, subjects_probed"
    marts.build()
    assert marts.rows("marts.data_status", columns) == [
        ("2026-05-01", 1, 3, True, True, 2),
        ("2026-05-02", 1, 2, True, True, 1),
        ("2026-05-03", 1, 1, True, True, 0),
    ]
    # A row of 25 April: more are expected until 7 days later, in a build of all days and in one of some.
    marts.engagement("2026-04-25", campaign_id="c2")
    for dates in (None, DateRange(date(2026, 5, 1), date(2026, 5, 3))):
        marts.build(dates)
        assert marts.rows("marts.data_status", columns, "report_date >= '2026-05-01'") == [
            ("2026-05-01", 2, 3, True, True, 1),
            ("2026-05-02", 2, 2, False, False, 1),
            ("2026-05-03", 1, 1, True, True, 0),
        ]


def test_campaigns_of_fixed_ids_are_expected_on_every_day(marts: Marts) -> None:
    marts.listed("c1")
    marts.listed("c2")
    marts.pulled(COUNTRY, "2026-03-01", path="c1")
    marts.build()
    assert one(marts, "marts.data_status", STATUS) == (2, 1, False, False)


def test_day_is_told_with_its_rows_and_with_what_was_revised_and_what_vanished(marts: Marts) -> None:
    first, second = "2026-03-02 07:00", "2026-03-03 07:00"
    marts.pulled(COUNTRY, "2026-03-01", at=first)
    marts.pulled(COUNTRY, "2026-03-01", at=second)
    old, new = (identity for (identity,) in marts.rows("deliveries", "delivery_id"))
    marts.country("2026-03-01", "US", _delivery_id=new)
    marts.country("2026-03-01", "DE", _delivery_id=new)
    marts.vanished("2026-03-01", "FR", last_seen=old, vanished=new)
    for country, until in (("US", first), ("US", second), ("DE", second)):
        versions = {"_valid_until": until, "_delivery_id": old}
        marts.country("2026-03-01", country, table=f"{COUNTRY}_history", **versions)
    # That it was no longer delivered is no revision of its values.
    gone = {"_valid_until": second, "_delivery_id": old, "_vanished": True}
    marts.country("2026-03-01", "FR", table=f"{COUNTRY}_history", **gone)
    marts.build()
    columns = "export, rows, revised_keys, vanished_keys, last_pulled_at"
    assert one(marts, "marts.data_status", columns) == (COUNTRY, 2, 2, 1, "2026-03-03 07:00:00")
    assert one(marts, "marts.data_status", STATUS) == (0, 1, True, False)
