"""Answers that the client refuses, its errors, and how long it waits before it retries."""

import re
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from soundlink_pipeline.api.errors import RateLimited, RequestRefused, ServerFault, SoundlinkError, WrongContent
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.simulator import Simulator
from soundlink_pipeline_tests.api.shared import DATES, NOW, Connect, download, mocked, truth
from soundlink_pipeline_tests.conftest import WaitingClock


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_an_answer_that_may_pass_is_asked_for_again(
    server: Simulator, connect: Connect, tmp_path: Path, status: int
) -> None:
    server.faults.add("status", status=status, code="whatever", times=2)
    download(connect(), server, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == truth(server)
    assert [record.status for record in server.stats.records] == [status, status, 200]


@pytest.mark.parametrize(
    ("status", "error"), [(500, ServerFault), (503, ServerFault), (599, ServerFault), (429, RateLimited)]
)
def test_an_answer_that_does_not_pass_is_an_error_with_code_and_request_id(
    server: Simulator, connect: Connect, status: int, error: type[SoundlinkError]
) -> None:
    server.faults.add("status", status=status, code="it_broke", message="So sorry.", times=None)
    with pytest.raises(error, match=r"So sorry\. \(code it_broke, requestId [0-9a-f-]{36}\)") as raised:
        connect().ping()
    assert (raised.value.transient, raised.value.fatal) == (True, False)
    assert raised.value.code == "it_broke"
    assert len(server.stats.records) == 3


@pytest.mark.parametrize("status", [400, 403, 404, 405, 408, 409, 410, 418, 422, 451])
def test_another_4xx_fails_at_once_with_code_and_request_id(
    server: Simulator, connect: Connect, tmp_path: Path, status: int
) -> None:
    server.faults.add("status", status=status, code="not_so", message="No.", times=None)
    with pytest.raises(RequestRefused, match=rf"HTTP {status}: No\. \(code not_so, requestId [0-9a-f-]{{36}}\)") as got:
        download(connect(), server, tmp_path / "export")
    assert (got.value.transient, got.value.fatal) == (False, False)
    assert len(server.stats.records) == 1


@pytest.mark.parametrize(
    "body", [b"", b"<h1>Bad Gateway</h1>", b"[]", b'{"error":"no"}', b'{"error":null}', b"\xff\xfe"]
)
def test_an_error_that_says_nothing_is_still_told_by_its_status(
    server: Simulator, connect: Connect, body: bytes
) -> None:
    server.faults.add("status", status=404, body=body)
    with pytest.raises(RequestRefused, match=r"HTTP 404 *$"):
        connect().ping()


def test_an_error_whose_text_is_cut_off_is_still_that_error(connect: Connect) -> None:
    """And not a fault of the network, which would be tried again."""

    def broken() -> Iterator[bytes]:
        yield b'{"error":'
        raise httpx.ReadError("cut")

    client = mocked(connect, lambda _: httpx.Response(400, content=broken()))
    with pytest.raises(RequestRefused):
        client.ping()
    assert client.requests == 1


def test_an_endless_message_is_shown_in_part(server: Simulator, connect: Connect) -> None:
    server.faults.add("status", status=400, message="x" * 10**6)
    with pytest.raises(RequestRefused) as raised:
        connect().ping()
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_waited_for_by_everyone(
    server: Simulator, connect: Connect, clock: WaitingClock, status: int, as_date: bool
) -> None:
    """As seconds or as a date, which is read by the server's clock: ours is years away from it."""
    later = format_datetime(NOW + timedelta(seconds=90), usegmt=True) if as_date else "90"
    server.faults.add("status", status=status, retry_after=later)
    client, other = connect(), connect()
    started = clock()
    client.ping()
    assert 90 <= clock() - started < 91
    server.faults.add("status", status=status, retry_after=later, times=None)
    with pytest.raises((RateLimited, ServerFault)):
        connect(tries=1).ping()
    server.faults.clear()
    started = clock()
    other.ping()
    assert 90 <= clock() - started < 91


@pytest.mark.parametrize("text", ["soon", "-5", "", "1e9", "Mon, 99 Mar 2026", "Mon, 02 Mar 2020 00:00:00 GMT", "0"])
def test_a_retry_after_that_says_nothing_leaves_the_backoff(
    server: Simulator, connect: Connect, clock: WaitingClock, text: str
) -> None:
    server.faults.add("status", status=429, retry_after=text, times=2)
    connect(backoff=1.0).ping()
    assert len(clock.waits) >= 2
    assert 3 <= sum(clock.waits) <= 6


def test_while_the_api_is_down_requests_are_tried_once_and_again_when_it_is_back(
    connect: Connect, server: Simulator, tmp_path: Path
) -> None:
    client, file = connect(), tmp_path / "file"
    down = server.faults.add("status", status=503, times=None)
    tries = []
    for _ in range(5):
        before = client.requests
        with pytest.raises(ServerFault):
            download(client, server, file)
        tries.append(client.requests - before)
    assert tries == [3, 3, 3, 1, 1]
    down.times = 1
    with pytest.raises(ServerFault):
        download(client, server, file)
    download(client, server, file)
    server.faults.add("status", status=503)
    before = client.requests
    download(client, server, file)
    assert client.requests - before == 2


def test_waits_grow_and_differ(server: Simulator, connect: Connect, clock: WaitingClock) -> None:
    server.faults.add("status", status=500, times=None)
    with pytest.raises(ServerFault):
        connect(backoff=1.0, tries=9).ping()
    longest = [2, 4, 8, 16, 32, 60, 60, 60]
    assert len(clock.waits) == len(longest)
    assert all(most / 2 <= wait <= most for wait, most in zip(clock.waits, longest, strict=True))
    assert len({round(wait / most, 6) for wait, most in zip(clock.waits, longest, strict=True)}) > 4


@pytest.mark.parametrize("fault", ["html", "json"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_page_or_an_envelope_is_not_taken_for_rows(
    server: Simulator, connect: Connect, tmp_path: Path, fault: str, chunked: bool
) -> None:
    server.faults.add(fault, chunked=chunked)
    with pytest.raises(WrongContent, match="where NDJSON was due"):
        download(connect(), server, tmp_path / "export")
    assert len(server.stats.records) == 1


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-ndjson", b"<!doctype html><title>Sign in</title>"),
        ("application/x-ndjson", b"\n\n  <html>"),
        ("application/octet-stream", b"PK\x03\x04"),
        ("text/plain", b"[1, 2]"),
        ("application/problem+json", b'{"title":"no"}'),
        ("application/xhtml+xml", b"<html/>"),
        ("text/html; charset=utf-8", b""),
    ],
)
def test_what_is_not_rows_is_refused_by_its_type_or_its_beginning(
    server: Simulator, connect: Connect, tmp_path: Path, kind: str, body: bytes
) -> None:
    server.faults.add("body", body=body, content_type=kind)
    with pytest.raises(WrongContent, match=re.escape(kind.partition(";")[0])):
        download(connect(), server, tmp_path / "export")
    assert len(server.stats.records) == 1


def test_a_page_after_blank_lines_in_pieces_is_refused(connect: Connect, tmp_path: Path) -> None:
    pages = iter([b"\n", b" \n", b"<html>", b"</html>"])
    client = mocked(connect, lambda _: httpx.Response(200, content=pages))
    with pytest.raises(WrongContent, match=r"'<html></html>'"):
        client.download(CAMPAIGN_COUNTRY_DAILY, "c", DATES, tmp_path / "export")
