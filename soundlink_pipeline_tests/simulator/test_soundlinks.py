"""Soundlinks: their rows are held to the vendor's documentation, and what the API answers about them."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import httpx
import pytest

from soundlink_pipeline.simulator import (
    BREAKDOWN,
    METRICS_READ,
    SOUNDLINK_BREAKDOWN,
    SOUNDLINK_ENGAGEMENT,
    SOUNDLINK_EXPORTS,
    SOUNDLINKS_READ,
    KeyInfo,
    Oddities,
    Shrinking,
    SimClock,
    Simulator,
    World,
    ndjson,
    running_simulator,
)
from soundlink_pipeline.simulator.subjects import SOUNDLINK
from soundlink_pipeline_tests.simulator.shared import NOW, Keyed, error_of

IDENTITY = (
    "provider account_id schema_version report_date report_date_timezone exported_at soundlink_id soundlink_name"
    " soundlink_target_type soundlink_target_isrc soundlink_target_spotify_track_id soundlink_target_playlist_id"
)
COUNTRY_COLUMNS = (
    f"{IDENTITY} country_code views link_clicks streams listeners followers new_listeners returning_listeners"
    " new_listener_streams returning_listener_streams streams_per_listener ctr_lp"
).split()
ENGAGEMENT_COLUMNS = (
    f"{IDENTITY} engagement_context country_code engaged_track_isrc engaged_spotify_track_id engaged_track_name"
    " playlist_position new_listeners returning_listeners listeners new_listener_streams returning_listener_streams"
    " streams spl"
).split()
SPLITS = ("new_listeners", "returning_listeners", "new_listener_streams", "returning_listener_streams")
LATER = datetime(2027, 6, 1, 12, tzinfo=UTC)
Row = dict[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    keys = {
        "sk_test_all": KeyInfo(),
        "sk_test_soundlinks": KeyInfo(frozenset({SOUNDLINKS_READ})),
        "sk_test_metrics": KeyInfo(frozenset({METRICS_READ})),
    }
    world = World(soundlinks=12)
    with running_simulator(world, SimClock(NOW), keys=keys, per_minute=None, per_hour=None) as simulator:
        yield simulator


def rows_of(world: World, export: str, index: int, now: datetime = LATER) -> list[Row]:
    return world.rows(export, world.soundlinks[index].path_id, world.first_day, date(2027, 12, 31), now)


def days_of(world: World, export: str, index: int) -> list[date]:
    return sorted({date.fromisoformat(row["report_date"]) for row in rows_of(world, export, index)})


# --- rows


@pytest.mark.parametrize("seed", [1, 2, 77])
def test_country_rows_keep_every_documented_rule(seed: int) -> None:
    world = World(seed, soundlinks=9)
    found = [row for index in range(9) for row in rows_of(world, SOUNDLINK_BREAKDOWN, index, NOW)]
    assert len(found) > 500
    assert len(COUNTRY_COLUMNS) == 24
    for row in found:
        assert list(row) == COUNTRY_COLUMNS
        assert 0 <= row["followers"] <= row["listeners"] <= row["streams"]
        new, returning, new_streams, returning_streams = (row[name] for name in SPLITS)
        if new is None:
            assert (returning, new_streams, returning_streams) == (None, None, None)
        else:
            assert (new + returning, new_streams + returning_streams) == (row["listeners"], row["streams"])
            assert new_streams >= new >= 0
            assert returning_streams >= returning >= 0
        assert row["streams_per_listener"] == (round(row["streams"] / row["listeners"], 2) if row["listeners"] else 0)
        known = row["views"] and row["link_clicks"] is not None
        assert row["ctr_lp"] == (round(row["link_clicks"] / row["views"], 4) if known else None)
    assert_identities(found)
    assert {row["link_clicks"] is None for row in found} == {True, False}
    assert {row["new_listeners"] is None for row in found} == {True, False}
    assert any(row["views"] == 0 and row["streams"] for row in found)


@pytest.mark.parametrize("seed", [1, 2, 77])
def test_engagement_rows_keep_every_documented_rule(seed: int) -> None:
    world = World(seed, soundlinks=9)
    found = [row for index in range(9) for row in rows_of(world, SOUNDLINK_ENGAGEMENT, index, NOW)]
    assert len(found) > 1000
    assert len(ENGAGEMENT_COLUMNS) == 25
    for row in found:
        assert list(row) == ENGAGEMENT_COLUMNS
        assert row["listeners"] == row["new_listeners"] + row["returning_listeners"]
        assert row["streams"] == row["new_listener_streams"] + row["returning_listener_streams"]
        assert row["spl"] == round(row["streams"] / row["listeners"], 2)
        assert row["playlist_position"] is None or row["engagement_context"] == "playlist"
    assert_identities(found)
    assert {row["engagement_context"] for row in found} == {"catalog", "playlist"}
    assert any(row["playlist_position"] for row in found)


def assert_identities(rows: list[Row]) -> None:
    assert len({row["account_id"] for row in rows}) == 1
    assert {row["soundlink_target_type"] for row in rows} == {"track", "album", "playlist", None}
    assert any("\u2028" in row["soundlink_name"] for row in rows)
    for row in rows:
        kind = row["soundlink_target_type"]
        assert (row["soundlink_target_spotify_track_id"] is not None) == (kind == "track")
        assert (row["soundlink_target_playlist_id"] is not None) == (kind == "playlist")
    order = ("soundlink_id", "report_date", "engagement_context", "country_code", "engaged_spotify_track_id")
    keys = [tuple(row.get(column, "") for column in order) for row in rows]
    assert len(set(keys)) == len(keys)
    assert all(before < after for before, after in pairwise(keys) if before[0] == after[0])


@pytest.mark.parametrize("export", SOUNDLINK_EXPORTS)
def test_a_soundlink_has_rows_while_it_is_played_whatever_its_status(export: str) -> None:
    world = World(soundlinks=6)
    status = {item["soundlinkId"]: item["status"] for item in world.listing(LATER, SOUNDLINK)}
    lives = [
        (status[soundlink.path_id], days_of(world, export, index)) for index, soundlink in enumerate(world.soundlinks)
    ]
    assert [status for status, _ in lives] == ["active", "active", "archived", "draft", "archived", "active"]
    always, silent_for_months, archived, draft, forgotten, never = (days for _, days in lives)
    assert always[-1] == archived[-1] == LATER.date()
    assert max(after - before for before, after in pairwise(silent_for_months)) > timedelta(days=90)
    assert silent_for_months[-1] == LATER.date()
    assert (draft, never) == ([], [])
    assert forgotten[-1] < date(2026, 2, 1)


@pytest.mark.parametrize("export", SOUNDLINK_EXPORTS)
def test_a_day_grows_for_a_week_and_is_then_the_same_for_ever(export: str) -> None:
    world, day = World(soundlinks=6), date(2026, 1, 20)
    close = datetime(2026, 1, 21, tzinfo=UTC)

    def pulled(now: datetime) -> list[Row]:
        return [row for soundlink in world.soundlinks for row in world.rows(export, soundlink.row_id, day, day, now)]

    pulls = [pulled(close + timedelta(days=n, hours=6)) for n in range(7)]
    streams = [sum(row["streams"] for row in rows) for rows in pulls]
    assert streams == sorted(set(streams)), "some rows change every night"
    settled = ndjson(pulled(close + timedelta(days=7)))
    assert ndjson(pulled(close + timedelta(days=400))) == settled
    whole = world.rows(export, world.soundlinks[0].row_id, day - timedelta(days=3), day, LATER)
    alone = world.rows(export, world.soundlinks[0].row_id, day, day, LATER)
    assert whole[-len(alone) :] == alone


def test_oddities_reach_soundlinks_too() -> None:
    plain, world = World(soundlinks=4), World(soundlinks=4, oddities=Oddities.every(), soundlink_aliases=True)
    for export in SOUNDLINK_EXPORTS:
        found, ordinary = rows_of(world, export, 0), rows_of(plain, export, 0)
        assert {row["account_id"] for row in found} == {
            item["organizationId"] for now in (NOW - timedelta(days=50), NOW) for item in world.listing(now, SOUNDLINK)
        }
        assert {row["account_id"] for row in ordinary} == {plain.account_id}
        assert {"A1", "T1"} < {row["country_code"] for row in found}
        assert {row["soundlink_id"] for row in found} != {world.soundlinks[0].path_id}
        assert {row["soundlink_id"] for row in ordinary} == {plain.soundlinks[0].path_id}
        known = [tuple(row[name] for name in ("report_date", "country_code", "streams")) for row in found]
        assert len(known) != len(ordinary)


def test_the_clicks_of_each_service_add_up() -> None:
    world = World(soundlinks=1, newest_fields=True)
    services = ("spotify_link_clicks", "apple_music_link_clicks", "youtube_music_link_clicks")
    for row in rows_of(world, SOUNDLINK_BREAKDOWN, 0):
        assert list(row) == [*COUNTRY_COLUMNS, *services]
        clicks = [row[name] for name in services]
        assert row["link_clicks"] == (None if None in clicks else sum(clicks))


def test_a_world_s_campaigns_do_not_depend_on_its_soundlinks() -> None:
    alone, beside = World(3), World(3, soundlinks=5)
    campaign = alone.campaigns[1].uuid
    assert alone.listing(NOW) == beside.listing(NOW)
    days = (alone.first_day, NOW.date(), NOW)
    assert alone.rows(BREAKDOWN, campaign, *days) == beside.rows(BREAKDOWN, campaign, *days)
    with pytest.raises(KeyError):
        beside.rows(BREAKDOWN, beside.soundlinks[0].row_id, *days)


# --- answers


def test_the_list_has_the_documented_fields_and_ids(sim: Simulator, api: Keyed) -> None:
    items = [
        item for page in (1, 2) for item in api.get("/v1/soundlinks", params={"page": page}).json()["data"]["items"]
    ]
    created = [soundlink for soundlink in sim.world.soundlinks if soundlink.created_at <= NOW]
    assert len(items) == len(created) > 10
    for item in items:
        assert " ".join(item) == "soundlinkId organizationId name url targetType spotifyUrl status createdAt"
        assert re.fullmatch(r"[A-Za-z0-9_-]{21}", item["soundlinkId"])
    assert {"-", "_"} < {item["soundlinkId"][0] for item in items}
    assert {item["status"] for item in items} == {"draft", "active", "archived"}
    assert {item["targetType"] for item in items} == {"track", "album", "playlist", None}
    moments = [item["createdAt"] for item in items]
    assert moments == sorted(moments, reverse=True)
    upwards = api.get("/v1/soundlinks?sortBy=createdAt&sortOrder=asc&pageSize=100").json()["data"]["items"]
    assert [item["createdAt"] for item in upwards] == sorted(moments)


def test_the_detail_is_the_list_item_and_more(sim: Simulator, api: Keyed) -> None:
    listed = api.get("/v1/soundlinks?pageSize=100").json()["data"]["items"]
    for item in listed:
        detail = api.get(f"/v1/soundlinks/{item['soundlinkId']}").json()["data"]
        more = ["autoFollow", "artistIdFollow", "metaPixelId", "tiktokPixelId", "appleMusicUrl", "youtubeMusicUrl"]
        assert list(detail) == [*item, *more]
        assert detail.items() >= item.items()
        assert detail["autoFollow"] is (detail["artistIdFollow"] is not None)


@pytest.mark.parametrize(
    ("export", "metric"), [(SOUNDLINK_BREAKDOWN, "breakdown"), (SOUNDLINK_ENGAGEMENT, "engagement")]
)
def test_an_export_is_the_truth_as_ndjson(sim: Simulator, api: Keyed, export: str, metric: str) -> None:
    for soundlink in sim.world.soundlinks[:3]:
        answer = api.get(
            f"/v1/soundlinks/{soundlink.path_id}/metrics/{metric}/export",
            params={"startDate": "2026-01-01", "endDate": "2026-02-28"},
        )
        rows = sim.world.rows(export, soundlink.path_id, date(2026, 1, 1), date(2026, 2, 28), NOW)
        assert answer.content == ndjson(rows)
        assert rows
        assert answer.headers["X-Row-Count"] == str(len(rows))
        name = f"{metric}_{soundlink.path_id}_2026-01-01_2026-02-28.jsonl"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert {record.kind for record in sim.stats.records} == {f"soundlink_{metric}_export"}


def test_pages_hold_the_rows_as_they_are_sorted(sim: Simulator, api: Keyed) -> None:
    soundlink = sim.world.soundlinks[0]
    path = f"/v1/soundlinks/{soundlink.path_id}/metrics"

    def page(metric: str, **query: str) -> list[Row]:
        items: list[Row] = api.get(f"{path}/{metric}", params={"pageSize": "500", **query}).json()["data"]["items"]
        return items

    whole = sim.world.rows(SOUNDLINK_BREAKDOWN, soundlink.path_id, soundlink.start, NOW.date(), NOW)
    assert page("breakdown") == json.loads(json.dumps(whole))
    by_country = page("breakdown", sortBy="country_code", sortOrder="desc")
    assert [row["country_code"] for row in by_country] == sorted((row["country_code"] for row in whole), reverse=True)
    days = [row["report_date"] for row in page("engagement")]
    assert days == sorted(days, reverse=True)


def test_the_totals_are_the_sums_of_the_country_rows(sim: Simulator, api: Keyed) -> None:
    soundlink = sim.world.soundlinks[0]
    found = api.get(f"/v1/soundlinks/{soundlink.path_id}/metrics/overview").json(parse_float=Decimal)["data"]
    rows = sim.world.rows(SOUNDLINK_BREAKDOWN, soundlink.path_id, soundlink.start, NOW.date(), NOW)
    for name in ("views", "streams", "listeners", "followers"):
        assert found[name] == sum(row[name] for row in rows)
    assert found["link_clicks"] == sum(row["link_clicks"] or 0 for row in rows)


def test_what_is_no_soundlink_is_not_found(sim: Simulator, api: Keyed) -> None:
    ranged = "startDate=2026-01-01&endDate=2026-01-02"
    for named in ("of-a-campaign-no-links", sim.world.campaigns[0].uuid, sim.world.soundlinks[0].path_id.swapcase()):
        for rest in ("", "/metrics/overview", f"/metrics/breakdown/export?{ranged}", f"/metrics/engagement?{ranged}"):
            assert error_of(api.get(f"/v1/soundlinks/{named}{rest}")) == (404, "not_found")
    assert error_of(api.get(f"/v1/campaigns/{sim.world.soundlinks[0].path_id}")) == (404, "campaign_not_found")


def test_soundlinks_have_one_scope_for_all(web: httpx.Client, sim: Simulator) -> None:
    def ask(key: str, path: str) -> httpx.Response:
        return web.get(sim.base_url + path, headers={"authorization": f"Bearer {key}"})

    metrics = f"/v1/soundlinks/{sim.world.soundlinks[0].path_id}/metrics"
    for path in ("/v1/soundlinks", f"{metrics}/overview", f"{metrics}/engagement", f"{metrics}/breakdown/export"):
        assert ask("sk_test_soundlinks", path).status_code == 200
        assert error_of(ask("sk_test_metrics", path)) == (403, "insufficient_scope")
    campaign = f"/v1/campaigns/{sim.world.campaigns[0].path_id}/metrics"
    assert error_of(ask("sk_test_soundlinks", "/v1/campaigns")) == (403, "insufficient_scope")
    assert error_of(ask("sk_test_soundlinks", f"{campaign}/breakdown/export")) == (403, "insufficient_scope")


def test_faults_and_shrinking_days_meet_soundlinks(sim: Simulator, api: Keyed) -> None:
    soundlink = sim.world.soundlinks[0]
    path = f"/v1/soundlinks/{soundlink.path_id}/metrics/breakdown/export?startDate=2026-01-20&endDate=2026-01-21"
    sim.faults.add("status", campaign=soundlink.path_id, export=SOUNDLINK_BREAKDOWN, status=503)
    assert [api.get(path).status_code for _ in range(2)] == [503, 200]
    sim.shrinking.add(Shrinking(date(2026, 1, 20), campaign=soundlink.path_id))
    days = [{json.loads(line)["report_date"] for line in api.get(path).content.splitlines()} for _ in range(2)]
    sim.shrinking.clear()
    assert days == [{"2026-01-21"}, {"2026-01-20", "2026-01-21"}]
