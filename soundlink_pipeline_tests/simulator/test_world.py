"""The simulated world is the oracle of the other tests: here its rows are held to the vendor's documentation itself."""

import hashlib
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from soundlink_pipeline.simulator import BREAKDOWN, ENGAGEMENT, EXPORTS, World, ndjson
from soundlink_pipeline.simulator.campaigns import midnight
from soundlink_pipeline.simulator.oddities import Oddities
from soundlink_pipeline_tests.simulator.shared import NOW


def words(text: str) -> list[str]:
    return text.split()


IDENTITY = words(
    "provider account_id schema_version report_date report_date_timezone exported_at campaign_id campaign_name "
    "campaign_target_type campaign_target_isrc campaign_target_spotify_track_id campaign_target_playlist_id"
)
COLUMNS = {
    BREAKDOWN: IDENTITY
    + words(
        "country_code impressions ad_clicks link_clicks streams listeners followers streams_per_listener spend_media "
        "spend_total fees currency currency_account cpl cpf cpc_linkclick ctr_linkclick ctr_adclick cost_per_result "
        "result_type"
    ),
    ENGAGEMENT: IDENTITY
    + words(
        "status engagement_context country_code engaged_track_isrc engaged_spotify_track_id engaged_track_name "
        "playlist_position new_listeners returning_listeners listeners new_listener_streams "
        "returning_listener_streams streams spl"
    ),
}


def all_rows(world: World, export: str, now: datetime) -> list[dict[str, Any]]:
    return [
        row
        for campaign in world.campaigns
        for row in world.rows(export, campaign.uuid, world.first_day, date(2026, 12, 31), now)
    ]


def rounded(part: Any, whole: int | None, digits: int, otherwise: float | None) -> float | None:
    return round(float(part) / whole, digits) if whole and part is not None else otherwise


@pytest.mark.parametrize(
    ("seed", "now"), [(1, NOW), (2, NOW + timedelta(days=40, hours=-4)), (77, NOW.replace(hour=0))]
)
def test_breakdown_rows_keep_every_documented_rule(seed: int, now: datetime) -> None:
    rows = all_rows(World(seed), BREAKDOWN, now)
    assert len(rows) > 500
    for row in rows:
        assert list(row) == COLUMNS[BREAKDOWN]
        media, total = Decimal(row["spend_media"]), Decimal(row["spend_total"])
        assert Decimal(row["fees"]) == total - media
        assert 0 <= row["followers"] <= row["listeners"] <= row["streams"]
        if row["link_clicks"] is not None and row["ad_clicks"] is not None:
            assert row["link_clicks"] <= row["ad_clicks"] <= row["impressions"]
        assert row["streams_per_listener"] == rounded(row["streams"], row["listeners"], 2, 0)
        assert row["cpl"] == rounded(media, row["listeners"], 3, 0)
        assert row["cpf"] == rounded(media, row["followers"], 3, 0) == row["cost_per_result"]
        assert row["cpc_linkclick"] == rounded(media, row["link_clicks"], 3, None)
        assert row["ctr_linkclick"] == rounded(row["link_clicks"], row["impressions"], 4, None)
        assert row["ctr_adclick"] == rounded(row["ad_clicks"], row["impressions"], 4, None)
        assert row["report_date"] <= now.date().isoformat()
    assert_identities(rows, now)
    assert any(row["impressions"] is None for row in rows)
    assert any(row["followers"] == 0 for row in rows)
    assert any(isinstance(row["spend_media"], int) and row["spend_media"] for row in rows)


@pytest.mark.parametrize(
    ("seed", "now"), [(1, NOW), (2, NOW + timedelta(days=40, hours=-4)), (77, NOW.replace(hour=0))]
)
def test_engagement_rows_keep_every_documented_rule(seed: int, now: datetime) -> None:
    rows = all_rows(World(seed), ENGAGEMENT, now)
    assert len(rows) > 2000
    for row in rows:
        assert list(row) == COLUMNS[ENGAGEMENT]
        assert row["listeners"] == row["new_listeners"] + row["returning_listeners"]
        assert row["streams"] == row["new_listener_streams"] + row["returning_listener_streams"]
        assert row["new_listener_streams"] >= row["new_listeners"] >= 0
        assert row["returning_listener_streams"] >= row["returning_listeners"] >= 0
        assert row["spl"] == rounded(row["streams"], row["listeners"], 2, 0)
        if row["engagement_context"] == "catalog":
            assert row["playlist_position"] is None
            assert row["campaign_target_type"] != "playlist"
        else:
            assert row["engagement_context"] == "playlist"
            assert row["playlist_position"] is None or row["playlist_position"] >= 1
    assert_identities(rows, now)
    assert {row["status"] for row in rows} == {"active", "ended", "scheduled"}
    assert any(row["engaged_track_isrc"] != row["campaign_target_isrc"] for row in rows)
    assert any(row["playlist_position"] for row in rows)


