"""Each of the simulator's faults does what it says, to the requests it is meant for."""

import gzip
import json
import time
import zlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from soundlink_pipeline.simulator import BREAKDOWN, ENGAGEMENT, Fault, Simulator, ndjson
from soundlink_pipeline_tests.simulator.shared import JANUARY, NOW, Keyed, error_of, export_url


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


def test_fault_encoded(sim: Simulator, api: Keyed) -> None:
    def fetched(**params: Any) -> tuple[str, bytes]:
        sim.faults.add("encoded", **params)
        with api.stream(export_url(sim)) as answer:
            assert answer.headers["X-Row-Count"] == sound.headers["X-Row-Count"]
            return answer.headers["Content-Encoding"], b"".join(answer.iter_raw())

    sound = api.get(export_url(sim))
    rows = sound.content
    header, whole = fetched(members=3)
    assert (header, gzip.decompress(whole), whole.count(b"\x1f\x8b\x08\0")) == ("gzip", rows, 3)
    header, bare = fetched(encoding="raw-deflate")
    assert (header, zlib.decompress(bare, -15)) == ("deflate", rows)
    header, both = fetched(encoding="deflate, x-gzip")
    assert (header, zlib.decompress(gzip.decompress(both))) == ("deflate, x-gzip", rows)
    _, unended = fetched(ended=False)
    decoder = zlib.decompressobj(31)
    assert (decoder.decompress(unended), decoder.eof) == (rows, False)
    assert fetched(encoding="identity", header="compress", lost=2, surplus=b"xyz") == ("compress", rows[:-2] + b"xyz")


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
