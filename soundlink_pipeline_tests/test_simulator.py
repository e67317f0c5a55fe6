"""The simulator is the oracle of the other tests: here it is held to the vendor's documentation itself."""

import gzip
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from soundlink_pipeline.simulator import (
    BREAKDOWN,
    CAMPAIGNS_READ,
    ENGAGEMENT,
    EXPORTS,
    METRICS_READ,
    Fault,
    KeyInfo,
    SimClock,
    Simulator,
    World,
    ndjson,
    running_simulator,
)
from soundlink_pipeline.simulator.__main__ import main
from soundlink_pipeline.simulator.access import Access, ApiError

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
JANUARY = (date(2026, 1, 1), date(2026, 1, 31))
KEYS = {
    "sk_test_all": KeyInfo(),
    "sk_test_campaigns": KeyInfo(frozenset({CAMPAIGNS_READ})),
    "sk_test_metrics": KeyInfo(frozenset({METRICS_READ})),
    "sk_test_revoked": KeyInfo(revoked=True),
    "sk_test_expired": KeyInfo(expired=True),
}


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


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    with running_simulator(clock=SimClock(NOW), keys=dict(KEYS), per_minute=None, per_hour=None) as simulator:
        yield simulator


@pytest.fixture
def sim(server: Simulator) -> Simulator:
    """The shared server, with every switch as it was."""
    server.faults.clear()
    server.stats.reset()
    server.access.forget()
    server.access.per_minute = server.access.per_hour = None
    server.generation = 1
    server.clock.set(NOW)
    return server


@pytest.fixture(scope="module")
def web() -> Iterator[httpx.Client]:
    """A client without a key; one for all, since each costs a TLS context."""
    with httpx.Client(timeout=5) as client:
        yield client


class Keyed:
    """The shared client with the simulator's address and key."""

    def __init__(self, web: httpx.Client, sim: Simulator) -> None:
        self._web, self._sim = web, sim

    def get(self, path: str, **options: Any) -> httpx.Response:
        options.setdefault("headers", {"x-api-key": self._sim.key})
        return self._web.get(self._sim.base_url + path, **options)

    def stream(self, path: str) -> AbstractContextManager[httpx.Response]:
        return self._web.stream("GET", self._sim.base_url + path, headers={"x-api-key": self._sim.key})


@pytest.fixture
def api(sim: Simulator, web: httpx.Client) -> Keyed:
    return Keyed(web, sim)


def export_url(sim: Simulator, campaign: int = 1, export: str = BREAKDOWN, query: str = "") -> str:
    kind = "breakdown" if export == BREAKDOWN else "engagement"
    days = query or "startDate=2026-01-01&endDate=2026-01-31"
    return f"/v1/campaigns/{sim.world.campaigns[campaign].path_id}/metrics/{kind}/export?{days}"


def error_of(answer: httpx.Response) -> tuple[int, str]:
    content = answer.json()
    assert re.fullmatch(r"[0-9a-f-]{36}", content["meta"]["requestId"])
    assert content["error"]["message"]
    return answer.status_code, content["error"]["code"]


def all_rows(world: World, export: str, now: datetime) -> list[dict[str, Any]]:
    return [
        row
        for campaign in world.campaigns
        for row in world.rows(export, campaign.uuid, world.first_day, date(2026, 12, 31), now)
    ]


# --- the world


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


# --- access


@pytest.mark.parametrize(
    ("generation", "headers", "expected"),
    [
        (1, {"x-api-key": "sk_test_all"}, None),
        (1, {}, "invalid_api_key"),
        (1, {"x-api-key": "sk_test_unknown"}, "invalid_api_key"),
        (1, {"x-api-key": "sk_test_revoked"}, "api_key_revoked"),
        (1, {"x-api-key": "sk_test_expired"}, "api_key_expired"),
        (1, {"authorization": "Bearer sk_test_all"}, "invalid_token"),
        (1, {"x-api-key": "sk_test_all", "authorization": "Bearer sk_test_all"}, "mixed_credentials"),
        (2, {"authorization": "Bearer sk_test_all"}, None),
        (2, {"x-api-key": "sk_test_all", "authorization": "Bearer sk_test_all"}, None),
        (2, {"x-api-key": "sk_test_all"}, "invalid_api_key"),
        (2, {}, "invalid_api_key"),
        (2, {"authorization": "Bearer sk_test_unknown"}, "invalid_api_key"),
        (2, {"authorization": "Bearer sk_test_revoked"}, "api_key_revoked"),
        (2, {"authorization": "Bearer eyJ.a.jwt"}, "invalid_token"),
        (2, {"authorization": "Basic sk_test_all"}, "invalid_token"),
    ],
)
def test_each_generation_takes_its_own_credentials(
    web: httpx.Client, sim: Simulator, generation: int, headers: dict[str, str], expected: str | None
) -> None:
    sim.generation = generation
    answer = web.get(f"{sim.base_url}/v1/ping", headers=headers)
    if expected is None:
        assert answer.status_code == 200
    else:
        assert error_of(answer) == (401, expected)