def assert_identities(rows: list[dict[str, Any]], now: datetime) -> None:
    """What both exports share: one account, ids only for their target type, a key that is unique and sorted."""
    assert len({row["account_id"] for row in rows}) == 1
    assert {row["campaign_target_type"] for row in rows} == {"track", "playlist", None}
    assert "NA" in {row["country_code"] for row in rows}
    assert any("\u2028" in row["campaign_name"] for row in rows)
    for row in rows:
        kind = row["campaign_target_type"]
        assert (row["campaign_target_spotify_track_id"] is not None) == (kind == "track")
        assert (row["campaign_target_playlist_id"] is not None) == (kind == "playlist")
        assert row["campaign_target_isrc"] is None or kind == "track"
        exported_at = datetime.fromisoformat(row["exported_at"])
        day = datetime.fromisoformat(row["report_date"] + "T00:00Z")
        assert day <= exported_at <= min(now, day + timedelta(days=8))
    order = words("report_date engagement_context country_code engaged_spotify_track_id")
    keys = [tuple(row.get(column, "") for column in order) for row in rows]
    ids = [row["campaign_id"] for row in rows]
    assert len(set(zip(ids, keys, strict=True))) == len(rows)
    assert all(
        earlier < later
        for earlier, later, before, after in zip(keys, keys[1:], ids, ids[1:], strict=False)
        if before == after
    )


def test_the_same_seed_gives_the_same_bytes_in_every_process() -> None:
    script = (
        "import hashlib; from datetime import *; from soundlink_pipeline.simulator import *; w = World(3);"
        f"now = datetime.fromisoformat('{NOW.isoformat()}');"
        "rows = [r for e in EXPORTS for c in w.campaigns"
        "        for r in w.rows(e, c.uuid, date(2026, 1, 1), now.date(), now)];"
        "print(hashlib.sha256(ndjson(rows + w.listing(now))).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "TZ": zone},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        for hash_seed, zone in (("1", "Asia/Tokyo"), ("2", "America/New_York"))
    }
    world = World(3)
    rows = [
        row
        for export in EXPORTS
        for campaign in world.campaigns
        for row in world.rows(export, campaign.uuid, date(2026, 1, 1), NOW.date(), NOW)
    ]
    assert digests == {hashlib.sha256(ndjson(rows + world.listing(NOW))).hexdigest()}


@pytest.mark.parametrize("export", EXPORTS)
def test_a_row_does_not_depend_on_the_range_asked(export: str) -> None:
    world = World(5)
    campaign = world.campaigns[2].uuid
    start, end = world.campaigns[2].start - timedelta(days=3), NOW.date()
    days = [start + timedelta(days=number) for number in range((end - start).days + 1)]
    one_by_one = [row for day in reversed(days) for row in reversed(world.rows(export, campaign, day, day, NOW))]
    assert world.rows(export, campaign, start, end, NOW) == one_by_one[::-1]


@pytest.mark.parametrize("export", EXPORTS)
def test_a_day_grows_for_a_week_and_is_then_the_same_for_ever(export: str) -> None:
    world, day = World(1), date(2026, 1, 20)
    close = datetime(2026, 1, 21, tzinfo=UTC)

    def pulled(now: datetime) -> list[dict[str, Any]]:
        return [row for campaign in world.campaigns for row in world.rows(export, campaign.uuid, day, day, now)]

    pulls = [pulled(close - timedelta(hours=6)), *(pulled(close + timedelta(days=n, hours=6)) for n in range(7))]
    streams = [sum(row["streams"] for row in rows) for rows in pulls]
    assert streams == sorted(streams)
    assert len(set(streams)) == len(streams), "some rows change every night"
    assert len(pulls[-1]) > len(pulls[1]), "some rows appear late"
    settled = ndjson(pulled(close + timedelta(days=7)))
    assert ndjson(pulled(close + timedelta(days=7, seconds=-1))) == settled
    assert ndjson(pulled(close + timedelta(days=400, hours=5))) == settled
    assert {row["exported_at"] for row in pulls[-1]} == {"2026-01-27T03:00:00Z"}


def test_nothing_is_known_of_the_future_and_an_open_day_is_partial() -> None:
    world = World()
    campaign = world.campaigns[0].uuid
    noon, evening = (datetime(2026, 1, 10, hour, tzinfo=UTC) for hour in (12, 22))
    assert world.rows(BREAKDOWN, campaign, date(2026, 1, 11), date(2026, 2, 1), noon) == []
    at_noon, at_night = (world.rows(BREAKDOWN, campaign, noon.date(), noon.date(), now) for now in (noon, evening))
    assert 0 < sum(row["streams"] for row in at_noon) < sum(row["streams"] for row in at_night)
    assert at_noon[0]["exported_at"] == "2026-01-10T12:00:00Z"
    playlist = world.campaigns[1].uuid
    early = world.rows(ENGAGEMENT, playlist, noon.date(), noon.date(), noon.replace(hour=7))
    later = world.rows(ENGAGEMENT, playlist, noon.date(), noon.date(), noon)
    assert {row["playlist_position"] for row in early} == {None}, "before the morning crawl"
    assert {row["playlist_position"] for row in later} != {None}


