"""Campaigns: kept leniently, never overwritten by an older listing, and asked in every doubt."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.contracts.campaigns import may_have_rows
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.landing.deliveries import Listing
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline.warehouse.tables import CAMPAIGNS
from soundlink_pipeline_tests.support.deliveries import NOON, query, save

APRIL = DateRange(date(2026, 4, 1), date(2026, 4, 30))
ENDED = {
    "campaignId": "camp_abc123",
    "status": "ended",
    "campaignDuration": 30,
    "createdAt": "2026-01-01T00:00:00Z",
    "updatedAt": "2026-01-05T00:00:00Z",
}


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        # created after the range
        ({"status": "active", "createdAt": "2026-04-30T23:59:59Z"}, True),
        ({"status": "active", "createdAt": "2026-05-01T00:00:00Z"}, False),
        ({"status": "active", "createdAt": "2026-05-01T01:00:00+02:00"}, True),
        ({"status": "active", "createdAt": "2026-04-30T23:00:00-02:00"}, False),
        # over: 30 days of engagement and 8 of revisions lie before the range; 1 April - 38 days = 22 February
        ({"updatedAt": "2026-02-22T00:00:00Z"}, True),
        ({"updatedAt": "2026-02-21T23:59:59Z"}, False),
        ({"status": "stopped", "updatedAt": "2026-02-21T23:59:59Z"}, False),
        # its end is the later of the last change and the planned duration: 1 January + 52 days = 22 February
        ({"campaignDuration": 52}, True),
        ({"campaignDuration": 51.9}, False),
        ({"campaignDuration": 0}, False),
    ],
)
def test_campaign_is_skipped_only_where_it_cannot_have_rows(changes: dict[str, Any], asked: bool) -> None:
    assert may_have_rows(ENDED | changes, APRIL) is asked


def test_unchanged_example_would_be_skipped() -> None:
    assert not may_have_rows(ENDED, APRIL)


@pytest.mark.parametrize("field", ["status", "campaignDuration", "createdAt", "updatedAt"])
@pytest.mark.parametrize(
    "value",
    [..., None, "", "soon", [], {}, True, -1, float("nan"), float("inf"), 10**400, "2026-99-99T00:00:00Z"],
    ids=repr,
)
def test_missing_or_odd_field_leads_to_asking(field: str, value: object) -> None:
    campaign = {name: text for name, text in (ENDED | {field: value}).items() if text is not ...}
    assert may_have_rows(campaign, APRIL)


@pytest.mark.parametrize("status", ["active", "creating", "renewing", "restart_failed", "Ended", "archived"])
def test_other_or_unknown_status_leads_to_asking(status: str) -> None:
    assert may_have_rows(ENDED | {"status": status}, APRIL)


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00"])
def test_last_change_at_the_end_of_time_leads_to_asking(moment: str) -> None:
    assert may_have_rows(ENDED | {"updatedAt": moment}, APRIL)


FULL = {
    **ENDED,
    "organizationId": "org",
    "socialPlatform": "meta",
    "dailyBudget": 12.5,
    "totalBudget": 375,
    "generation": 2,
    "artistId": "a1",
    "artistName": "Björk",
    "trackId": "t1",
    "playlistId": None,
    "trackName": "It's Oh So Quiet",
    "campaignUrl": "https://example.com/x",
    "createdAt": "2026-01-01T02:00:00+02:00",
    "novelty": [1, 2],
}


def landed(tmp_path: Path, *items: dict[str, Any], moment: datetime = NOON, server: bool = True) -> Listing:
    lines = [json.dumps(item, ensure_ascii=False).encode() for item in items]
    return Landing(tmp_path).land_listing(lines, moment, moment if server else None, f"run-{moment:%d}")


def test_listed_campaign_is_kept_with_all_it_says(tmp_path: Path) -> None:
    warehouse = NativeFile(tmp_path)
    assert save(warehouse, landed(tmp_path, FULL)) == 1
    names = ", ".join(name for name in CAMPAIGNS.column_names if name != "_listed_json")
    naive = datetime.fromisoformat("2026-01-01T00:00:00")
    assert query(warehouse, f"select {names} from campaigns") == [
        (
            "camp_abc123",
            "org",
            "ended",
            "meta",
            Decimal("12.5"),
            Decimal(375),
            30,
            2,
            "a1",
            "Björk",
            "t1",
            None,
            "It's Oh So Quiet",
            "https://example.com/x",
            naive,
            naive + timedelta(days=4),
            NOON.replace(tzinfo=None),
            "run-23",
        )
    ]
    assert [json.loads(text) for (text,) in query(warehouse, "select _listed_json from campaigns")] == [FULL]


@pytest.mark.parametrize(
    ("field", "value", "column"),
    [
        ("dailyBudget", "a lot", "daily_budget"),
        ("totalBudget", 1e30, "total_budget"),
        ("campaignDuration", {"days": 3}, "campaign_duration"),
        ("generation", "third", "generation"),
        ("createdAt", "yesterday", "created_at"),
        ("updatedAt", 1779246000, "updated_at"),
        ("artistName", None, "artist_name"),
    ],
)
def test_field_that_is_not_understood_is_null_and_the_campaign_is_kept(
    tmp_path: Path, field: str, value: object, column: str
) -> None:
    warehouse = NativeFile(tmp_path)
    save(warehouse, landed(tmp_path, FULL | {field: value}))
    assert query(warehouse, f"select campaign_id, {column} from campaigns") == [("camp_abc123", None)]


def test_campaign_of_nothing_but_an_id_is_kept(tmp_path: Path) -> None:
    warehouse = NativeFile(tmp_path)
    assert save(warehouse, landed(tmp_path, {"campaignId": "bare"}, FULL)) == 2
    assert query(warehouse, "select campaign_id, status from campaigns order by 1") == [
        ("bare", None),
        ("camp_abc123", "ended"),
    ]


def test_empty_listing_changes_nothing(tmp_path: Path) -> None:
    warehouse = NativeFile(tmp_path)
    save(warehouse, landed(tmp_path, FULL))
    assert save(warehouse, landed(tmp_path, moment=NOON + timedelta(days=1))) == 0
    assert query(warehouse, "select count(*) from campaigns") == [(1,)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in order", "older one last"])
def test_older_listing_never_overwrites_a_newer_one(tmp_path: Path, order: tuple[int, int]) -> None:
    warehouse = NativeFile(tmp_path)
    later = NOON.astimezone(UTC) + timedelta(days=1)
    listings = [
        landed(tmp_path, FULL | {"status": "active", "trackName": "old"}, {"campaignId": "gone"}, server=False),
        landed(tmp_path, {key: value for key, value in FULL.items() if key != "trackName"}, moment=later),
    ]
    for index in order:
        save(warehouse, listings[index])
    assert query(warehouse, "select campaign_id, status, track_name, _run_id from campaigns order by 1") == [
        ("camp_abc123", "ended", None, "run-24"),
        ("gone", None, None, "run-23"),
    ]


def test_archived_listing_can_be_replayed(tmp_path: Path) -> None:
    landing, warehouse = Landing(tmp_path), NativeFile(tmp_path)
    landing.archive_listing(landed(tmp_path, FULL))
    (listing,) = landing.listings()
    assert listing.path.suffix == ".zst"
    assert save(warehouse, listing) == 1
