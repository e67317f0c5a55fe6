"""cohort, new_listeners_country_daily and costs: a few rows each, and what follows from them by hand."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline_tests.marts.shared import COUNTRY, ENGAGEMENT, OF_ROWS, OTHER, PROVISIONAL, Marts, one

COHORT, COSTS, NEW = "marts.cohort", "marts.costs", "marts.new_listeners_country_daily"


# cohort


def test_new_and_returning_listeners_are_told_by_week_since_the_start(marts: Marts) -> None:
    marts.engagement("2026-03-03", status="scheduled", new=(1, 1))
    # Wednesday: the week goes to Tuesday.
    marts.engagement("2026-03-04", new=(10, 20))
    marts.engagement("2026-03-10", new=(5, 5), returning=(5, 25))
    marts.engagement("2026-03-10", OTHER, new=(2, 2), returning=(3, 6))
    marts.engagement("2026-03-11", returning=(4, 8))
    marts.pulled(ENGAGEMENT, "2026-03-03", "2026-03-16", delivery=OF_ROWS)
    marts.build()
    columns = (
        "week_since_start, week_start_date, week_end_date, days, new_listeners, returning_listener_days, listener_days"
    )
    assert marts.rows(COHORT, columns) == [
        (-1, "2026-02-25", "2026-03-03", 1, 1, 0, 1),
        (0, "2026-03-04", "2026-03-10", 2, 17, 8, 25),
        (1, "2026-03-11", "2026-03-17", 1, 0, 4, 4),
    ]
    columns = (
        "promoted_new_listeners, promoted_returning_listener_days, new_listener_streams, returning_listener_streams"
    )
    assert one(marts, COHORT, f"{columns}, streams", "week_since_start = 0") == (15, 5, 27, 31, 58)
    columns = "new_share, returning_stream_share, streams_per_new_listener, streams_per_returning_listener_day"
    assert one(marts, COHORT, columns, "week_since_start = 1") == (0, 1, None, 2)
    # Pulled from the 3rd to the 16th: the first week lacks six days, and the last one.
    assert marts.rows(COHORT, "week_since_start, is_complete, is_settled") == [
        (-1, False, True),
        (0, True, True),
        (1, False, True),
    ]


def test_weeks_are_complete_when_every_day_on_which_rows_may_come_was_pulled(marts: Marts) -> None:
    for campaign in ("c1", "c2"):
        for day in ("2026-03-04", "2026-03-11"):
            marts.engagement(day, campaign_id=campaign, new=(1, 1))
        marts.pulled(ENGAGEMENT, "2026-03-04", "2026-03-08", path=campaign)
        marts.pulled(ENGAGEMENT, "2026-03-10", "2026-03-15", path=campaign)
    # Its links are played for 30 days after its end, up to 15 March.
    marts.listed("c1", status="ended", created_at="2026-01-01", updated_at="2026-02-13", campaign_duration=1)
    marts.build()
    assert marts.rows(COHORT, "campaign_id, week_since_start, is_complete") == [
        ("c1", 0, False),  # the 9th was not pulled
        ("c1", 1, True),
        ("c2", 0, False),
        ("c2", 1, False),  # not listed: the 16th and 17th may bring rows
    ]


def test_week_without_listeners_has_no_shares_and_campaigns_of_one_name_stay_apart(marts: Marts) -> None:
    marts.engagement("2026-03-04")
    marts.engagement("2026-03-04", campaign_id="c2", new=(3, 3), returning=(1, 2), account_id="a2")
    marts.build()
    columns = "campaign_id, account_id, campaign_name, listener_days, new_share, is_complete, is_settled"
    assert marts.rows(COHORT, columns) == [
        ("c1", "a1", "One", 0, None, False, False),
        ("c2", "a2", "One", 4, 0.75, False, False),
    ]


# new_listeners_country_daily


def test_new_listeners_are_told_by_account_country_and_day(marts: Marts) -> None:
    marts.engagement("2026-03-04", new=(10, 20), returning=(2, 9))
    marts.engagement("2026-03-04", OTHER, new=(4, 4))
    marts.engagement("2026-03-04", campaign_id="c2", new=(1, 1))
    marts.engagement("2026-03-04", country="T1", returning=(1, 1))
    marts.engagement("2026-03-04", campaign_id="c3", account_id="a2", new=(7, 7))
    marts.engagement("2026-03-06", new=(1, 1))
    for campaign in ("c1", "c2", "c3"):
        marts.pulled(ENGAGEMENT, "2026-03-04", "2026-03-05", path=campaign)
    marts.pulled(ENGAGEMENT, "2026-03-06", at=PROVISIONAL)
    marts.build()
    columns = "account_id, country, report_date, campaigns, new_listeners, returning_listeners, promoted_new_listeners"
    assert marts.rows(NEW, f"{columns}, new_listener_streams, returning_listener_streams, new_listener_share") == [
        ("a1", "US", "2026-03-04", 2, 15, 2, 11, 25, 9, pytest.approx(15 / 17)),
        ("a1", "US", "2026-03-06", 1, 1, 0, 1, 1, 0, 1),
        ("a1", "unknown (T1)", "2026-03-04", 1, 0, 1, 0, 0, 1, 0),
        ("a2", "US", "2026-03-04", 1, 7, 0, 7, 7, 0, 1),
    ]
    assert one(marts, NEW, "is_settled", "report_date = '2026-03-06'") == (False,)
    assert one(marts, NEW, "bool_and(is_settled)", "report_date = '2026-03-04'") == (True,)


def test_refresh_replaces_the_days_of_new_listeners_and_no_other(marts: Marts) -> None:
    for day in ("2026-03-04", "2026-03-05"):
        marts.engagement(day, new=(1, 1))
        marts.pulled(ENGAGEMENT, day)
    marts.build()
    marts.rows(NEW, "new_listeners")
    marts.connection.execute(f"update {ENGAGEMENT} set new_listeners = 9, listeners = 9")
    marts.build(DateRange(date(2026, 3, 5), date(2026, 3, 5)))
    assert marts.rows(NEW, "report_date, new_listeners") == [("2026-03-04", 1), ("2026-03-05", 9)]


# costs


def test_costs_are_of_the_day_and_the_six_before_it_with_fees_and_without(marts: Marts) -> None:
    day: dict[str, Any] = {"spend_media": 8, "spend_total": 10, "fees": 2}
    marts.country("2026-03-01", **day, followers=4, listeners=8, streams=16, link_clicks=2)
    marts.country("2026-03-07", **day, followers=0, listeners=8, streams=4, link_clicks=None)
    # The first of March is a day of this row's week no more.
    marts.country("2026-03-08", **day, followers=1, listeners=0, streams=0, link_clicks=6)
    marts.build()
    sums = "report_date, days_7d, spend_media_7d, spend_total_7d, followers_7d, listener_days_7d, streams_7d"
    assert marts.rows(COSTS, f"{sums}, link_clicks_7d") == [
        ("2026-03-01", 1, 8, 10, 4, 8, 16, 2),
        ("2026-03-07", 2, 16, 20, 4, 16, 20, 2),
        ("2026-03-08", 2, 16, 20, 1, 8, 4, 6),
    ]
    for unit, media, total in (
        ("follower", [2, 4, 16], [2.5, 5, 20]),
        ("listener_day", [1, 1, 2], [1.25, 1.25, 2.5]),
        ("stream", [0.5, 0.8, 4], [0.625, 1, 5]),
        # of the days on which clicks are known
        ("link_click", [4, 4, 8 / 6], [5, 5, 10 / 6]),
    ):
        columns = f"report_date, media_cost_per_{unit}_7d, total_cost_per_{unit}_7d"
        assert [row[1:] for row in marts.rows(COSTS, columns)] == list(zip(media, total, strict=True)), unit
    assert "costs_are_of_seven_days" not in marts.failing(singular=True)


def test_cost_of_nothing_is_none_and_currencies_and_campaigns_stay_apart(marts: Marts) -> None:
    marts.country("2026-03-01", spend_media=8, spend_total=10, link_clicks=None)
    marts.country("2026-03-02", spend_media=900, spend_total=1000, followers=10, currency="JPY")
    marts.country("2026-03-02", spend_media=5, spend_total=6, followers=5, campaign_id="c2")
    marts.build()
    columns = "campaign_id, currency, spend_total_7d, media_cost_per_follower_7d, media_cost_per_link_click_7d"
    assert marts.rows(COSTS, columns) == [
        ("c1", "JPY", 1000, 90, None),
        ("c1", "USD", 10, None, None),
        ("c2", "USD", 6, 1, None),
    ]


def test_costs_are_final_where_all_seven_days_are(marts: Marts) -> None:
    for day, at in (
        ("2026-03-01", PROVISIONAL),
        ("2026-03-07", "2026-05-01 07:00"),
        ("2026-03-08", "2026-05-01 07:00"),
    ):
        marts.country(day)
        marts.pulled(COUNTRY, day, at=at)
    marts.build()
    assert marts.rows(COSTS, "report_date, is_settled") == [
        ("2026-03-01", False),
        ("2026-03-07", False),
        ("2026-03-08", True),
    ]
