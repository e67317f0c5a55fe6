"""Soundlink's own totals held against the loaded rows: which days are summed, and what makes a difference."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.overview import FIGURES
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.quality.totals import (
    PARTS,
    Difference,
    LiveCampaigns,
    SettledTotals,
    compare,
    part_of,
    settled_totals,
)
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import Row, arrival, load, row, save

LISTED = datetime(2026, 5, 10, 7, tzinfo=UTC)
OLD = {"createdAt": "2026-01-01T00:00:00Z", "status": "active"}
NAMES = {figure.name for figure in FIGURES}


def april(day: int) -> date:
    return date(2026, 4, day)


def country(day: int, code: str = "US", **changes: Any) -> Row:
    """A country's row, 10 streams, 4 listeners, 1 follower, 100 impressions, 8 and 5 clicks, 1.10 + 0.20 USD."""
    plain = {"streams": 10, "listeners": 4, "followers": 1, "impressions": 100, "ad_clicks": 8, "link_clicks": 5}
    money = {"spend_media": 1.10, "spend_total": 1.30, "fees": 0.20}
    return row(report_date=str(april(day)), country_code=code, campaign_id="u-1", **(plain | money | changes))


class Books:
    """A warehouse with what was listed and pulled in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.warehouse = NativeFile(folder / "data", wait_seconds=0)

    def listing(self, *campaigns: dict[str, Any], at: datetime = LISTED) -> None:
        lines = [json.dumps({**OLD, **campaign}).encode() for campaign in campaigns]
        save(self.warehouse, Landing(self.folder / "data").land_listing(CAMPAIGN, lines, at, None, f"run-{at:%d}"))

    def pull(
        self, rows: list[Row], first: int, last: int, pulled: str = "2026-05-09", campaign: str = "camp_1"
    ) -> None:
        dates, moment = DateRange(april(first), april(last)), datetime.fromisoformat(f"{pulled}T07:00:00Z")
        done = load(self.warehouse, arrival(self.folder / "in", rows, campaign=campaign, dates=dates, pulled=moment))
        assert done.rejected == []

    def live(self, part: int | None = None) -> LiveCampaigns:
        with self.warehouse.read() as connection:
            return settled_totals(connection, part)

    def only(self) -> SettledTotals:
        (found,) = self.live().due
        return found


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path)


# Which rows are summed


def test_the_settled_rows_of_a_campaign_are_summed_over_its_days_and_countries(books: Books) -> None:
    books.listing({"campaignId": "camp_1"})
    books.pull([country(1), country(1, "NA"), country(3, streams=7, ad_clicks=None)], 1, 4)
    found = books.only()
    assert (found.campaign_id, found.name, found.dates) == ("camp_1", "Sleep Playlist", DateRange(april(1), april(4)))
    counts = {"streams": 27, "listeners": 12, "followers": 3, "impressions": 300, "ad_clicks": 16, "link_clicks": 15}
    money = {"spend_media": Decimal("3.30"), "spend_total": Decimal("3.90"), "fees": Decimal("0.60")}
    assert found.sums == counts | money
    assert found.sums.keys() == NAMES
    assert found.incomplete == {"ad_clicks"}
    assert found.currencies == ("USD",)


def test_days_that_are_not_settled_or_not_pulled_end_the_range(books: Books) -> None:
    books.listing({"campaignId": "camp_1"})
    # Pulled once settled: 1 to 3 and, after a gap, 6 to 9. Day 10 was pulled before it settled on the 18th.
    books.pull([country(2, streams=1)], 1, 3)
    books.pull([country(6, streams=20), country(9, streams=300)], 6, 9, "2026-04-17")
    books.pull([country(10, streams=4000)], 10, 12, "2026-04-17")
    found = books.only()
    assert (found.dates, int(found.sums["streams"])) == (DateRange(april(6), april(9)), 320)
    # A later pull closes the gap, and settles what was open.
    books.pull([], 4, 5)
    books.pull([country(10, streams=5000)], 10, 12)
    found = books.only()
    assert (found.dates, int(found.sums["streams"])) == (DateRange(april(1), april(12)), 5321)


def test_settled_days_without_a_row_add_up_to_nothing(books: Books) -> None:
    books.listing({"campaignId": "camp_1", "artistName": "Ann", "trackName": "Sun"})
    books.pull([], 1, 4)
    found = books.only()
    assert (found.dates, set(found.sums.values())) == (DateRange(april(1), april(4)), {Decimal(0)})
    assert (found.name, found.incomplete, found.currencies) == ("Ann, Sun", frozenset(), ())
    assert compare(found, {"streams": 0, "spend_media": 0, "currency": "EUR"}).differences == []


def test_only_campaigns_that_are_listed_live_and_settled_are_due(books: Books) -> None:
    books.listing({"campaignId": "gone"}, at=datetime(2026, 5, 1, 7, tzinfo=UTC))
    ended = {"status": "ended", "campaignDuration": 10, "updatedAt": "2026-01-11T00:00:00Z"}
    books.listing(
        {"campaignId": "camp_1"}, {"campaignId": "new"}, {"campaignId": "open"}, {"campaignId": "old"} | ended
    )
    for campaign in ("camp_1", "gone", "old"):
        books.pull([], 1, 4, campaign=campaign)
    books.pull([], 1, 4, "2026-04-05", campaign="open")
    found = books.live()
    assert [totals.campaign_id for totals in found.due] == ["camp_1"]
    assert found.ids == {"camp_1", "new", "open"}


def test_a_part_holds_the_campaigns_that_belong_to_it(books: Books) -> None:
    books.listing({"campaignId": "camp_1"}, {"campaignId": "camp_2"}, {"campaignId": "camp_3"})
    books.pull([], 1, 1, campaign="camp_1")
    books.pull([], 1, 1, campaign="camp_2")
    found = {part: [totals.campaign_id for totals in books.live(part).due] for part in (None, 1, 2, 6)}
    assert found == {None: ["camp_1", "camp_2"], 1: [], 2: ["camp_2"], 6: ["camp_1"]}


def test_campaigns_are_spread_evenly_over_the_parts_and_stay_in_theirs() -> None:
    parts = Counter(part_of(f"camp_{number}") for number in range(7000))
    assert sorted(parts) == list(range(PARTS))
    assert all(900 < size < 1100 for size in parts.values())
    assert part_of("f1e28d31-c358-4284-9bef-00a2334625fd") == 0


# What makes a difference


def totals(sums: dict[str, Any] | None = None, **how: Any) -> SettledTotals:
    known = dict.fromkeys(NAMES, Decimal(100)) | {name: Decimal(value) for name, value in (sums or {}).items()}
    how = {"currencies": ("USD",)} | how
    return SettledTotals("camp_1", "Sleep Playlist", DateRange(april(1), april(4)), known, **how)


def overview(**changes: Any) -> dict[str, Any]:
    return dict.fromkeys(NAMES, 100) | {"currency": "USD", "cpl": 1, "new": {}} | changes


@pytest.mark.parametrize(
    ("ours", "theirs", "differs"),
    [
        ({}, {}, None),
        ({}, {"streams": 99}, "streams"),
        ({}, {"streams": 101}, "streams"),
        ({}, {"followers": 0}, "followers"),
        ({}, {"impressions": 101}, "impressions"),
        ({}, {"listeners": 101}, "listeners"),
        ({}, {"streams": Decimal("1e15")}, "streams"),
        ({"streams": 0}, {"streams": Decimal("-0.0")}, None),
        # Money is exact, whatever a whole amount is written as; a binary fraction's last digits are no difference.
        ({"fees": "0.30"}, {"fees": Decimal("0.3")}, None),
        ({"fees": "0.30"}, {"fees": Decimal("0.30000000000000004")}, None),
        ({"fees": "0.30"}, {"fees": Decimal("0.31")}, "fees"),
        ({"spend_total": "123456789012.12"}, {"spend_total": Decimal("123456789012.13")}, "spend_total"),
        ({"spend_media": "100.000001"}, {"spend_media": 100}, "spend_media"),
    ],
)
def test_a_figure_that_both_sides_know_is_equal_or_differs(
    ours: dict[str, Any], theirs: dict[str, Any], differs: str | None
) -> None:
    found = compare(totals(ours), overview(**theirs))
    assert [difference.figure for difference in found.differences] == ([differs] if differs else [])
    assert found.not_compared == {}


@pytest.mark.parametrize(
    "value", [None, "99", True, [99], Decimal("NaN"), float("inf"), Decimal("1e999999"), 10**4000], ids=lambda _: ""
)
def test_a_figure_that_the_overview_does_not_give_as_a_number_is_not_compared(value: Any) -> None:
    found = compare(totals(), overview(streams=value))
    assert (found.differences, found.not_compared) == ([], {"streams": "the overview gives no number"})


def test_fewer_listeners_in_the_overview_may_be_the_new_ones() -> None:
    found = compare(totals(), overview(listeners=99))
    assert found.differences == []
    assert found.not_compared == {"listeners": "the overview says less: it may count new listeners only"}


def test_both_numbers_of_a_difference_are_told() -> None:
    found = compare(totals({"spend_total": "1280.50"}), overview(spend_total=Decimal("1600"), currency=None))
    assert found.differences == [
        Difference(
            "camp_1",
            "Sleep Playlist",
            DateRange(april(1), april(4)),
            "spend_total",
            Decimal("1280.50"),
            Decimal(1600),
        )
    ]
    assert str(found.differences[0]) == (
        "'Sleep Playlist' (camp_1), 2026-04-01 to 2026-04-04: spend_total 1,280.5 in the rows, 1,600 at Soundlink"
    )


@pytest.mark.parametrize(("theirs", "differs"), [(99, True), (100, False), (101, False)])
def test_a_sum_with_unknown_parts_is_the_least_that_it_can_be(theirs: int, differs: bool) -> None:
    found = compare(totals(incomplete=frozenset({"ad_clicks"})), overview(ad_clicks=theirs))
    assert bool(found.differences) is differs
    assert ("ad_clicks" in found.not_compared) is (theirs > 100)


@pytest.mark.parametrize(
    ("currencies", "currency", "reason"),
    [
        (("USD",), "USD", None),
        (("USD",), None, None),
        (("EUR", "USD"), "USD", "the rows are in EUR and USD"),
        (("EUR",), "USD", "the rows are in EUR, the overview in USD"),
    ],
)
def test_money_is_compared_in_one_currency_only(
    currencies: tuple[str, ...], currency: str | None, reason: str | None
) -> None:
    found = compare(totals(currencies=currencies), overview(currency=currency, fees=7, streams=7))
    assert {difference.figure for difference in found.differences} == {"streams", *(() if reason else ("fees",))}
    money = ("spend_media", "spend_total", "fees")
    assert found.not_compared == (dict.fromkeys(money, reason) if reason else {})


def test_an_overview_that_says_nothing_is_compared_with_nothing() -> None:
    found = compare(totals(), {})
    assert found.differences == []
    assert found.not_compared.keys() == NAMES


def test_the_figures_are_columns_of_the_country_rows() -> None:
    assert set(CAMPAIGN_COUNTRY_DAILY.column_names) >= NAMES
