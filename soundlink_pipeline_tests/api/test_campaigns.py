"""The listing of campaigns: every page, every field, and nothing that is not as documented."""

import json
from typing import Any

import httpx
import pytest

from soundlink_pipeline.api.errors import WrongContent
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.simulator import SimClock, Simulator, World, running_simulator
from soundlink_pipeline_tests.api.shared import KEYS, NOW, Connect, Handler, mocked


def test_every_page_of_the_campaigns_is_listed(connect: Connect) -> None:
    world = World(campaigns=230, countries_per_campaign=1, tracks_per_campaign=1)
    with running_simulator(world, SimClock(NOW), keys=dict(KEYS)) as server:
        pages = connect(base_url=server.base_url).listed(CAMPAIGN)
        expected = world.listing(NOW)
        assert [item["campaignId"] for item in pages.items] == [item["campaignId"] for item in expected]
        assert pages.items == json.loads(json.dumps(expected))
        assert pages.server_date == NOW
        assert len(expected) > 200
        assert [record.query for record in server.stats.records] == [f"page={n}&pageSize=100" for n in (1, 2, 3)]


def listing(*pages: Any) -> Handler:
    answers = iter(pages)
    return lambda _: httpx.Response(200, json=next(answers))


def page(total: Any, *ids: Any) -> dict[str, Any]:
    items = [{"campaignId": campaign_id} for campaign_id in ids]
    return {"data": {"items": items, "pagination": {"totalPages": total}}, "meta": {"requestId": "req-7"}}


def test_an_account_without_campaigns_is_an_empty_list(connect: Connect) -> None:
    assert mocked(connect, listing(page(0))).listed(CAMPAIGN).items == []
    assert mocked(connect, listing(page(1))).listed(CAMPAIGN).items == []


def test_a_campaign_that_slips_onto_the_next_page_is_listed_once(connect: Connect) -> None:
    pages = mocked(connect, listing(page(2, "a", "b"), page(2, "b", "c"))).listed(CAMPAIGN)
    assert [item["campaignId"] for item in pages.items] == ["a", "b", "c"]


def test_a_list_that_shrinks_or_grows_while_it_is_read_ends_where_it_ends(connect: Connect) -> None:
    assert len(mocked(connect, listing(page(3, "a"), page(2, "b"))).listed(CAMPAIGN).items) == 2
    assert len(mocked(connect, listing(page(2, "a"), page(3, "b"), page(3, "c"))).listed(CAMPAIGN).items) == 3
    assert len(mocked(connect, listing(page(2, "a"), page(2))).listed(CAMPAIGN).items) == 1


def test_campaigns_are_kept_with_every_field(connect: Connect) -> None:
    item = {"campaignId": "a", "name": "Sunrise\u2028 🎧", "new": {"field": [1.5, None]}}
    body = {"data": {"items": [item], "pagination": {"totalPages": 1}}}
    assert mocked(connect, listing(body)).listed(CAMPAIGN).items == [item]


@pytest.mark.parametrize(
    "body",
    [
        [],
        None,
        "text",
        {},
        {"data": None},
        {"data": []},
        {"data": {"items": []}},
        {"data": {"items": None, "pagination": {"totalPages": 1}}},
        {"data": {"items": "text", "pagination": {"totalPages": 1}}},
        {"data": {"items": {"a": 1}, "pagination": {"totalPages": 1}}},
        {"data": {"items": [None], "pagination": {"totalPages": 1}}},
        {"data": {"items": [{}], "pagination": {"totalPages": 1}}},
        page("many", "a"),
        page(None, "a"),
        page(1, 7),
        page(1, ""),
        page(1, "\ud800"),
        page(10**9),  # for ever
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_a_listing_that_is_not_as_documented_is_refused(connect: Connect, body: Any) -> None:
    client = mocked(connect, lambda _: httpx.Response(200, content=json.dumps(body)))
    with pytest.raises(WrongContent, match="page 1 of the campaign listing is not what the API documents") as raised:
        client.listed(CAMPAIGN)
    assert client.requests == 1
    assert ("requestId req-7" in str(raised.value)) == (isinstance(body, dict) and "meta" in body)


def test_an_infinite_number_of_pages_is_refused(connect: Connect) -> None:
    body = b'{"data":{"items":[],"pagination":{"totalPages":Infinity}}}'
    with pytest.raises(WrongContent):
        mocked(connect, lambda _: httpx.Response(200, content=body)).listed(CAMPAIGN)


@pytest.mark.parametrize("fault", ["html", "cut", "gzip"])
def test_a_listing_meets_the_same_faults_as_an_export(server: Simulator, connect: Connect, fault: str) -> None:
    server.faults.add(fault)
    client = connect()
    if fault == "html":
        with pytest.raises(WrongContent, match="/v1/campaigns answered text/html where JSON was due"):
            client.listed(CAMPAIGN)
    else:
        assert client.listed(CAMPAIGN).items == json.loads(json.dumps(server.world.listing(NOW)))