def test_a_key_opens_what_its_scopes_say(web: httpx.Client, sim: Simulator) -> None:
    def ask(key: str, path: str) -> httpx.Response:
        return web.get(sim.base_url + path, headers={"x-api-key": key})

    assert ask("sk_test_metrics", "/v1/ping").status_code == 200
    assert ask("sk_test_campaigns", "/v1/campaigns").status_code == 200
    assert ask("sk_test_metrics", export_url(sim)).status_code == 200
    assert error_of(ask("sk_test_metrics", "/v1/campaigns")) == (403, "insufficient_scope")
    assert error_of(ask("sk_test_campaigns", export_url(sim))) == (403, "insufficient_scope")


@pytest.mark.parametrize(("limit", "window"), [("per_minute", 60), ("per_hour", 3600)])
def test_too_many_requests_are_told_when_to_come_back(
    web: httpx.Client, sim: Simulator, api: Keyed, limit: str, window: int
) -> None:
    setattr(sim.access, limit, 3)
    assert [api.get("/v1/ping").status_code for _ in range(3)] == [200] * 3
    sim.clock.advance(timedelta(days=1))  # limits are kept in real time
    refused = api.get("/v1/ping")
    assert error_of(refused) == (429, "rate_limit_exceeded")
    assert window - 30 <= int(refused.headers["Retry-After"]) <= window
    others = web.get(f"{sim.base_url}/v1/ping", headers={"x-api-key": "sk_test_metrics"})
    assert others.status_code == 200, "limits are per key"


def test_the_limit_slides(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter((1000.0, 1030.5, 1059.9, 1060.0, 1061.0, 1090.5))
    monkeypatch.setattr("soundlink_pipeline.simulator.access.time", SimpleNamespace(monotonic=lambda: next(moments)))
    access = Access(KEYS, generation=1, per_minute=2, per_hour=None)
    outcomes = []
    for _ in range(6):
        try:
            access.admit({"x-api-key": "sk_test_all"}, None)
            outcomes.append("in")
        except ApiError as error:
            outcomes.append(error.headers["Retry-After"])
    assert outcomes == ["in", "in", "1", "in", "30", "in"]


# --- answers


def test_every_answer_carries_the_simulated_date(sim: Simulator, api: Keyed) -> None:
    sim.clock.set(datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC))
    for path in ("/v1/ping", "/v1/nothing", export_url(sim)):
        answer = api.get(path)
        assert answer.headers["Date"] == "Tue, 03 Feb 2026 04:05:06 GMT"
        assert "server" not in answer.headers


