"""Which days are there for every campaign: what was pulled, held against what was listed."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.quality.completeness import due_day, missing, newest_complete_day
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import arrival, load, save

TABLE = CAMPAIGN_COUNTRY_DAILY
NOW = datetime(2026, 5, 10, 7, tzinfo=UTC)
YESTERDAY = date(2026, 5, 9)
OLD = {"createdAt": "2026-01-01T00:00:00Z"}


class Books:
    """A warehouse with what was listed and pulled in it, no rows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.warehouse = NativeFile(folder / "data", wait_seconds=0)
        self.landing = Landing(folder / "data")

    def list(self, *campaigns: dict[str, Any], at: datetime = NOW) -> None:
        lines = [json.dumps({**OLD, **campaign}).encode() for campaign in campaigns]
        save(self.warehouse, self.landing.land_listing(CAMPAIGN, lines, at, None, f"run-{at:%H%M}"))

    def pull(self, campaign: str, start: date, end: date, pulled: datetime = NOW) -> None:
        dates = DateRange(start, end)
        load(self.warehouse, arrival(self.folder / "in", [], campaign=campaign, dates=dates, pulled=pulled))

    def newest(self, now: datetime = NOW, export: Export = TABLE) -> date | None:
        with self.warehouse.read() as connection:
            return newest_complete_day(connection, export, now)

    def missing(self, start: date, end: date) -> dict[str, tuple[date, ...]]:
        with self.warehouse.read() as connection:
            return {item.listed_id.id: item.days for item in missing(connection, TABLE, DateRange(start, end))}


@pytest.fixture
def books(tmp_path: Path) -> Books:
    books = Books(tmp_path)
    with books.warehouse.write():
        pass
    return books


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-05-10T11:59:59", "2026-05-08"),
        ("2026-05-10T12:00:00", "2026-05-09"),
        ("2026-05-10T23:59:59", "2026-05-09"),
        ("2026-05-11T00:00:00", "2026-05-09"),
        ("2026-01-01T12:00:00", "2025-12-31"),
        ("2028-03-01T12:00:00", "2028-02-29"),
    ],
)
def test_yesterday_is_due_from_noon_on(now: str, due: str) -> None:
    assert due_day(datetime.fromisoformat(now).replace(tzinfo=UTC)) == date.fromisoformat(due)


def test_noon_is_utc_whatever_the_clock_is_in() -> None:
    east = datetime.fromisoformat("2026-05-10T13:59:00+02:00")
    assert due_day(east) == date(2026, 5, 8)
    assert due_day(east + timedelta(minutes=1)) == date(2026, 5, 9)


def test_a_day_is_complete_once_every_campaign_that_can_have_rows_was_pulled(books: Books) -> None:
    books.list({"campaignId": "a"}, {"campaignId": "b"})
    books.pull("a", date(2026, 5, 1), YESTERDAY)
    assert books.newest() is None
    books.pull("b", date(2026, 5, 1), date(2026, 5, 7))
    assert books.newest() == date(2026, 5, 7)
    books.pull("b", date(2026, 5, 9), YESTERDAY)
    assert books.newest() == YESTERDAY
    assert books.newest(export=CAMPAIGN_ENGAGEMENT_DAILY) is None
    assert books.missing(date(2026, 5, 7), YESTERDAY) == {"b": (date(2026, 5, 8),)}


def test_a_backfill_of_old_days_makes_no_day_newer(books: Books) -> None:
    books.list({"campaignId": "a"})
    books.pull("a", date(2026, 5, 1), date(2026, 5, 5))
    books.pull("a", date(2026, 2, 1), date(2026, 4, 30), pulled=NOW + timedelta(minutes=5))
    assert books.newest() == date(2026, 5, 5)


def test_a_campaign_that_cannot_have_rows_is_not_waited_for(books: Books) -> None:
    ended = {"status": "ended", "campaignDuration": 10, "updatedAt": "2026-01-11T00:00:00Z"}
    books.list({"campaignId": "a"}, {"campaignId": "gone", **ended}, {"campaignId": "new", "createdAt": str(NOW)})
    books.pull("a", date(2026, 5, 1), YESTERDAY)
    assert books.newest() == YESTERDAY
    assert books.missing(date(2026, 5, 1), YESTERDAY) == {}


def test_a_day_that_closed_after_the_listing_is_not_complete_since_a_campaign_may_be_new(books: Books) -> None:
    books.list({"campaignId": "a"}, at=NOW - timedelta(hours=8))  # of yesterday, 23:00
    books.pull("a", date(2026, 5, 1), YESTERDAY)
    assert books.newest() == date(2026, 5, 8)


def test_of_a_later_listing_only_those_still_listed_are_waited_for(books: Books) -> None:
    books.list({"campaignId": "a"}, {"campaignId": "b"}, at=NOW - timedelta(hours=1))
    books.list({"campaignId": "a"}, at=NOW)
    books.pull("a", date(2026, 5, 1), YESTERDAY)
    assert books.newest() == YESTERDAY


def test_without_a_listing_nothing_is_complete(books: Books) -> None:
    books.pull("a", date(2026, 5, 1), YESTERDAY)
    assert books.newest() is None
