"""The simulator's answers, to whom it gives them and how often: as the vendor's documentation says."""

import gzip
import json
import re
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from soundlink_pipeline.simulator import BREAKDOWN, ENGAGEMENT, EXPORTS, SimClock, Simulator
from soundlink_pipeline.simulator.access import Counts
from soundlink_pipeline_tests.simulator.shared import JANUARY, NOW, Keyed, error_of, export_url

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
        (2, {"authorization": "Basic c2tfdGVzdF9hbGw6"}, "invalid_api_key"),
        (1, {"authorization": "Basic c2tfdGVzdF9hbGw6"}, "invalid_api_key"),
        (1, {"x-api-key": "sk_test_all", "authorization": "Basic c2tfdGVzdF9hbGw6"}, "mixed_credentials"),
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
        return web.get(sim.base_url + path, headers={"authorization": f"Bearer {key}"})

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
    others = web.get(f"{sim.base_url}/v1/ping", headers={"authorization": "Bearer sk_test_metrics"})
    assert others.status_code == 200, "limits are per key"


def test_the_limit_slides(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter((1000.0, 1030.5, 1059.9, 1060.0, 1061.0, 1090.5))
    monkeypatch.setattr("soundlink_pipeline.simulator.access.time", SimpleNamespace(monotonic=lambda: next(moments)))
    counts = Counts()
    assert [counts.take("key", [(2, 60), (None, 3600)]) for _ in range(6)] == [0, 0, 1, 0, 30, 0]


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
        name = f"{path.split('/')[-2]}_{campaign.uuid}_2026-01-01_2026-02-28.jsonl"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
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
    order = {} if path == "campaigns" else {"sortOrder": "asc"}
    items: list[dict[str, Any]] = []
    page, pages = 0, 1
    while page < pages:
        page += 1
        data = api.get(
            url, params=httpx.QueryParams(url.partition("?")[2]).merge({**order, "page": page, "pageSize": size})
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
        ("/v1/campaigns?pageSize=1000000000000", (400, "page_size_exceeded")),
        ("/v1/campaigns?page=-1", (400, "invalid_query_parameter")),
        ("/v1/campaigns?page=1.0", (400, "invalid_query_parameter")),
        ("/v1/campaigns?page=%D9%A1", (400, "invalid_query_parameter")),
        ("/v1/campaigns?page=", (400, "invalid_query_parameter")),
        ("/v1/campaigns?sortBy=updatedAt", (400, "invalid_query_parameter")),
        ("/v1/campaigns?sortOrder=up", (400, "invalid_query_parameter")),
        ("{rows}/breakdown?sortBy=country_code", (400, "invalid_query_parameter")),
        ("{rows}/engagement?sortBy=spend_total", (400, "invalid_query_parameter")),
        ("{rows}/engagement?startDate=2025-11-01&endDate=2026-03-01", (400, "invalid_query_parameter")),
        ("{rows}/breakdown/export?startDate=2026-03-03", (400, "invalid_date_range")),
        ("{rows}/breakdown/export?endDate=2026-3-3", (400, "invalid_query_parameter")),
        ("{rows}/breakdown/export?endDate=", (400, "invalid_query_parameter")),
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


def test_a_number_of_any_length_is_only_too_large(api: Keyed) -> None:
    digits = "9" * 5000  # more than Python turns into a number
    assert error_of(api.get(f"/v1/campaigns?pageSize={digits}")) == (400, "page_size_exceeded")
    assert error_of(api.get(f"/v1/campaigns?page={digits}")) == (400, "invalid_query_parameter")


def test_a_campaign_not_yet_created_is_not_found(sim: Simulator, api: Keyed) -> None:
    path = f"/v1/campaigns/{sim.world.campaigns[2].path_id}"
    assert api.get(path).status_code == 200
    sim.clock.set(datetime(2026, 1, 2, tzinfo=UTC))
    assert error_of(api.get(path)) == (404, "campaign_not_found")


def test_more_than_ninety_days_is_an_error_or_silently_less(sim: Simulator, api: Keyed) -> None:
    sim.clock.set(datetime(2026, 6, 1, tzinfo=UTC))
    ninety, more = (f"startDate={start}&endDate=2026-04-30" for start in ("2026-01-31", "2026-01-01"))
    full = api.get(export_url(sim, 0, ENGAGEMENT, ninety))
    assert full.status_code == 200
    assert error_of(api.get(export_url(sim, 0, ENGAGEMENT, more))) == (400, "invalid_query_parameter")
    sim.generation = 1
    first = api.get(export_url(sim, 0, ENGAGEMENT, more), headers={"x-api-key": sim.key})
    assert first.content == full.content, "generation 1 gives the latest 90"


def test_answers_come_in_gzip_members_if_they_are_to_and_the_request_takes_gzip(sim: Simulator, api: Keyed) -> None:
    plain = api.get(export_url(sim)).content
    sim.gzip_members = 4
    with api.stream(export_url(sim)) as answer:
        encoded = b"".join(answer.iter_raw())
    assert (answer.headers["Content-Encoding"], gzip.decompress(encoded)) == ("gzip", plain)
    assert encoded.count(b"\x1f\x8b\x08\0") == 4
    other = api.get(export_url(sim), headers={"authorization": f"Bearer {sim.key}", "Accept-Encoding": "identity"})
    assert ("Content-Encoding" in other.headers, other.content) == (False, plain)