def test_a_running_clock_runs() -> None:
    clock = SimClock(NOW, running=True)
    time.sleep(0.01)
    assert NOW < clock.now() < NOW + timedelta(minutes=1)
    with pytest.raises(ValueError, match="time zone"):
        clock.set(datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize("export", EXPORTS)
def test_an_export_is_the_truth_as_ndjson(sim: Simulator, api: Keyed, export: str) -> None:
    for campaign in sim.world.campaigns:
        path = f"/v1/campaigns/{campaign.uuid}/metrics/{'breakdown' if export == BREAKDOWN else 'engagement'}/export"
        answer = api.get(path, params={"startDate": "2026-01-01", "endDate": "2026-02-28"})
        rows = sim.world.rows(export, campaign.path_id, date(2026, 1, 1), date(2026, 2, 28), NOW)
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
        assert answer.headers["X-Row-Count"] == str(len(rows))
        lines = answer.content.decode().removesuffix("\n").split("\n") if rows else []
        assert [json.loads(line, parse_float=Decimal) for line in lines] == [
            {key: Decimal(str(value)) if isinstance(value, float) else value for key, value in row.items()}
            for row in rows
        ]
        assert all(row["campaign_id"] == campaign.uuid for row in rows)


def test_a_line_separator_travels_raw_and_whole_money_without_a_point(sim: Simulator, api: Keyed) -> None:
    body = api.get(export_url(sim, 3, query="startDate=2026-02-01&endDate=2026-03-01")).content.decode()
    assert "Sunrise\u2028Sunset" in body
    assert re.search(r'"spend_media":[1-9]\d*,', api.get(export_url(sim, 1)).text)
    assert re.search(r'"spend_media":\d+\.\d\d,', body)


def test_an_alias_and_the_uuid_name_the_same_campaign(sim: Simulator, api: Keyed) -> None:
    campaign = sim.world.campaigns[1]
    assert campaign.path_id.startswith("camp_")
    by_uuid = api.get(export_url(sim, 1).replace(campaign.path_id, campaign.uuid))
    assert by_uuid.content == api.get(export_url(sim, 1)).content
    assert json.loads(by_uuid.content.split(b"\n")[0])["campaign_id"] == campaign.uuid


def test_one_context_can_be_asked_for(sim: Simulator, api: Keyed) -> None:
    days = "startDate=2026-02-01&endDate=2026-03-01"
    whole, *parts = (
        api.get(export_url(sim, 2, ENGAGEMENT, days + context)).content.splitlines()
        for context in ("", "&engagementContext=catalog", "&engagementContext=playlist")
    )
    assert all(parts)
    assert sorted(whole) == sorted(parts[0] + parts[1])
    answer = api.get(export_url(sim, 2, ENGAGEMENT, f"{days}&engagementContext=radio"))
    assert error_of(answer) == (400, "invalid_query_parameter")


@pytest.mark.parametrize(("path", "size"), [("breakdown", 50), ("engagement", 100), ("campaigns", 5)])
def test_the_pages_add_up_to_the_whole(sim: Simulator, api: Keyed, path: str, size: int) -> None:
    export = BREAKDOWN if path == "breakdown" else ENGAGEMENT
    whole = (
        sim.world.listing(NOW)
        if path == "campaigns"
        else sim.world.rows(export, sim.world.campaigns[1].uuid, *JANUARY, NOW)
    )
    url = "/v1/campaigns" if path == "campaigns" else export_url(sim, 1, export).replace("/export", "")
    items: list[dict[str, Any]] = []
    page, pages = 0, 1
    while page < pages:
        page += 1
        data = api.get(
            url, params=httpx.QueryParams(url.partition("?")[2]).merge({"page": page, "pageSize": size})
        ).json()["data"]
        pages = data["pagination"]["totalPages"]
        assert data["pagination"] == {"page": page, "pageSize": size, "totalCount": len(whole), "totalPages": pages}
        assert data.get("schemaVersion") == (None if path == "campaigns" else "1.0")
        items += data["items"]
    assert pages > 1
    assert items == json.loads(json.dumps(whole, default=float))


def test_the_far_future_is_empty_and_no_error(sim: Simulator, api: Keyed) -> None:
    answer = api.get(export_url(sim, query="startDate=9999-12-01&endDate=9999-12-31"))
    assert (answer.status_code, answer.headers["X-Row-Count"], answer.content) == (200, "0", b"")
    sim.faults.add("cut")
    with pytest.raises(httpx.RemoteProtocolError):
        api.get(export_url(sim, query="startDate=9999-12-01&endDate=9999-12-31"))


def test_pages_have_default_sizes(sim: Simulator, api: Keyed) -> None:
    assert len(api.get("/v1/campaigns").json()["data"]["items"]) == 10
    assert len(api.get(export_url(sim).replace("/export", "")).json()["data"]["items"]) == 50
    beyond = api.get("/v1/campaigns?page=99").json()["data"]
    assert beyond["items"] == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/campaigns?pageSize=101", (400, "page_size_exceeded")),
        ("{rows}/breakdown?startDate=2026-01-01&endDate=2026-01-02&pageSize=501", (400, "page_size_exceeded")),
        ("/v1/campaigns?pageSize=0", (400, "invalid_query_parameter")),
        ("/v1/campaigns?page=two", (400, "invalid_query_parameter")),
        ("{rows}/breakdown/export", (400, "invalid_query_parameter")),
        ("{rows}/breakdown/export?startDate=2026-01-01", (400, "invalid_query_parameter")),
        ("{rows}/breakdown/export?startDate=20260101&endDate=2026-01-02", (400, "invalid_query_parameter")),
        ("{rows}/breakdown/export?startDate=2026-02-30&endDate=2026-03-02", (400, "invalid_query_parameter")),
        ("{rows}/engagement/export?startDate=2026-01-03&endDate=2026-01-02", (400, "invalid_date_range")),
        ("{rows}/breakdown/export?startDate=2026-01-01&endDate=2026-04-01", (400, "invalid_query_parameter")),
        ("/v1/campaigns/camp_unknown", (404, "campaign_not_found")),
        (
            "/v1/campaigns/x/metrics/breakdown/export?startDate=2026-01-01&endDate=2026-01-02",
            (404, "campaign_not_found"),
        ),
        ("{rows}/nothing", (404, "not_found")),
        ("/v2/ping", (404, "not_found")),
    ],
)
def test_a_wrong_question_gets_the_documented_error(
    sim: Simulator, api: Keyed, path: str, expected: tuple[int, str]
) -> None:
    answer = api.get(path.replace("{rows}", f"/v1/campaigns/{sim.world.campaigns[0].path_id}/metrics"))
    assert error_of(answer) == expected


