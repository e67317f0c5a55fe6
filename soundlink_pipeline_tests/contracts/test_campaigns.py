"""Campaigns: kept leniently, never overwritten by an older listing, and asked in every doubt."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from soundlink_pipeline.contracts.campaign_exports import ATTRIBUTION, LISTENING
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.soundlinks import SOUNDLINK
from soundlink_pipeline.contracts.subject import ExpectedDays, Tail, expected_days, field_of
from soundlink_pipeline.landing.deliveries import Listing
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline.warehouse.tables import listing_table
from soundlink_pipeline_tests.support.deliveries import NOON, query, save
from soundlink_pipeline_tests.support.project import REPOSITORY

APRIL = DateRange(date(2026, 4, 1), date(2026, 4, 30))
ENDED = {
    "campaignId": "camp_abc123",
    "status": "ended",
    "campaignDuration": 30,
    "createdAt": "2026-01-01T00:00:00Z",
    "updatedAt": "2026-01-05T00:00:00Z",
}


FIRST, LAST = date(2026, 1, 1), date(2026, 1, 31)  # of creation, and of the planned 30 days


def last_expected(changes: dict[str, Any], tail: Tail = LISTENING, newest_row: date | None = None) -> date | None:
    return expected_days(CAMPAIGN.lifetime(ENDED | changes), tail, newest_row).last


def rows_are_expected(campaign: dict[str, Any], tail: Tail = LISTENING) -> bool:
    return expected_days(CAMPAIGN.lifetime(campaign), tail).meet(APRIL)


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        ("2026-04-30T23:59:59Z", True),
        ("2026-05-01T00:00:00Z", False),
        ("2026-05-01T01:00:00+02:00", True),
        ("2026-04-30T23:00:00-02:00", False),
    ],
)
def test_no_rows_are_expected_before_the_utc_day_of_creation(created: str, expected: bool) -> None:
    assert rows_are_expected(ENDED | {"status": "active", "createdAt": created}) is expected


@pytest.mark.parametrize("status", ["ended", "stopped", "completed", "failed", "restart_failed", "renew_failed"])
@pytest.mark.parametrize(
    ("changes", "end"),
    [
        # the later of the last change and the planned duration
        ({"updatedAt": "2026-02-22T00:00:00Z"}, "2026-02-22"),
        ({"updatedAt": "2026-02-21T23:59:59Z"}, "2026-02-21"),
        ({"updatedAt": "2026-02-22T01:00:00+02:00"}, "2026-02-21"),
        ({}, "2026-01-31"),
        ({"campaignDuration": 51.9}, "2026-02-21"),
        ({"campaignDuration": 0}, "2026-01-05"),
    ],
)
def test_thirty_days_of_listening_and_seven_of_attribution_are_expected_after_the_end(
    status: str, changes: dict[str, Any], end: str
) -> None:
    last = date.fromisoformat(end)
    assert last_expected(changes | {"status": status}) == last + timedelta(days=30)
    assert last_expected(changes | {"status": status}, ATTRIBUTION) == last + timedelta(days=7)


@pytest.mark.parametrize(
    ("newest_row", "listening", "attribution"),
    [
        (None, "2026-03-02", "2026-02-07"),
        ("2026-01-20", "2026-03-02", "2026-02-07"),
        ("2026-02-23", "2026-03-02", "2026-02-23"),
        ("2026-02-24", "2026-03-03", "2026-02-24"),  # 7 days after the last day with rows
        ("2026-06-01", "2026-06-08", "2026-06-01"),
        ("9999-12-30", "9999-12-31", "9999-12-30"),
    ],
)
def test_rows_that_come_are_expected_to_go_on(newest_row: str | None, listening: str, attribution: str) -> None:
    newest = date.fromisoformat(newest_row) if newest_row else None
    assert last_expected({}, LISTENING, newest) == date.fromisoformat(listening)
    assert last_expected({}, ATTRIBUTION, newest) == date.fromisoformat(attribution)


def test_a_campaign_that_never_begins_has_no_ads_and_is_listened_to_like_one_that_is_over() -> None:
    creating = ENDED | {"status": "creating"}
    assert not expected_days(CAMPAIGN.lifetime(creating), ATTRIBUTION).meet(DateRange(FIRST, date(2099, 1, 1)))
    assert expected_days(CAMPAIGN.lifetime(creating), LISTENING) == ExpectedDays(FIRST, LAST + timedelta(days=30))
    assert expected_days(CAMPAIGN.lifetime(creating), ATTRIBUTION, FIRST).meet(DateRange(FIRST, FIRST)), (
        "it has rows nevertheless"
    )
    begun = expected_days(CAMPAIGN.lifetime(creating | {"status": "active"}), ATTRIBUTION)
    assert begun == ExpectedDays(FIRST, None)


@pytest.mark.parametrize("field", ["status", "campaignDuration", "createdAt", "updatedAt"])
@pytest.mark.parametrize(
    "value",
    [..., None, "", "soon", [], {}, True, -1, float("nan"), float("inf"), 10**400, "2026-99-99T00:00:00Z"],
    ids=repr,
)
@pytest.mark.parametrize("tail", [LISTENING, ATTRIBUTION])
def test_missing_or_odd_field_leads_to_asking(field: str, value: object, tail: Tail) -> None:
    campaign = {name: text for name, text in (ENDED | {field: value}).items() if text is not ...}
    assert not rows_are_expected(ENDED, tail)
    assert rows_are_expected(campaign, tail)


@pytest.mark.parametrize(
    "status",
    ["active", "inactive", "paused", "renewing", "restarting", "renew_awaiting_charge", "Ended", "archived"],
)
@pytest.mark.parametrize("tail", [LISTENING, ATTRIBUTION])
def test_a_campaign_that_runs_or_may_run_again_is_live_and_so_is_one_of_unknown_status(status: str, tail: Tail) -> None:
    assert expected_days(CAMPAIGN.lifetime(ENDED | {"status": status}), tail) == ExpectedDays(FIRST, None)


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00"])
@pytest.mark.parametrize("field", ["createdAt", "updatedAt"])
def test_a_moment_at_the_end_of_time_is_no_error(moment: str, field: str) -> None:
    assert expected_days(CAMPAIGN.lifetime(ENDED | {field: moment}), LISTENING).last in (None, date.max)


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
    return Landing(tmp_path).land_listing(CAMPAIGN, lines, moment, moment if server else None, f"run-{moment:%d}")


def test_listed_campaign_is_kept_with_all_it_says(tmp_path: Path) -> None:
    warehouse = NativeFile(tmp_path)
    assert save(warehouse, landed(tmp_path, FULL)) == 1
    names = ", ".join(name for name in listing_table(CAMPAIGN).column_names if name != "_listed_json")
    naive = datetime.fromisoformat("2026-01-01T00:00:00")
    assert query(warehouse, f"select {names} from campaigns") == [
        (
            "default",
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
            None,
            None,
            None,
            NOON.replace(tzinfo=None),
            "run-23",
            None,
            None,
            None,
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
    (listing,) = landing.listings(CAMPAIGN)
    assert listing.path.suffix == ".zst"
    assert save(warehouse, listing) == 1


BEFORE = {"campaignId": "c", "status": "active", "trackName": "Once", "updatedAt": "2026-01-01T00:00:00Z"}
LATER = {"updatedAt": "2026-01-02T00:00:00Z"}


@pytest.mark.parametrize(
    ("had_for", "listed", "lacks"),
    [
        (None, BEFORE, True),
        (None, {"campaignId": "c"}, True),
        (BEFORE, BEFORE, False),
        (BEFORE, BEFORE | LATER, False),
        (BEFORE, BEFORE | {"status": "ended"}, False),
        (BEFORE, BEFORE | LATER | {"status": "ended"}, True),
        (BEFORE, BEFORE | LATER | {"trackName": None}, True),
        (BEFORE, BEFORE | LATER | {"clicks": 3}, False),
        (BEFORE, {"campaignId": "c", "status": "active", "trackName": "Once"}, False),
        (BEFORE, {"campaignId": "c", "status": "ended", "trackName": "Once"}, True),
        (BEFORE, {"campaignId": "c"}, False),
        ({"campaignId": "c"}, {"campaignId": "c"}, False),
        ({"campaignId": "c"}, BEFORE, True),
    ],
    ids=[
        "never had",
        "named, never had",
        "as it was",
        "touched",
        "changed, as no moment tells",
        "changed",
        "a field gone",
        "a field that has no column",
        "no moment is listed any more",
        "no moment is listed, and it changed",
        "named now",
        "named as before",
        "named before, listed now",
    ],
)
def test_details_are_stale_where_a_listed_field_and_the_moment_of_the_change_are_other_ones(
    had_for: dict[str, Any] | None, listed: dict[str, Any], lacks: bool
) -> None:
    assert CAMPAIGN.lacks_details(listed, had_for) is lacks


def test_details_of_what_has_no_moment_of_change_are_stale_where_a_listed_field_has_changed() -> None:
    before = {"soundlinkId": "s", "name": "One", "status": "active"}
    assert not SOUNDLINK.lacks_details(before, before)
    assert SOUNDLINK.lacks_details(before | {"status": "archived"}, before)


def test_the_columns_of_details_are_the_fields_that_the_detail_endpoint_adds() -> None:
    schemas = yaml.safe_load((REPOSITORY / "docs" / "soundlink-openapi.yaml").read_text())["components"]["schemas"]
    for subject, schema in ((CAMPAIGN, "CampaignDetail"), (SOUNDLINK, "SoundlinkDetail")):
        added = schemas[schema]["allOf"][1]["properties"]
        assert [field_of(column.name) for column in subject.details] == list(added)