def test_the_listing_follows_the_clock() -> None:
    world = World()
    early, late = (
        {item["campaignId"]: item for item in world.listing(now)}
        for now in (datetime(2026, 1, 2, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    )
    assert len(early) < len(late) == len(world.campaigns)
    assert {item["status"] for item in late.values()} == {"ended", "stopped"}
    assert {item["status"] for item in world.listing(NOW)} == {"active", "creating", "ended", "stopped"}
    campaign = world.campaigns[0]
    assert early[campaign.path_id]["status"] == "active"
    assert late[campaign.path_id]["updatedAt"] == "2026-08-29T00:00:00Z"


def test_a_benchmark_world_has_its_rows_spread_evenly() -> None:
    world = World(campaigns=2, duration_days=90, countries_per_campaign=30, tracks_per_campaign=4)
    end = world.first_day + timedelta(days=89)
    now = datetime(2026, 6, 1, tzinfo=UTC)
    rows = sum(len(world.rows(export, world.campaigns[0].uuid, world.first_day, end, now)) for export in EXPORTS)
    assert 9_000 < rows < 12_000  # 30 campaigns of them make some 312,000


def test_listening_goes_on_for_as_long_as_it_is_told_to() -> None:
    for tail_days in (30, 150):
        world = World(campaigns=4, oddities=Oddities(long_tails=tail_days == 150))
        campaign, now = world.campaigns[3], datetime(2027, 1, 1, tzinfo=UTC)
        start, end = campaign.last_day, campaign.last_day + timedelta(days=89)
        rows = world.rows(ENGAGEMENT, campaign.uuid, start, end, now)
        rows += world.rows(ENGAGEMENT, campaign.uuid, end + timedelta(days=1), end + timedelta(days=90), now)
        newest = max(date.fromisoformat(row["report_date"]) for row in rows)
        assert campaign.last_day + timedelta(days=tail_days // 2) < newest
        assert newest <= campaign.last_day + timedelta(days=tail_days)
        ads = world.rows(BREAKDOWN, campaign.uuid, start + timedelta(days=8), end, now)
        assert ads == []


def test_late_rows_turn_up_after_their_day_was_final_and_stay() -> None:
    world, punctual = World(campaigns=2, oddities=Oddities(late_rows=True)), World(campaigns=2)
    campaign, day = world.campaigns[0], date(2026, 1, 1)
    days = (campaign.uuid, day, day + timedelta(days=30))
    final = datetime(2026, 2, 8, tzinfo=UTC)
    counts = [len(world.rows(ENGAGEMENT, *days, final + timedelta(days=late))) for late in range(0, 60, 6)]
    whole = punctual.rows(ENGAGEMENT, *days, final)
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] == len(whole)
    stamps = {row["exported_at"] for row in world.rows(ENGAGEMENT, *days, final + timedelta(days=60))}
    assert stamps > {row["exported_at"] for row in whole}
    assert max(stamps) > "2026-02-08"


def test_campaigns_end_in_every_way_and_some_never_begin() -> None:
    world, now = World(campaigns=24, oddities=Oddities(all_statuses=True)), datetime(2027, 1, 1, tzinfo=UTC)
    listing = {item["campaignId"]: item["status"] for item in world.listing(now)}
    ends = {"restart_failed", "renew_failed", "ended", "completed", "failed", "stopped", "creating"}
    assert set(listing.values()) == ends
    for campaign in world.campaigns:
        start = campaign.created_at.date()
        ads = world.rows(BREAKDOWN, campaign.uuid, start, start + timedelta(days=89), now)
        assert (ads == []) is (listing[campaign.path_id] == "creating")
        played = world.rows(ENGAGEMENT, campaign.uuid, start, start + timedelta(days=89), now)
        if listing[campaign.path_id] == "creating":
            assert {row["status"] for row in played} == {"scheduled"}


def test_a_renewed_campaign_is_active_again_after_its_pause() -> None:
    world = World(campaigns=4, oddities=Oddities(renewals=True))
    campaign = world.campaigns[3]
    assert campaign.renewed_on == campaign.last_day + timedelta(days=50)
    moments = {
        "active": campaign.start,
        "ended": campaign.last_day + timedelta(days=20),
        "active again": campaign.renewed_on + timedelta(days=2),
        "ended again": campaign.renewed_on + timedelta(days=campaign.duration + 1),
    }
    found = {name: campaign.listing(midnight(day)) for name, day in moments.items()}
    assert {name: item["status"] for name, item in found.items()} == {name: name.split()[0] for name in moments}
    assert found["active again"]["updatedAt"][:10] == str(campaign.renewed_on)
    now = datetime(2027, 1, 1, tzinfo=UTC)
    rows = world.rows(BREAKDOWN, campaign.uuid, campaign.renewed_on - timedelta(days=20), campaign.renewed_on, now)
    assert {row["report_date"] for row in rows} == {str(campaign.renewed_on)}
    assert any(row["spend_total"] for row in rows)