def test_a_campaign_not_yet_created_is_not_found(sim: Simulator, api: Keyed) -> None:
    path = f"/v1/campaigns/{sim.world.campaigns[2].path_id}"
    assert api.get(path).json()["data"]["campaignId"] == sim.world.campaigns[2].path_id
    sim.clock.set(datetime(2026, 1, 2, tzinfo=UTC))
    assert error_of(api.get(path)) == (404, "campaign_not_found")


def test_more_than_ninety_days_is_an_error_or_silently_less(sim: Simulator, api: Keyed) -> None:
    sim.clock.set(datetime(2026, 6, 1, tzinfo=UTC))
    ninety, more = (f"startDate={start}&endDate=2026-04-30" for start in ("2026-01-31", "2026-01-01"))
    full = api.get(export_url(sim, 0, ENGAGEMENT, ninety))
    assert full.status_code == 200
    assert api.get(export_url(sim, 0, ENGAGEMENT, more)).content == full.content, "generation 1 gives the latest 90"
    sim.generation = 2
    current = api.get(export_url(sim, 0, ENGAGEMENT, more), headers={"authorization": f"Bearer {sim.key}"})
    assert error_of(current) == (400, "invalid_query_parameter")


# --- faults


def faulty(sim: Simulator, api: Keyed, kind: str, **params: Any) -> tuple[httpx.Response, httpx.Response]:
    """The spoiled answer and the sound one that follows it."""
    sim.faults.add(kind, match="/export", **params)
    spoiled, sound = api.get(export_url(sim)), api.get(export_url(sim))
    rows = sim.world.rows(BREAKDOWN, sim.world.campaigns[1].uuid, *JANUARY, NOW)
    assert (sound.content, sound.headers["X-Row-Count"]) == (ndjson(rows), str(len(rows)))
    return spoiled, sound


def test_fault_status(sim: Simulator, api: Keyed) -> None:
    assert error_of(faulty(sim, api, "status")[0]) == (500, "internal_error")
    busy, _ = faulty(
        sim, api, "status", status=429, code="rate_limit_exceeded", retry_after="Mon, 02 Mar 2026 06:00:05 GMT"
    )
    assert (error_of(busy), busy.headers["Retry-After"]) == (
        (429, "rate_limit_exceeded"),
        "Mon, 02 Mar 2026 06:00:05 GMT",
    )
    bare, _ = faulty(sim, api, "status", status=502, body="Bad Gateway", retry_after=2)
    assert (bare.status_code, bare.text, bare.headers["Retry-After"]) == (502, "Bad Gateway", "2")


