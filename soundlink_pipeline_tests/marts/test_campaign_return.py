"""A distributor's statement beside the campaign's listening: each number to be checked by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from soundlink_pipeline_tests.marts.shared import ENGAGEMENT, Marts, one, playlist

MONTHS, TOTAL = "marts.campaign_return", "marts.campaign_return_summary"


def spend(marts: Marts, *days: str, currency: str = "USD", of: int = 50, campaign: str = "c1") -> None:
    for day in days:
        marts.country(day, currency=currency, spend_media=of, spend_total=of, campaign_id=campaign)


def plays(marts: Marts, day: str, streams: int, country: str = "US", isrc: str | None = "ISRC1", **of: str) -> None:
    marts.engagement(day, f"t-{isrc}", country, new=(1, streams), engaged_track_isrc=isrc, **playlist(1, **of))


def test_without_a_statement_there_are_no_rows(marts: Marts) -> None:
    spend(marts, "2026-02-10")
    plays(marts, "2026-02-10", 5)
    marts.build()
    assert marts.rows(MONTHS, "*") == marts.rows(TOTAL, "*") == []


def test_a_statement_is_joined_by_isrc_and_month(marts: Marts) -> None:
    spend(marts, "2026-02-10", "2026-03-05")
    plays(marts, "2026-02-09", 7)  # before the first spend, in the same month
    plays(marts, "2026-02-20", 100)
    plays(marts, "2026-03-05", 50)
    plays(marts, "2026-03-06", 30)  # after the last spend
    plays(marts, "2026-03-05", 99, isrc=None)
    plays(marts, "2026-03-05", 99, isrc="IN_NO_STATEMENT")
    for month, streams in (("2026-01", 500), ("2026-02", 1000), ("2026-03", 800), ("2026-04", 600)):
        marts.statement(month, streams, streams * 0.004)
    marts.statement("2026-02", 9000, 90, store="Apple Music")
    marts.statement("2026-02", 9000, 90, isrc="NOBODY_PLAYED")
    marts.build()
    assert marts.rows(MONTHS, "isrc, sale_month, period, statement_streams, statement_revenue") == [
        ("ISRC1", "2026-01-01", "before", 500, Decimal(2)),
        ("ISRC1", "2026-02-01", "during", 1000, Decimal(4)),
        ("ISRC1", "2026-03-01", "during", 800, Decimal("3.2")),
        ("ISRC1", "2026-04-01", "after", 600, Decimal("2.4")),
    ]
    counted = "campaign_streams_before, campaign_streams_during, campaign_streams_after"
    estimated = "attributed_share, attributed_revenue_estimate, later_revenue_estimate"
    assert marts.rows(MONTHS, f"sale_month, {counted}, {estimated}") == [
        ("2026-01-01", 0, 0, 0, 0, 0, 0),
        ("2026-02-01", 7, 100, 0, 0.1, Decimal("0.4"), 0),
        ("2026-03-01", 0, 50, 30, 0.0625, Decimal("0.2"), Decimal("0.12")),
        ("2026-04-01", 0, 0, 0, 0, 0, 0),
    ]
    assert one(marts, TOTAL, "tracks, months_before, months_during, months_after, statement_revenue") == (
        *(1, 1, 2, 1),
        Decimal("11.6"),
    )
    assert one(marts, TOTAL, "statement_streams_before, statement_streams_during, statement_streams_after") == (
        *(500, 1800, 600),
    )
    assert one(marts, TOTAL, "campaign_streams, matched_streams, priced_streams") == (348, 150, 150)
    assert one(marts, TOTAL, "revenue_per_stream, attributed_share, streams_per_month_during") == (
        *(0.004, 150 / 1800, 900),
    )
    assert one(marts, TOTAL, "spend_total, attributed_revenue_estimate, recoup_estimate") == (
        100,
        Decimal("0.6"),
        0.006,
    )
    assert one(marts, TOTAL, "recoup_with_later_estimate") == (0.0072,)
    assert marts.failing(singular=True) == ["rows_have_a_data_status"], "nothing was pulled here"


def test_a_stream_is_worth_what_its_own_country_pays(marts: Marts) -> None:
    spend(marts, "2026-02-10")
    for country, streams in (("US", 10), ("IN", 100), ("BR", 5)):
        plays(marts, "2026-02-10", streams, country)
    marts.statement("2026-02", 100, 1, "US")
    marts.statement("2026-02", 1000, 1, "IN")
    marts.build()
    # A tenth of each country's revenue; Brazil is in no row. At the mean of both, 110 streams would be 0.20.
    columns = "campaign_streams_during, priced_streams, attributed_revenue_estimate"
    assert one(marts, MONTHS, columns) == (115, 110, Decimal("0.2"))
    marts.statement("2026-02", 50, 2, None)
    marts.build()
    assert one(marts, MONTHS, columns) == (115, 115, Decimal("0.4")), "a tenth of the rest, too"


def test_no_more_than_all_of_the_revenue_is_attributed(marts: Marts) -> None:
    spend(marts, "2026-02-10")
    plays(marts, "2026-02-10", 300)
    plays(marts, "2026-02-11", 300)
    marts.statement("2026-02", 200, 1)
    marts.build()
    columns = "attributed_share, attributed_revenue_estimate, later_revenue_estimate"
    assert one(marts, MONTHS, columns) == (1.5, 1, 0)


@pytest.mark.parametrize("streams", [0, -5])
def test_a_month_without_streams_has_no_ratio_and_no_estimate(marts: Marts, streams: int) -> None:
    spend(marts, "2026-02-10")
    plays(marts, "2026-02-10", 5)
    marts.statement("2026-02", streams, "0.4")
    marts.build()
    found = one(marts, MONTHS, "statement_revenue, attributed_revenue_estimate, priced_streams")
    assert found == (Decimal("0.4"), 0, 0)
    if streams == 0:
        assert one(marts, MONTHS, "revenue_per_stream, attributed_share") == (None, None)


def test_currencies_are_kept_apart_and_recoup_is_only_of_what_was_spent_in_the_same(marts: Marts) -> None:
    spend(marts, "2026-02-10", of=10)
    plays(marts, "2026-02-10", 50, "US")
    plays(marts, "2026-02-10", 50, "DE")
    marts.statement("2026-02", 100, 4, "US")
    marts.statement("2026-02", 60, 3, "DE", currency="EUR")
    marts.statement("2026-02", 40, 2, "DE")  # a part of Germany is paid in dollars
    marts.build()
    columns = "currency, statement_streams, statement_streams_all_currencies, statement_revenue, attributed_share"
    assert marts.rows(MONTHS, columns) == [("EUR", 60, 200, 3, 0.5), ("USD", 140, 200, 6, 0.5)]
    assert marts.rows(MONTHS, "currency, attributed_revenue_estimate") == [
        ("EUR", Decimal("1.5")),  # half of Germany's listening, half of each of its revenues
        ("USD", Decimal("3.0")),
    ]
    assert marts.rows(TOTAL, "currency, spend_total, recoup_estimate") == [("EUR", None, None), ("USD", 10, 0.3)]
    spend(marts, "2026-02-11", currency="EUR", of=3)
    marts.build()
    assert marts.rows(TOTAL, "currency, spend_total, recoup_estimate") == [("EUR", 3, None), ("USD", 10, None)]


def test_a_track_of_two_campaigns_is_in_the_rows_of_each(marts: Marts) -> None:
    for campaign, streams in (("c1", 10), ("c2", 20)):
        spend(marts, "2026-02-10", campaign=campaign)
        plays(marts, "2026-02-10", streams, campaign_id=campaign)
    plays(marts, "2026-02-10", 30, campaign_id="spent-nothing")
    marts.statement("2026-02", 100, 1)
    marts.build()
    assert marts.rows(MONTHS, "campaign_id, statement_streams, attributed_share") == [
        ("c1", 100, 0.1),
        ("c2", 100, 0.2),
    ]
    assert "campaign_return_reconciles" not in marts.failing(singular=True)


def test_a_row_is_settled_once_its_days_are(marts: Marts) -> None:
    spend(marts, "2026-02-10")
    plays(marts, "2026-02-10", 10)
    plays(marts, "2026-03-01", 10)
    marts.pulled(ENGAGEMENT, "2026-02-10", "2026-02-28", at="2026-03-08 00:00")
    marts.pulled(ENGAGEMENT, "2026-03-01", at="2026-03-08 23:59")
    for month in ("2026-01", "2026-02", "2026-03"):
        marts.statement(month, 100, 1)
    marts.build()
    # Of days before the first that was pulled nobody asks.
    assert [settled for _, settled in marts.rows(MONTHS, "sale_month, is_settled")] == [True, True, False]
    assert one(marts, TOTAL, "is_settled") == (False,)


def test_a_month_is_not_settled_while_days_of_it_may_bring_listening(marts: Marts) -> None:
    for campaign in ("c1", "c2", "c3"):
        spend(marts, "2026-02-10", campaign=campaign)
        plays(marts, "2026-02-10", 10, campaign_id=campaign)
        marts.pulled(ENGAGEMENT, "2026-02-10", "2026-03-05", path=campaign)
    # The day of the end and 30 more: up to 2 April, and up to 5 March.
    life: dict[str, Any] = {"status": "ended", "campaign_duration": 1}
    marts.listed("c1", created_at="2026-02-10", updated_at="2026-03-03", **life)
    marts.listed("c2", created_at="2026-02-01", updated_at="2026-02-03", **life)
    for month in ("2026-02", "2026-03", "2026-04", "2026-05"):
        marts.statement(month, 100, 1)
    marts.build()
    assert marts.rows(MONTHS, "campaign_id, sale_month", "is_settled") == [
        ("c1", "2026-02-01"),
        ("c1", "2026-05-01"),  # long over
        ("c2", "2026-02-01"),
        ("c2", "2026-03-01"),
        ("c2", "2026-04-01"),
        ("c2", "2026-05-01"),
        ("c3", "2026-02-01"),  # whether it is over nothing says
    ]


def test_a_statement_that_is_there_twice_is_warned_of(marts: Marts) -> None:
    marts.statement("2026-02", 100, 1)
    marts.statement("2026-02", 20, 1)  # another row of the same file is none
    marts.build()
    assert "statement_rows_come_once" not in marts.failing()
    marts.statement("2026-02", 100, 1, file="again.csv")
    marts.build()
    assert "statement_rows_come_once" in marts.failing()
