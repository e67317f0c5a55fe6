"""campaign_pacing: what was spent so far against budget and time. Ten days of 100 USD, unless a test says otherwise."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from soundlink_pipeline_tests.marts.shared import COUNTRY, OF_ROWS, PROVISIONAL, Marts

PACING = "marts.campaign_pacing"
LISTED: dict[str, Any] = {
    "status": "active",
    "created_at": "2026-03-01",
    "updated_at": "2026-03-01",
    "campaign_duration": 10,
    "daily_budget": 10,
    "total_budget": 100,
}


def spend(marts: Marts, day: int, total: float, **changes: Any) -> None:
    marts.country(f"2026-03-{day:02}", spend_media=total * 0.8, spend_total=total, fees=total * 0.2, **changes)


def test_spend_to_date_is_held_against_budget_and_time(marts: Marts) -> None:
    for day, total in ((1, 10), (2, 12), (4, 8)):
        spend(marts, day, total)
    marts.pulled(COUNTRY, "2026-03-01", "2026-03-05", delivery=OF_ROWS)
    marts.listed("c1", **LISTED)
    marts.build()
    columns = "report_date, spend_total, spend_media_to_date, spend_total_to_date, time_share, budget_share"
    assert marts.rows(PACING, f"{columns}, projected_spend_total, state") == [
        ("2026-03-01", 10, 8, 10, 0.1, 0.1, 100, "on pace"),
        ("2026-03-02", 12, Decimal("17.6"), 22, 0.2, 0.22, 110, "on pace"),
        # Days that were pulled and have no row: nothing was spent, and time goes on.
        ("2026-03-03", 0, Decimal("17.6"), 22, 0.3, 0.22, Decimal("73.333333"), "under"),
        ("2026-03-04", 8, 24, 30, 0.4, 0.3, 75, "under"),
        ("2026-03-05", 0, 24, 30, 0.5, 0.3, 60, "under"),
    ]
    # Two tenths of what was spent are fees.
    assert [row for (row,) in marts.rows(PACING, "round(media_budget_share, 9)")] == [0.08, 0.176, 0.176, 0.24, 0.24]
    assert marts.failing(singular=True) == []


def test_state_is_on_pace_within_a_tenth(marts: Marts) -> None:
    states = {8.99: "under", 9: "on pace", 10: "on pace", 11: "on pace", 11.01: "over"}
    for number, spent in enumerate(states):
        spend(marts, 1, spent, campaign_id=f"c{number}")
        marts.pulled(COUNTRY, "2026-03-01", path=f"c{number}")
        marts.listed(f"c{number}", **LISTED)
    marts.build()
    assert marts.rows(PACING, "campaign_id, state") == [(f"c{n}", state) for n, state in enumerate(states.values())]


def test_time_begins_with_the_first_spend_and_ends_a_duration_later(marts: Marts) -> None:
    marts.country("2026-03-02", streams=1)
    for day in (3, 4):
        spend(marts, day, 10)
    marts.pulled(COUNTRY, "2026-03-01", "2026-03-20")
    marts.listed("c1", **LISTED | {"campaign_duration": 4})
    marts.build()
    assert marts.rows(
        PACING, "report_date, run_start_date, run_end_date, time_share, projected_spend_total, state"
    ) == [
        ("2026-03-01", "2026-03-03", "2026-03-06", 0, None, None),
        ("2026-03-02", "2026-03-03", "2026-03-06", 0, None, None),
        ("2026-03-03", "2026-03-03", "2026-03-06", 0.25, 40, "under"),
        ("2026-03-04", "2026-03-03", "2026-03-06", 0.5, 40, "under"),
        ("2026-03-05", "2026-03-03", "2026-03-06", 0.75, Decimal("26.666667"), "under"),
        ("2026-03-06", "2026-03-03", "2026-03-06", 1, 20, "under"),
        # One day more says that it is over; others that were pulled say nothing new.
        ("2026-03-07", "2026-03-03", "2026-03-06", 1, 20, "ended"),
    ]


def test_campaign_that_was_stopped_has_ended_after_its_last_spend(marts: Marts) -> None:
    for day in (1, 2):
        spend(marts, day, 10)
    marts.country("2026-03-03", streams=4)
    marts.pulled(COUNTRY, "2026-03-01", "2026-03-03")
    marts.listed("c1", **LISTED | {"status": "stopped"})
    marts.build()
    columns = "report_date, state, projected_spend_total"
    assert marts.rows(PACING, columns) == [
        ("2026-03-01", "on pace", 100),
        ("2026-03-02", "on pace", 100),
        ("2026-03-03", "ended", 20),
    ]


def test_campaign_that_spends_on_after_its_time_has_no_state(marts: Marts) -> None:
    for day in (1, 2, 3, 4):
        spend(marts, day, 10)
    marts.pulled(COUNTRY, "2026-03-01", "2026-03-04")
    marts.listed("c1", **LISTED | {"campaign_duration": 2, "total_budget": 20})
    marts.build()
    assert marts.rows(PACING, "report_date, budget_share, state, projected_spend_total") == [
        ("2026-03-01", 0.5, "on pace", 20),
        ("2026-03-02", 1, "on pace", 20),
        ("2026-03-03", 1.5, None, None),
        ("2026-03-04", 2, None, None),
    ]


def test_days_that_were_never_pulled_leave_the_state_open(marts: Marts) -> None:
    for day in (3, 4):
        spend(marts, day, 10)
    marts.pulled(COUNTRY, "2026-03-03", "2026-03-04")
    marts.listed("c1", **LISTED)
    marts.build()
    assert marts.rows(PACING, "report_date, days_not_pulled, spend_total_to_date, state, projected_spend_total") == [
        ("2026-03-03", 2, 10, None, None),
        ("2026-03-04", 2, 20, None, None),
    ]


def test_without_budget_duration_or_listing_there_is_spend_and_no_state(marts: Marts) -> None:
    no_total = LISTED | {"total_budget": None}
    listings = {"c1": LISTED | {"campaign_duration": None}, "c2": no_total | {"daily_budget": None}, "c3": no_total}
    listings["c4"] = LISTED | {"total_budget": 0}
    for campaign in ("c1", "c2", "c3", "c4", "c5"):
        spend(marts, 1, 10, campaign_id=campaign)
        marts.pulled(COUNTRY, "2026-03-01", path=campaign)
    for campaign, listed in listings.items():
        marts.listed(campaign, **listed)
    marts.build()
    columns = "campaign_id, spend_total_to_date, total_budget, time_share, budget_share, projected_spend_total, state"
    assert marts.rows(PACING, columns) == [
        ("c1", 10, 100, None, 0.1, None, None),
        ("c2", 10, None, 0.1, None, 100, None),
        # ten times the daily budget
        ("c3", 10, 100, 0.1, 0.1, 100, "on pace"),
        ("c4", 10, 0, 0.1, None, 100, None),
        ("c5", 10, None, None, None, None, None),
    ]


def test_budget_says_nothing_of_another_currency_or_of_a_part(marts: Marts) -> None:
    spend(marts, 1, 1000, campaign_id="c1", currency="JPY")
    spend(marts, 1, 5, campaign_id="c2")
    spend(marts, 2, 700, campaign_id="c2", currency="JPY")
    for campaign in ("c1", "c2"):
        marts.listed(campaign, **LISTED)
        marts.pulled(COUNTRY, "2026-03-01", "2026-03-02", path=campaign)
    marts.build()
    columns = "campaign_id, currency, report_date, spend_total_to_date, total_budget, budget_share, state"
    assert marts.rows(PACING, columns) == [
        ("c1", "JPY", "2026-03-01", 1000, None, None, None),
        ("c1", "JPY", "2026-03-02", 1000, None, None, None),
        ("c2", "JPY", "2026-03-01", 0, None, None, None),
        ("c2", "JPY", "2026-03-02", 700, None, None, None),
        ("c2", "USD", "2026-03-01", 5, None, None, None),
        ("c2", "USD", "2026-03-02", 5, None, None, None),
    ]


def test_spend_to_date_is_final_where_all_days_are(marts: Marts) -> None:
    for day in (1, 2, 3):
        spend(marts, day, 10)
    marts.pulled(COUNTRY, "2026-03-01")
    marts.pulled(COUNTRY, "2026-03-02", at=PROVISIONAL)
    marts.pulled(COUNTRY, "2026-03-03")
    marts.build()
    assert marts.rows(PACING, "report_date, is_settled") == [
        ("2026-03-01", True),
        ("2026-03-02", False),
        ("2026-03-03", False),
    ]


def test_campaign_that_is_listed_under_another_id_has_its_budget_and_its_days(marts: Marts) -> None:
    for campaign, total in (("c1", 10), ("c2", 20)):
        spend(marts, 1, total, campaign_id=campaign, campaign_name="Same")
        marts.listed(f"alias-{campaign}", row_campaign_id=campaign, **LISTED)
        marts.pulled(COUNTRY, "2026-03-01", path=f"alias-{campaign}")
    marts.build()
    assert marts.rows(PACING, "campaign_id, campaign_name, days_not_pulled, state") == [
        ("c1", "Same", 0, "on pace"),
        ("c2", "Same", 0, "over"),
    ]


def test_listing_beyond_all_measure_costs_itself_alone(marts: Marts) -> None:
    no_total = LISTED | {"total_budget": None}
    listings = {
        "c1": no_total | {"campaign_duration": 9 * 10**18, "daily_budget": 10**11},
        "c2": no_total | {"campaign_duration": 10, "daily_budget": 999_999_999_999},
        "c3": LISTED | {"campaign_duration": 99_999},
        "c4": no_total | {"campaign_duration": -10},
        "c5": LISTED | {"total_budget": -100},
        "c6": LISTED,
    }
    for campaign, listed in listings.items():
        spend(marts, 1, 10**9 if campaign == "c3" else 10, campaign_id=campaign)
        marts.pulled(COUNTRY, "2026-03-01", path=campaign)
        marts.listed(campaign, **listed)
    marts.build()
    columns = "campaign_id, total_budget, round(time_share, 9), budget_share, projected_spend_total, state"
    assert marts.rows(PACING, columns) == [
        # No time is that long, and no column of a mart holds that much.
        ("c1", None, None, None, None, None),
        ("c2", None, 0.1, None, 100, None),
        ("c3", 100, 0.00001, 10**7, None, "over"),
        # What is no duration and no budget says nothing.
        ("c4", None, None, None, None, None),
        ("c5", -100, 0.1, None, 100, None),
        ("c6", 100, 0.1, 0.1, 100, "on pace"),
    ]


def test_part_of_a_campaign_in_one_of_its_currencies_goes_nowhere_of_its_own(marts: Marts) -> None:
    spend(marts, 1, 10)
    spend(marts, 2, 9, currency="EUR")
    marts.pulled(COUNTRY, "2026-03-01", "2026-03-12")
    marts.listed("c1", **LISTED)
    marts.build()
    columns = "currency, report_date, projected_spend_total, state"
    found = marts.rows(PACING, columns, "report_date in ('2026-03-01', '2026-03-02', '2026-03-11')")
    assert found == [
        ("EUR", "2026-03-01", None, None),
        ("EUR", "2026-03-02", None, None),
        ("EUR", "2026-03-11", 9, "ended"),
        ("USD", "2026-03-01", None, None),
        ("USD", "2026-03-02", None, None),
        ("USD", "2026-03-11", 10, "ended"),
    ]