@pytest.mark.parametrize(
    ("params", "error", "received"),
    [
        ({"after": 100}, httpx.RemoteProtocolError, 100),
        ({"after": 0}, httpx.RemoteProtocolError, 0),
        ({"after": 100, "chunked": True}, httpx.RemoteProtocolError, 100),
        ({"after": None}, httpx.RemoteProtocolError, None),
        ({"reset": True}, httpx.ReadError, None),
    ],
)
def test_fault_cut(
    sim: Simulator, api: Keyed, params: dict[str, Any], error: type[Exception], received: int | None
) -> None:
    sim.faults.add("cut", **params)
    with api.stream(export_url(sim)) as answer:
        assert answer.status_code == 200
        assert ("content-length" in answer.headers) == ("chunked" not in params)
        got, failure = read_until_it_fails(answer)
    assert isinstance(failure, error)
    assert received in (None, got)
    assert api.get(export_url(sim)).status_code == 200


def read_until_it_fails(answer: httpx.Response) -> tuple[int, httpx.TransportError | None]:
    got = 0
    try:
        for piece in answer.iter_raw():
            got += len(piece)
    except httpx.TransportError as failure:
        return got, failure
    return got, None


def test_fault_disconnect(sim: Simulator, api: Keyed) -> None:
    sim.faults.add("disconnect")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        api.get("/v1/ping")
    assert sim.stats.count(status=0) == 1


@pytest.mark.parametrize("params", [{"seconds": 30}, {"seconds": 30, "after": 10}])
def test_fault_hang(sim: Simulator, api: Keyed, params: dict[str, Any]) -> None:
    sim.faults.add("hang", **params)
    with pytest.raises(httpx.ReadTimeout):
        api.get(export_url(sim), timeout=0.1)
    sim.faults.add("hang", **params | {"seconds": 0.05})
    assert api.get(export_url(sim)).status_code == 200


