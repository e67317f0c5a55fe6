"""campaign_weekly and country_weekly: ISO weeks, which begin on Monday. 2 March 2026 is one."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from soundlink_pipeline_tests.marts.shared import COUNTRY, PROVISIONAL, RUNNING, Marts, one

CAMPAIGN, PLACE = "marts.campaign_weekly", "marts.country_weekly"


def test_week_begins_on_monday_and_is_held_against_the_one_before(marts: Marts) -> None:
    sunday: dict[str, Any] = {
        "streams": 10,
        "listeners": 4,
        "followers": 2,
        "spend_media": 8,
        "spend_total": 10,
        "fees": 2,
    }
    monday: dict[str, Any] = {
        "streams": 15,
        "listeners": 5,
        "followers": 3,
        "spend_media": 6,
        "spend_total": 8,
        "fees": 2,
    }
    marts.country("2026-03-08", **sunday)
    marts.country("2026-03-09", **monday)
    marts.country("2026-03-10", **monday)
    # a gap of a week
    marts.country("2026-03-23", **sunday)
    marts.build()
    columns = "week_start_date, week_end_date, days, streams, listener_days, followers, spend_media, spend_total"
    expected = [
        ("2026-03-02", "2026-03-08", 1, 10, 4, 2, 8, 10),
        ("2026-03-09", "2026-03-15", 2, 30, 10, 6, 12, 16),
        ("2026-03-23", "2026-03-29", 1, 10, 4, 2, 8, 10),
    ]
    changes = "streams_before, streams_change, spend_total_before, spend_total_change, followers_change"
    for mart in (CAMPAIGN, PLACE):
        assert marts.rows(mart, columns) == expected, mart
        assert marts.rows(mart, changes) == [
            (10, 2, 10, 0.6, 2),
            (None, None, None, None, None),
            (None, None, None, None, None),
        ], mart
        ratios = "streams_per_listener_day, cost_per_listener_day, cost_per_follower"
        assert one(marts, mart, ratios, "days = 2") == (3, 1.2, 2), mart


def test_nothing_to_divide_by_makes_no_ratio_and_no_change(marts: Marts) -> None:
    marts.country("2026-03-02", spend_media=5, impressions=None)
    marts.country("2026-03-09", followers=3)
    marts.build()
    columns = "impressions, cost_per_follower, cost_per_listener_day, followers_before, followers_change"
    for mart in (CAMPAIGN, PLACE):
        assert marts.rows(mart, columns) == [(0, 0, None, 0, None), (None, None, None, None, None)], mart


def test_campaigns_week_is_complete_when_all_its_days_were_pulled(marts: Marts) -> None:
    for day in ("2026-03-02", "2026-03-09", "2026-03-16"):
        marts.country(day)
    marts.listed("c1", **RUNNING)
    marts.pulled(COUNTRY, "2026-03-02", "2026-03-17")
    marts.build()
    columns = "week_start_date, days_pulled, is_complete, is_comparable"
    assert marts.rows(CAMPAIGN, columns) == [
        ("2026-03-02", 7, True, False),
        ("2026-03-09", 7, True, True),
        ("2026-03-16", 2, False, False),
    ]


def test_days_outside_of_a_campaigns_life_are_not_waited_for(marts: Marts) -> None:
    # From Thursday, 5 March, to Tuesday, 17 March: 3 days, and 7 days of attribution after the 10th.
    life: dict[str, Any] = {"status": "ended", "created_at": "2026-03-05", "updated_at": "2026-03-10"}
    for day in ("2026-03-05", "2026-03-09", "2026-03-16"):
        marts.country(day)
    marts.listed("c1", campaign_duration=1, **life)
    marts.pulled(COUNTRY, "2026-03-05", "2026-03-17")
    marts.build()
    columns = "week_start_date, days_pulled, is_complete, is_comparable"
    assert marts.rows(CAMPAIGN, columns) == [
        # complete, and no measure for a whole week
        ("2026-03-02", 4, True, False),
        ("2026-03-09", 7, True, False),
        ("2026-03-16", 2, True, False),
    ]


def test_countrys_week_is_complete_when_every_campaign_of_the_account_was_pulled(marts: Marts) -> None:
    for account, campaigns in (("acme", ("c1", "c2")), ("bolt", ("c3",))):
        for campaign in campaigns:
            marts.listed(campaign, account=account, **RUNNING)
            delivery = f"of-{campaign}"
            until = "2026-03-14" if campaign == "c2" else "2026-03-15"
            marts.pulled(COUNTRY, "2026-03-02", until, path=campaign, account=account, delivery=delivery)
            for day in ("2026-03-02", "2026-03-09"):
                names = {"account_id": f"org-{account}", "campaign_id": campaign}
                marts.country(day, streams=1, **names, _delivery_id=delivery)
    marts.build()
    columns = "account_id, week_start_date, streams, days_pulled, is_complete, is_comparable"
    assert marts.rows(PLACE, columns) == [
        ("org-acme", "2026-03-02", 2, 7, True, False),
        ("org-acme", "2026-03-09", 2, 6, False, False),
        ("org-bolt", "2026-03-02", 1, 7, True, False),
        ("org-bolt", "2026-03-09", 1, 7, True, True),
    ]


def test_week_is_of_one_campaign_and_one_currency(marts: Marts) -> None:
    marts.country("2026-03-02", spend_total=10)
    marts.country("2026-03-03", spend_total=900, currency="JPY")
    marts.country("2026-03-03", spend_total=5, campaign_id="c2")
    marts.build()
    assert marts.rows(CAMPAIGN, "campaign_id, campaign_name, currency, spend_total") == [
        ("c1", "One", "JPY", 900),
        ("c1", "One", "USD", 10),
        ("c2", "One", "USD", 5),
    ]
    assert marts.rows(PLACE, "country_code, currency, spend_total") == [("US", "JPY", 900), ("US", "USD", 15)]


def test_week_is_final_where_all_its_days_are(marts: Marts) -> None:
    for number, at in enumerate(("2026-05-01 07:00", PROVISIONAL)):
        day = str(date(2026, 3, 2) + timedelta(days=number))
        marts.country(day)
        marts.pulled(COUNTRY, day, at=at)
    marts.country("2026-03-09")
    marts.pulled(COUNTRY, "2026-03-09")
    marts.build()
    for mart in (CAMPAIGN, PLACE):
        assert marts.rows(mart, "days_settled, is_settled") == [(1, False), (1, True)], mart
