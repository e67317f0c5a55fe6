"""What the listing knows of a campaign stands in its summary, whichever id it is listed under."""

from __future__ import annotations

from typing import Any

from soundlink_pipeline_tests.marts.shared import Marts, one

SUMMARY = "marts.campaign_summary"
LISTED: dict[str, Any] = {
    "status": "active",
    "created_at": "2026-02-27 10:00",
    "updated_at": "2026-03-01",
    "campaign_duration": 30,
    "daily_budget": 20,
    "total_budget": 600,
    "artist_id": "artist",
    "artist_name": "Ann",
    "strategy_type": "maximum_growth",
}


def test_summary_has_what_the_listing_says_under_an_alias_too(marts: Marts) -> None:
    marts.country("2026-03-01", streams=1)
    marts.country("2026-03-03", spend_total=10, currency_account="EUR")
    marts.listed("camp_alias", row_campaign_id="c1", account="acme", **LISTED)
    marts.build()
    columns = "account, listed_campaign_id, status, artist_id, artist_name, strategy_type"
    assert one(marts, SUMMARY, columns) == ("acme", "camp_alias", "active", "artist", "Ann", "maximum_growth")
    # 30 days from 27 February are its 2 days and 28 of March.
    columns = "start_date, first_report_date, first_spend_date, end_date, campaign_duration"
    assert one(marts, SUMMARY, columns) == ("2026-02-27", "2026-03-01", "2026-03-03", "2026-03-28", 30)
    assert one(marts, SUMMARY, "daily_budget, total_budget, currency, currency_account") == (20, 600, "USD", "EUR")


def test_campaign_that_nobody_lists_has_its_numbers_and_no_listing(marts: Marts) -> None:
    marts.country("2026-03-01", spend_total=10)
    marts.listed("c2", **LISTED)
    marts.build()
    columns = "campaign_id, spend_total, account, listed_campaign_id, status, start_date, end_date, total_budget"
    assert marts.rows(SUMMARY, columns) == [("c1", 10, None, None, None, None, None, None)]


def test_two_campaigns_of_one_name_keep_their_own_budgets(marts: Marts) -> None:
    for campaign, budget in (("c1", 100), ("c2", 200), ("c3", None)):
        marts.country("2026-03-01", campaign_id=campaign, spend_total=10, campaign_name="Same")
        marts.listed(campaign, **LISTED | {"total_budget": budget})
    marts.build()
    columns = "campaign_id, campaign_name, total_budget"
    assert marts.rows(SUMMARY, columns) == [("c1", "Same", 100), ("c2", "Same", 200), ("c3", "Same", None)]


def test_campaign_that_two_accounts_list_is_one_row_of_what_is_listed_now(marts: Marts) -> None:
    marts.country("2026-03-01", spend_total=10)
    # acme lists it no longer: its newest listing holds another.
    marts.listed("c1", listed_at="2026-05-02", account="acme", **LISTED | {"status": "ended"})
    marts.listed("c9", listed_at="2026-05-03", account="acme", **LISTED)
    marts.listed("c1", listed_at="2026-05-01", account="bolt", **LISTED)
    marts.build()
    assert marts.rows(SUMMARY, "campaign_id, account, status") == [("c1", "bolt", "active")]


def test_budget_stands_beside_dollars_only(marts: Marts) -> None:
    marts.country("2026-03-01", spend_total=10)
    marts.country("2026-03-02", spend_total=900, currency="JPY")
    marts.engagement("2026-03-02", campaign_id="c2", new=(1, 1))
    for campaign in ("c1", "c2"):
        marts.listed(campaign, **LISTED)
    marts.build()
    assert marts.rows(SUMMARY, "campaign_id, currency, daily_budget, total_budget") == [
        ("c1", "JPY", None, None),
        ("c1", "USD", 20, 600),
        ("c2", None, 20, 600),
    ]


def test_odd_duration_makes_no_end(marts: Marts) -> None:
    for number, duration in enumerate((None, 0, 1, 10**12)):
        marts.country("2026-03-01", campaign_id=f"c{number}")
        marts.listed(f"c{number}", **LISTED | {"campaign_duration": duration})
    marts.build()
    assert marts.rows(SUMMARY, "campaign_id, end_date") == [
        ("c0", None),
        ("c1", None),
        ("c2", "2026-02-27"),
        ("c3", None),
    ]


def test_billing_currency_stands_wherever_a_currency_does_and_is_the_newest(marts: Marts) -> None:
    marts.country("2026-03-01", currency_account="EUR")
    marts.country("2026-03-02", currency_account="GBP")
    marts.build()
    for mart in ("campaign_daily", "country_daily", "campaign_pacing", "costs"):
        found = marts.rows(f"marts.{mart}", "report_date, currency, currency_account")
        assert found in ([("2026-03-01", "USD", "EUR"), ("2026-03-02", "USD", "GBP")], PACED), mart
    for mart in ("campaign_summary", "country_summary", "campaign_weekly", "country_weekly"):
        found = marts.rows(f"marts.{mart}", "currency_account")
        assert max(found) == ("GBP",), mart
    described = marts.connection.execute(
        "select table_name, list(column_name) from duckdb_columns() where schema_name = 'marts' group by all"
    ).fetchall()
    without = {name for name, columns in described if "currency" in columns and "currency_account" not in columns}
    # A statement's currency is the distributor's; estimates stand beside rows that say it.
    assert without == {"campaign_return", "campaign_return_summary"} | {
        "settling_days",
        "settling_factors",
        "settled_estimates",
    }


# A campaign's pacing is of the campaign: its newest billing currency.
PACED = [("2026-03-01", "USD", "GBP"), ("2026-03-02", "USD", "GBP")]