def test_fault_slow(sim: Simulator, api: Keyed) -> None:
    started = time.monotonic()
    spoiled, sound = faulty(sim, api, "slow", chunk=40_000, pause=0.02)
    assert spoiled.content == sound.content
    assert time.monotonic() - started >= 0.02 * (len(sound.content) // 40_000)


def test_faults_that_miscount(sim: Simulator, api: Keyed) -> None:
    short, sound = faulty(sim, api, "short", rows=2)
    assert short.headers["X-Row-Count"] == sound.headers["X-Row-Count"]
    assert short.content.split(b"\n")[:-1] == sound.content.split(b"\n")[:-3]
    long, _ = faulty(sim, api, "long")
    assert int(long.headers["X-Row-Count"]) == int(sound.headers["X-Row-Count"]) - 1
    assert long.content == sound.content
    uncounted, _ = faulty(sim, api, "no_row_count")
    assert "X-Row-Count" not in uncounted.headers


def test_faults_of_the_type(sim: Simulator, api: Keyed) -> None:
    page, sound = faulty(sim, api, "html")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    envelope, _ = faulty(sim, api, "json")
    assert envelope.headers["Content-Type"] == "application/json"
    assert envelope.json()["data"] == {"items": []}
    mistyped, _ = faulty(sim, api, "wrong_type", content_type="text/csv")
    assert (mistyped.headers["Content-Type"], mistyped.content) == ("text/csv", sound.content)
    moved, _ = faulty(sim, api, "redirect", location="http://other.invalid/x", status=307)
    assert (moved.status_code, moved.headers["Location"]) == (307, "http://other.invalid/x")


def test_faults_of_the_date(sim: Simulator, api: Keyed) -> None:
    assert "Date" not in faulty(sim, api, "no_date")[0].headers
    assert faulty(sim, api, "set_date", value="yesterday")[0].headers["Date"] == "yesterday"
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    assert parsedate_to_datetime(faulty(sim, api, "set_date", value=moment)[0].headers["Date"]) == moment


def test_faults_of_the_body(sim: Simulator, api: Keyed) -> None:
    given, sound = faulty(sim, api, "body", body=b'{"a":1}\n\n{"a":2}')
    assert (given.content, given.headers["X-Row-Count"]) == (b'{"a":1}\n\n{"a":2}', "2")
    assert faulty(sim, api, "body", body="", count=7)[0].headers["X-Row-Count"] == "7"
    edited, _ = faulty(sim, api, "edit", edit=lambda body: body + body)
    rows = int(sound.headers["X-Row-Count"])
    assert (edited.content, edited.headers["X-Row-Count"]) == (sound.content * 2, str(rows * 2))
    original, _ = faulty(sim, api, "edit", edit=lambda body: b"", count="original")
    assert (original.content, original.headers["X-Row-Count"]) == (b"", str(rows))
    extra, _ = faulty(sim, api, "extra_field", fields={"mood": "süß", "saves": 3})
    assert [json.loads(line) for line in extra.content.split(b"\n") if line] == [
        json.loads(line) | {"mood": "süß", "saves": 3} for line in sound.content.split(b"\n") if line
    ]


def test_faults_of_the_lines(sim: Simulator, api: Keyed) -> None:
    crlf, sound = faulty(sim, api, "crlf")
    assert crlf.content == sound.content.replace(b"\n", b"\r\n")
    assert faulty(sim, api, "bom")[0].content == b"\xef\xbb\xbf" + sound.content
    blank, _ = faulty(sim, api, "blank_lines")
    assert blank.content.replace(b"\n\n", b"\n") == b"\n" + sound.content
    assert faulty(sim, api, "no_final_newline")[0].content + b"\n" == sound.content


def test_faults_of_the_framing(sim: Simulator, api: Keyed) -> None:
    zipped, sound = faulty(sim, api, "gzip")
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert zipped.content == sound.content
    assert int(zipped.headers["Content-Length"]) == len(gzip.compress(sound.content, mtime=0))
    chunked, _ = faulty(sim, api, "chunked")
    assert (chunked.headers["Transfer-Encoding"], chunked.content) == ("chunked", sound.content)
    closed, _ = faulty(sim, api, "close")
    assert closed.headers["Connection"] == "close"


def test_a_fault_takes_only_the_requests_it_is_meant_for(web: httpx.Client, sim: Simulator, api: Keyed) -> None:
    target = sim.world.campaigns[1]
    fault = sim.faults.add(Fault("status", export=ENGAGEMENT, campaign=target.uuid, times=2, skip=1))
    urls = [export_url(sim, 1), export_url(sim, 0, ENGAGEMENT), "/v1/ping", *[export_url(sim, 1, ENGAGEMENT)] * 4]
    web.get(sim.base_url + urls[-1])  # refused for want of a key: takes no fault
    assert [api.get(url).status_code for url in urls] == [200, 200, 200, 200, 500, 500, 200]
    assert (fault.hits, sim.faults.armed) == (2, [])
    sim.faults.add("status", times=None)
    assert [api.get("/v1/ping").status_code for _ in range(3)] == [500] * 3


def test_a_fault_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown fault"):
        Fault("gremlins")
    with pytest.raises(ValueError, match="has no"):
        Fault("cut", before=3)


# --- the server around it


def test_statistics_tell_what_was_asked_and_never_the_key(sim: Simulator, api: Keyed) -> None:
    body = api.get(export_url(sim)).content
    api.get("/v1/campaigns/none")
    (export, missing) = sim.stats.records
    assert (export.kind, export.method, export.status, export.scheme) == ("breakdown_export", "GET", 200, "x-api-key")
    assert export.bytes == len(body)
    assert sim.stats.count(path_contains="startDate=2026-01-01", status=200) == 1
    assert missing.status == 404
    assert sim.key not in repr(sim.stats.records)
    sim.stats.reset()
    assert sim.stats.count() == 0


def test_the_switches_work_over_http(web: httpx.Client, sim: Simulator, api: Keyed) -> None:
    admin = f"{sim.base_url}/_simulator"
    api.get("/v1/ping")
    totals = web.get(f"{admin}/stats").json()
    assert (totals["requests"], totals["by_kind"]) == (1, {"ping": {"200": 1}})
    assert web.post(f"{admin}/clock", json={"now": "2026-02-01T00:00:00+00:00"}).status_code == 200
    assert web.post(f"{admin}/clock", json={"advance_days": 2}).json()["now"] == "2026-02-03T00:00:00+00:00"
    assert sim.clock.now() == datetime(2026, 2, 3, tzinfo=UTC)
    assert web.post(f"{admin}/faults", json={"kind": "status", "status": 503}).status_code == 200
    assert api.get("/v1/ping").status_code == 503
    web.post(f"{admin}/faults", json={"kind": "html"})
    web.delete(f"{admin}/faults")
    assert api.get("/v1/ping").status_code == 200
    for nonsense in ({"kind": "gremlins"}, {"kind": "edit"}, {}, [1]):
        assert web.post(f"{admin}/faults", json=nonsense).status_code == 400
    assert web.post(f"{admin}/clock", json={"now": "2026-02-01"}).status_code == 400
    assert web.post(f"{admin}/stats/reset").json()["requests"] == 0


def test_a_hanging_answer_does_not_hold_up_the_end(web: httpx.Client) -> None:
    with running_simulator() as sim:
        sim.faults.add("hang", seconds=600)
        asked = threading.Thread(target=ask_in_vain, args=(web, f"{sim.base_url}/v1/ping", sim.key))
        asked.start()
        while not sim.stats.count(status=200):
            time.sleep(0.005)
        started = time.monotonic()
    assert time.monotonic() - started < 2
    asked.join(5)
    assert not asked.is_alive()


def ask_in_vain(web: httpx.Client, url: str, key: str) -> None:
    with pytest.raises(httpx.TransportError):
        web.get(url, headers={"x-api-key": key}, timeout=30)


def test_prepared_answers_are_the_computed_ones(web: httpx.Client, api: Keyed, sim: Simulator) -> None:
    with running_simulator(clock=SimClock(NOW), prepare=True) as prepared:
        assert prepared.prepare(*JANUARY) > 1_000_000
        client = Keyed(web, prepared)
        assert client.get(export_url(prepared)).content == api.get(export_url(sim)).content
        february = export_url(prepared, query="startDate=2026-02-20&endDate=2026-03-01")
        first = client.get(february)
        assert client.get(february).content == first.content
        prepared.clock.advance(timedelta(days=1))
        assert client.get(february).content != first.content


def test_a_file_is_served_as_it_is(web: httpx.Client, tmp_path: Any) -> None:
    path = tmp_path / "large.ndjson"
    path.write_bytes(b'{"n":1}\n' * 200_000)
    with running_simulator() as sim:
        campaign = sim.world.campaigns[1]
        sim.serve_file(BREAKDOWN, campaign.path_id, path, 200_000)
        headers = {"x-api-key": sim.key}
        answer = web.get(sim.base_url + export_url(sim), headers=headers)
        assert (answer.headers["X-Row-Count"], answer.content) == ("200000", path.read_bytes())
        sim.faults.add("cut", after=1_000_000)
        with pytest.raises(httpx.RemoteProtocolError):
            web.get(sim.base_url + export_url(sim), headers=headers)
        assert b"campaign_id" in web.get(sim.base_url + export_url(sim, 0), headers=headers).content


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_told_to_stop(web: httpx.Client, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "soundlink_pipeline.simulator", "--port", "0", "--now", "2026-03-02T06:00"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        line = process.stdout.readline()
        found = re.fullmatch(r"Soundlink simulator at (http://127\.0\.0\.1:\d+) with the key (\S+)\n", line)
        assert found, line
        answer = web.get(f"{found[1]}/v1/ping", headers={"x-api-key": found[2]})
        assert answer.headers["Date"] == "Mon, 02 Mar 2026 06:00:00 GMT"
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
        output, errors = process.stdout.read(), process.stderr.read()
    assert errors == ""
    assert f"SOUNDLINK_BASE_URL={found[1]}" in output


@pytest.mark.parametrize("arguments", [["--host", "0.0.0.0"], ["--host", "example.org"]])
def test_the_command_stays_at_home_unless_told_otherwise(arguments: list[str], capsys: Any) -> None:
    assert main(arguments) == 2
    assert "--allow-remote" in capsys.readouterr().err


def test_a_taken_port_is_one_clear_line(capsys: Any) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    try:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert main(["--port", str(port)]) == 1
    finally:
        signal.signal(signal.SIGINT, handlers[0])
        signal.signal(signal.SIGTERM, handlers[1])
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
