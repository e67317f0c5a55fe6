"""The totals of a campaign: which request they are, exact numbers, and nothing that is not as documented."""

import json
from datetime import date
from decimal import Decimal

import httpx
import pytest

from soundlink_pipeline.api.errors import RequestRefused, ScopeMissing, SoundlinkError, WrongContent
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.simulator import BREAKDOWN, Simulator
from soundlink_pipeline_tests.api.shared import DATES, NOW, Connect, mocked

YEAR = DateRange(date(2025, 3, 1), date(2026, 2, 28))


def test_the_totals_of_a_campaign_are_one_request_for_any_range(server: Simulator, connect: Connect) -> None:
    campaign = server.world.campaigns[1]
    found = connect().overview(campaign.path_id, YEAR)
    rows = server.world.rows(BREAKDOWN, campaign.uuid, YEAR.start, YEAR.end, NOW)
    assert found["streams"] == sum(row["streams"] for row in rows)
    assert found["spend_total"] == sum(row["spend_total"] for row in rows)
    (record,) = server.stats.records
    assert (record.path, record.query) == (
        f"/v1/campaigns/{campaign.path_id}/metrics/overview",
        "startDate=2025-03-01&endDate=2026-02-28",
    )


def test_numbers_are_exact(connect: Connect) -> None:
    body = b'{"data":{"spend_total":123456789012.123456,"streams":12,"cpl":1e999,"fees":NaN}}'
    found = mocked(connect, lambda _: httpx.Response(200, content=body)).overview("c", DATES)
    assert (found["spend_total"], found["streams"]) == (Decimal("123456789012.123456"), 12)


def test_an_id_is_one_segment_of_the_path(connect: Connect) -> None:
    paths = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path.partition(b"?")[0])
        return httpx.Response(200, json={"data": {}})

    mocked(connect, answer).overview("../a b", DATES)
    assert paths == [b"/v1/campaigns/%2E%2E%2Fa%20b/metrics/overview"]


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b'"text"', b"{}", b'{"data":null}', b'{"data":[1]}', b'{"meta":{"requestId":"req-7"}}']
)
def test_totals_that_are_not_as_documented_are_refused(connect: Connect, body: bytes) -> None:
    client = mocked(connect, lambda _: httpx.Response(200, content=body))
    with pytest.raises(WrongContent, match="the overview of campaign c is not what the API documents") as raised:
        client.overview("c", DATES)
    assert client.requests == 1
    assert ("requestId req-7" in str(raised.value)) is (b"req-7" in body)


@pytest.mark.parametrize("number", ["1e9999999999999999999", "9" * 5000])
def test_a_number_beyond_all_numbers_is_no_json(connect: Connect, number: str) -> None:
    body = f'{{"data":{{"streams":{number}}}}}'.encode()
    with pytest.raises(WrongContent, match="where JSON was due"):
        mocked(connect, lambda _: httpx.Response(200, content=body)).overview("c", DATES)


@pytest.mark.parametrize(
    ("key", "campaign", "error", "code"),
    [
        ("sk_test_campaigns", 0, ScopeMissing, "insufficient_scope"),
        (None, None, RequestRefused, "campaign_not_found"),
    ],
)
def test_a_refusal_is_not_repeated(
    server: Simulator,
    connect: Connect,
    key: str | None,
    campaign: int | None,
    error: type[SoundlinkError],
    code: str,
) -> None:
    client = connect(key) if key else connect()
    with pytest.raises(error) as raised:
        client.overview("camp_unknown" if campaign is None else server.world.campaigns[campaign].path_id, DATES)
    assert (raised.value.code, client.requests) == (code, 1)


def test_what_may_pass_is_tried_again(connect: Connect) -> None:
    answers = iter((httpx.Response(503), httpx.Response(429), httpx.Response(200, json={"data": {"streams": 1}})))
    client = mocked(connect, lambda _: next(answers))
    assert json.dumps(client.overview("c", DATES)) == '{"streams": 1}'
    assert client.requests == 3
