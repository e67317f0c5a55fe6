"""The client over real HTTP against the simulator, one fault at a time; `MockTransport` where the simulator cannot."""

import json
import logging
import re
import socket
import ssl
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soundlink_pipeline.api_errors import (
    KeyRefused,
    RateLimited,
    RedirectRefused,
    RequestRefused,
    ScopeMissing,
    ServerFault,
    SoundlinkError,
    TruncatedDelivery,
    Unreachable,
    WrongContent,
)
from soundlink_pipeline.client import SoundlinkClient
from soundlink_pipeline.exports import CAMPAIGN_COUNTRY_DAILY, EXPORTS, Export
from soundlink_pipeline.pacing import Cancelled, Pacer
from soundlink_pipeline.partitions import DateRange
from soundlink_pipeline.simulator import (
    CAMPAIGNS_READ,
    METRICS_READ,
    KeyInfo,
    SimClock,
    Simulator,
    World,
    ndjson,
    running_simulator,
)
from soundlink_pipeline.urls import checked_base_url
from soundlink_pipeline_tests.conftest import WaitingClock

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
DATES = DateRange(date(2026, 1, 1), date(2026, 1, 10))
KEY = "sk_test_9fQ2xWv7LmN4pR8sTz"
KEYS = {
    KEY: KeyInfo(),
    "sk_test_revoked": KeyInfo(revoked=True),
    "sk_test_expired": KeyInfo(expired=True),
    "sk_test_campaigns": KeyInfo(frozenset({CAMPAIGNS_READ})),
    "sk_test_metrics": KeyInfo(frozenset({METRICS_READ})),
}
QUICK = httpx.Timeout(connect=5, read=0.3, write=5, pool=None)
TLS = ssl.create_default_context()  # not used, but costly for httpx to make anew for every client
ROWS = [
    {"campaign_name": "Sunrise\u2028Sun\u2029s\u0085et", "n": 1},
    {"campaign_name": "Robert'); DROP TABLE campaigns;--", "n": 2},
    {"campaign_name": 'The "Best" of 🎧 \\ \t לילה \n', "n": 3},
]
NDJSON = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ROWS)
Connect = Callable[..., SoundlinkClient]
Scripted = Callable[..., SoundlinkClient]
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(scope="module")
def served() -> Iterator[Simulator]:
    with running_simulator(clock=SimClock(NOW), keys=dict(KEYS), per_minute=None, per_hour=None) as simulator:
        yield simulator


@pytest.fixture
def server(served: Simulator) -> Iterator[Simulator]:
    yield served
    served.faults.clear()
    served.stats.reset()
    served.generation = 1


@pytest.fixture
def connect(served: Simulator, tmp_path: Path, clock: WaitingClock) -> Iterator[Connect]:
    """Makes clients that have three tries and wait on a clock that nobody waits for."""
    with ExitStack() as stack:

        def connect(key: str = KEY, base_url: str = served.base_url, **settings: Any) -> SoundlinkClient:
            pacer = Pacer(tmp_path / "requests.sqlite", 10_000, 100_000, cancelled=clock, now=clock)
            stack.enter_context(pacer)
            if "transport" not in settings:
                settings["transport"] = httpx.HTTPTransport(verify=TLS)
            settings = {"backoff": 0.001, "tries": 3, **settings}
            return stack.enter_context(SoundlinkClient(base_url, key, pacer, **settings))

        yield connect


@pytest.fixture
def scripted(connect: Connect) -> Scripted:
    """One client for many examples: gives it what it is answered next."""
    said: dict[str, Any] = {}
    client = mocked(connect, lambda _: httpx.Response(200, content=iter(said["pieces"]), headers=said["headers"]))

    def script(pieces: list[bytes], **headers: str) -> SoundlinkClient:
        said.update(pieces=pieces, headers={name.replace("_", "-"): value for name, value in headers.items()})
        client.requests = 0
        return client

    return script


def mocked(connect: Connect, handler: Handler, **settings: Any) -> SoundlinkClient:
    return connect(base_url="https://api.example", transport=httpx.MockTransport(handler), **settings)


def truth(server: Simulator, export: Export = CAMPAIGN_COUNTRY_DAILY, campaign: int = 0) -> bytes:
    """The bytes that the export of a campaign is, as delivered."""
    uuid = server.world.campaigns[campaign].uuid
    return ndjson(server.world.rows(export.name, uuid, DATES.start, DATES.end, NOW))


def download(client: SoundlinkClient, server: Simulator, to: Path, export: Export = CAMPAIGN_COUNTRY_DAILY) -> Any:
    return client.download(export, server.world.campaigns[0].path_id, DATES, to)


def schemes(server: Simulator) -> list[str]:
    return [record.scheme for record in server.stats.records]


# Exports


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.name)
@pytest.mark.parametrize("index", range(8))
def test_an_export_arrives_byte_for_byte(
    server: Simulator, connect: Connect, tmp_path: Path, export: Export, index: int
) -> None:
    """Whatever the campaign is called: U+2028, quotes, SQL and emoji are among them; in some ids differ."""
    campaign = server.world.campaigns[index]
    dates = DateRange(date(2026, 1, 1), date(2026, 3, 1))
    expected = server.world.rows(export.name, campaign.uuid, dates.start, dates.end, NOW)
    asked = datetime(2026, 3, 2, 5, 59, tzinfo=UTC)
    got = connect(now=lambda: asked).download(export, campaign.path_id, dates, tmp_path / "export")
    body = (tmp_path / "export").read_bytes()
    assert body == ndjson(expected)
    assert (got.bytes, got.sha256) == (len(body), sha256(body).hexdigest())
    assert got.declared_rows == len(expected)
    assert (got.requested_at, got.received_at, got.server_date) == (asked, asked, NOW)
    [record] = server.stats.records
    assert record.path == export.path.format(campaign_id=campaign.path_id)
    assert record.query == "startDate=2026-01-01&endDate=2026-03-01"


def test_an_export_without_rows_is_an_empty_file(server: Simulator, connect: Connect, tmp_path: Path) -> None:
    long_ago = DateRange(date(2020, 1, 1), date(2020, 1, 1))
    campaign = server.world.campaigns[0].path_id
    got = connect().download(CAMPAIGN_COUNTRY_DAILY, campaign, long_ago, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == b""
    assert (got.bytes, got.declared_rows, got.sha256) == (0, 0, sha256(b"").hexdigest())


def test_more_than_ninety_days_are_never_asked_for(server: Simulator, connect: Connect, tmp_path: Path) -> None:
    ninety_one = DateRange(date(2026, 1, 1), date(2026, 4, 1))
    with pytest.raises(ValueError, match="91 days; the API gives at most 90"):
        connect().download(CAMPAIGN_COUNTRY_DAILY, "camp", ninety_one, tmp_path / "export")
    assert server.stats.records == []


@pytest.mark.parametrize(
    ("fault", "params"),
    [
        ("chunked", {}),
        ("close", {}),
        ("gzip", {}),
        ("gzip", {"chunked": True}),
        ("wrong_type", {}),  # what the body is decides
        ("wrong_type", {"content_type": "text/plain"}),
        ("bom", {}),  # left out
        ("bom", {"chunked": True}),
        ("slow", {"chunk": 1000, "pause": 0.001}),
    ],
)
def test_an_odd_but_whole_answer_is_taken_as_it_is(
    server: Simulator, connect: Connect, tmp_path: Path, fault: str, params: dict[str, Any]
) -> None:
    server.faults.add(fault, **params)
    got = download(connect(), server, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == truth(server)
    assert got.sha256 == sha256(truth(server)).hexdigest()
    assert server.stats.count(status=200) == len(server.stats.records) == 1


@pytest.mark.parametrize(
    ("fault", "edit"),
    [
        ("crlf", lambda body: body.replace(b"\n", b"\r\n")),
        ("blank_lines", lambda body: b"\n" + body.replace(b"\n", b"\n\n")),
        ("no_final_newline", lambda body: body.removesuffix(b"\n")),
    ],
)
def test_other_line_ends_and_blank_lines_are_no_truncation(
    server: Simulator, connect: Connect, tmp_path: Path, fault: str, edit: Callable[[bytes], bytes]
) -> None:
    server.faults.add(fault)
    download(connect(), server, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == edit(truth(server))
    assert len(server.stats.records) == 1


def test_a_missing_row_count_is_no_error(server: Simulator, connect: Connect, tmp_path: Path) -> None:
    server.faults.add("no_row_count")
    assert download(connect(), server, tmp_path / "export").declared_rows is None
    assert (tmp_path / "export").read_bytes() == truth(server)


@pytest.mark.parametrize("text", ["abc", "-1", "", "1,000", "9" * 5000, "1.0"])
def test_a_row_count_that_is_no_number_is_as_good_as_none(scripted: Scripted, tmp_path: Path, text: str) -> None:
    client = scripted([NDJSON], x_row_count=text)
    assert client.download(CAMPAIGN_COUNTRY_DAILY, "c", DATES, tmp_path / "export").declared_rows is None


def test_more_rows_than_announced_are_left_to_the_load(server: Simulator, connect: Connect, tmp_path: Path) -> None:
    server.faults.add("long", rows=2)
    got = download(connect(), server, tmp_path / "export")
    body = (tmp_path / "export").read_bytes()
    assert body == truth(server)
    assert got.declared_rows == body.count(b"\n") - 2


def test_without_a_date_the_servers_clock_is_unknown(server: Simulator, connect: Connect, tmp_path: Path) -> None:
    server.faults.add("no_date")
    assert download(connect(), server, tmp_path / "export").server_date is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Mon, 02 Mar 2026 00:00:00 GMT", datetime(2026, 3, 2, tzinfo=UTC)),
        ("Mon, 02 Mar 2026 01:30:00 +0130", datetime(2026, 3, 2, tzinfo=UTC)),
        ("Mon, 02 Mar 2026 00:00:00 -0000", datetime(2026, 3, 2, tzinfo=UTC)),
        ("Thu, 01 Jan 1970 00:00:10 GMT", None),  # a clock that was never set
        ("Fri, 31 Dec 9999 23:59:59 -1200", None),
        ("Sat, 01 Jan 0999 00:00:00 GMT", None),
        ("yesterday", None),
        ("", None),
        ("Mon, 99 Mar 2026 99:00:00 GMT", None),
    ],
)
def test_the_servers_clock_is_read_as_utc_or_not_at_all(
    server: Simulator, connect: Connect, tmp_path: Path, header: str, expected: datetime | None
) -> None:
    server.faults.add("set_date", value=header)
    assert download(connect(), server, tmp_path / "export").server_date == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(
    header=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
    | st.from_regex(
        r"[0-9]{1,3} (Jan|Feb) [0-9]{1,5} [0-9]{1,3}:[0-9]{1,3}:[0-9]{1,3} ([+-][0-9]{1,5}|GMT)?", fullmatch=True
    )
)
def test_no_date_header_can_break_a_download(scripted: Scripted, tmp_path: Path, header: str) -> None:
    client = scripted([NDJSON], date=header)
    got = client.download(CAMPAIGN_COUNTRY_DAILY, "c", DATES, tmp_path / "export")
    assert got.server_date is None or got.server_date.year >= 2000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(
    cuts=st.lists(st.integers(0, len(NDJSON)), max_size=6),
    bom=st.booleans(),
    declared=st.none() | st.just(len(ROWS)),
    final_line_end=st.booleans(),
)
def test_the_seams_between_pieces_change_nothing(
    scripted: Scripted, tmp_path: Path, cuts: list[int], bom: bool, declared: int | None, final_line_end: bool
) -> None:
    body = NDJSON if final_line_end else NDJSON.removesuffix(b"\n")
    whole = b"\xef\xbb\xbf" * bom + body
    pieces = [whole[start:stop] for start, stop in pairwise([0, *sorted(cuts), len(whole)])]
    client = scripted(pieces, **({} if declared is None else {"x_row_count": str(declared)}))
    got = client.download(CAMPAIGN_COUNTRY_DAILY, "c", DATES, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == body
    assert (got.bytes, got.sha256) == (len(body), sha256(body).hexdigest())
    assert client.requests == 1


@pytest.mark.parametrize(
    "campaign_id", ["a/b", "..", ".", "ü", "%2F", "a b", "a?b=c&d", "a#b", "🎧", "{export}", "x" * 2000]
)
def test_a_hostile_campaign_id_stays_one_segment_of_the_path(
    connect: Connect, tmp_path: Path, campaign_id: str
) -> None:
    asked: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path)
        return httpx.Response(200, content=iter([b""]))

    mocked(connect, answer).download(CAMPAIGN_COUNTRY_DAILY, campaign_id, DATES, tmp_path / "export")
    path, query = asked[0].decode().split("?")
    segments = path.split("/")
    assert segments[:3] + segments[4:] == ["", "v1", "campaigns", "metrics", "breakdown", "export"]
    assert httpx.QueryParams(f"id={segments[3]}")["id"] == campaign_id
    assert segments[3] not in (".", "..")
    assert query == "startDate=2026-01-01&endDate=2026-01-10"


# Truncated and cut


@pytest.mark.parametrize("params", [{}, {"chunked": True}, {"rows": 3}], ids=str)
def test_fewer_rows_than_announced_are_fetched_again(
    server: Simulator, connect: Connect, tmp_path: Path, params: dict[str, Any]
) -> None:
    server.faults.add("short", times=2, **params)
    download(connect(), server, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == truth(server)
    assert len(server.stats.records) == 3


def test_a_delivery_that_stays_truncated_is_an_error_that_counts(
    server: Simulator, connect: Connect, tmp_path: Path
) -> None:
    server.faults.add("short", times=None)
    rows = truth(server).count(b"\n")
    with pytest.raises(TruncatedDelivery, match=f"holds {rows - 1} rows of the {rows} that X-Row-Count says"):
        download(connect(), server, tmp_path / "export")
    assert len(server.stats.records) == 3


@pytest.mark.parametrize("declared", [None, len(ROWS)])
@pytest.mark.parametrize("missing", [2, 5, 20])
def test_an_answer_that_ends_within_its_last_row_is_fetched_again(
    connect: Connect, tmp_path: Path, declared: int | None, missing: int
) -> None:
    """As when a connection that tells no length just ends: the number of lines is right, the last one is not."""
    bodies = iter([NDJSON[:-missing], NDJSON])

    def answer(_: httpx.Request) -> httpx.Response:
        headers = {} if declared is None else {"x-row-count": str(declared)}
        return httpx.Response(200, content=iter([next(bodies)]), headers=headers)

    mocked(connect, answer).download(CAMPAIGN_COUNTRY_DAILY, "c", DATES, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == NDJSON


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
@pytest.mark.parametrize("after", [0, 1, 500, None])
def test_a_connection_that_is_cut_is_tried_again(
    server: Simulator, connect: Connect, tmp_path: Path, after: int | None, chunked: bool, reset: bool
) -> None:
    server.faults.add("cut", after=after, chunked=chunked, reset=reset, times=2)
    download(connect(), server, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == truth(server)
    assert len(server.stats.records) == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(data=st.data(), chunked=st.booleans(), reset=st.booleans(), count=st.booleans())
def test_wherever_a_stream_is_cut_the_next_try_is_byte_equal(
    server: Simulator, connect: Connect, tmp_path: Path, data: st.DataObject, chunked: bool, reset: bool, count: bool
) -> None:
    body = truth(server)
    server.faults.clear()
    server.faults.add("cut", after=data.draw(st.integers(0, len(body) - 1)), chunked=chunked, reset=reset)
    if not count:
        server.faults.add("no_row_count")
    download(connect(), server, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == body


def test_a_connection_that_is_always_cut_is_an_error_that_says_so(
    server: Simulator, connect: Connect, tmp_path: Path
) -> None:
    server.faults.add("cut", times=None)
    with pytest.raises(Unreachable, match=r"the connection to 127\.0\.0\.1 broke before the answer was whole"):
        download(connect(), server, tmp_path / "export")
    assert len(server.stats.records) == 3


def test_a_damaged_encoding_is_tried_again(connect: Connect, tmp_path: Path) -> None:
    answers = iter(
        [
            httpx.Response(200, content=iter([b"no gzip at all"]), headers={"content-encoding": "gzip"}),
            httpx.Response(200, content=iter([NDJSON])),
        ]
    )
    client = mocked(connect, lambda _: next(answers))
    client.download(CAMPAIGN_COUNTRY_DAILY, "c", DATES, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == NDJSON
    assert client.requests == 2


@pytest.mark.parametrize("reset", [False, True])
def test_a_server_that_hangs_up_without_an_answer_is_asked_again(
    server: Simulator, connect: Connect, tmp_path: Path, reset: bool
) -> None:
    server.faults.add("disconnect", reset=reset, times=2)
    download(connect(), server, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == truth(server)


@pytest.mark.parametrize("after", [None, 0, 700])
def test_a_server_that_falls_silent_is_asked_again(
    server: Simulator, connect: Connect, tmp_path: Path, after: int | None
) -> None:
    server.faults.add("hang", after=after)
    download(connect(timeout=QUICK), server, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == truth(server)
    assert len(server.stats.records) == 2


def test_a_server_that_stays_silent_is_unreachable(server: Simulator, connect: Connect, tmp_path: Path) -> None:
    server.faults.add("hang", times=None)
    with pytest.raises(Unreachable, match="fell silent"):
        download(connect(timeout=QUICK, tries=2), server, tmp_path / "export")


def test_a_refused_connection_is_tried_again_and_then_told(connect: Connect) -> None:
    told: list[str] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # but nobody listens
        client = connect(base_url=f"http://127.0.0.1:{taken.getsockname()[1]}", log=told.append)
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1 could not be reached: .*refused"):
            client.ping()
    assert client.requests == 3
    assert [line.partition(":")[0] for line in told] == ["try 1 of 3 failed", "try 2 of 3 failed"]


def test_a_full_disk_is_not_taken_for_a_fault_of_the_network(
    server: Simulator, connect: Connect, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="No such file"):
        download(connect(), server, tmp_path / "nowhere" / "export")
    assert len(server.stats.records) == 1


def test_cancelling_ends_a_download_within_its_stream(
    server: Simulator, connect: Connect, tmp_path: Path, clock: WaitingClock
) -> None:
    clock_of_requests: list[int] = []

    def answer(_: httpx.Request) -> httpx.Response:
        def pieces() -> Iterator[bytes]:
            for number in range(1000):
                clock_of_requests.append(number)
                if number == 3:
                    clock.set()
                yield NDJSON

        return httpx.Response(200, content=pieces())

    with pytest.raises(Cancelled):
        mocked(connect, answer).download(CAMPAIGN_COUNTRY_DAILY, "c", DATES, tmp_path / "export")
    assert clock_of_requests == [0, 1, 2, 3]


# Refused and failed


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


# Redirects and addresses


def test_a_redirect_within_the_host_is_followed_with_the_key(
    server: Simulator, connect: Connect, tmp_path: Path
) -> None:
    campaign = server.world.campaigns[0].uuid
    there = CAMPAIGN_COUNTRY_DAILY.path.format(campaign_id=campaign) + "?startDate=2026-01-01&endDate=2026-01-10"
    for location in (there, server.base_url + there):
        server.faults.add("redirect", location=location)
        download(connect(), server, tmp_path / "export")
        assert (tmp_path / "export").read_bytes() == truth(server)
    assert schemes(server) == ["x-api-key"] * 4


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_refused_and_the_key_stays_here(
    server: Simulator, connect: Connect, status: int
) -> None:
    with running_simulator() as other:
        server.faults.add("redirect", location=f"{other.base_url}/v1/ping", status=status)
        with pytest.raises(RedirectRefused, match=r"the key is for 127\.0\.0\.1 alone") as raised:
            connect().ping()
        assert raised.value.fatal
        assert other.stats.records == []
    assert len(server.stats.records) == 1


@pytest.mark.parametrize(
    "location",
    [
        "https://127.0.0.1/v1/ping",
        "//elsewhere.invalid/v1/ping",
        "http://localhost/v1/ping",
        "ftp://127.0.0.1/",
        "http://user:password@{here}/v1/ping",  # would add an Authorization header of its own
    ],
)
def test_a_redirect_that_is_not_quite_here_is_refused(server: Simulator, connect: Connect, location: str) -> None:
    server.faults.add("redirect", location=location.format(here=server.base_url.removeprefix("http://")))
    with pytest.raises(RedirectRefused):
        connect().ping()
    assert len(server.stats.records) == 1


@pytest.mark.parametrize("location", ["http://127.0.0.1:99:99/", "https://xn--a.com/", "/v1/ping", ""])
def test_a_redirect_to_nowhere_or_in_circles_ends(server: Simulator, connect: Connect, location: str) -> None:
    server.faults.add("redirect", location=location, times=None)
    with pytest.raises(SoundlinkError, match=r"redirects|Invalid URL in location header"):
        connect().ping()
    assert len(server.stats.records) <= 4


@pytest.mark.parametrize(
    "url",
    [
        "https://api.getsoundlink.com",
        " https://api.getsoundlink.com/ ",
        "http://127.0.0.1:8000",
        "http://127.8.9.1",
        "http://localhost:1",
        "http://[::1]:8000",
        "https://proxy.example/soundlink",
    ],
)
def test_a_safe_address_is_taken(url: str) -> None:
    assert str(checked_base_url(url)) == url.strip().rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.getsoundlink.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://0.0.0.0",
        "http://192.168.0.1",
        "http://[::2]",
        "ftp://127.0.0.1",
        "api.getsoundlink.com",
        "https://",
        "",
        "https://user:password@api.getsoundlink.com",
        "https://api.getsoundlink.com?x=1",
        "https://api.getsoundlink.com#x",
        "https://xn--a.com",
        "http://localhost:port",
        "https://a\nb",
    ],
)
def test_an_address_that_would_give_the_key_away_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="SOUNDLINK_BASE_URL") as refused:
        checked_base_url(url)
    assert "password" not in str(refused.value).replace("user name or password", "")


def test_a_base_path_is_kept(connect: Connect) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={})

    connect(base_url="https://proxy.example/soundlink/", transport=httpx.MockTransport(answer)).ping()
    assert asked == ["https://proxy.example/soundlink/v1/ping"]


def test_plain_http_on_loopback_goes_through_no_proxy(
    server: Simulator, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    connect(tries=1, transport=None).ping()
    assert schemes(server) == ["x-api-key"]


# Authentication


def test_the_first_generation_is_asked_with_x_api_key_alone(
    server: Simulator, connect: Connect, tmp_path: Path
) -> None:
    client = connect()
    client.ping()
    client.campaigns()
    download(client, server, tmp_path / "export")
    assert schemes(server) == ["x-api-key"] * 3


def test_the_current_generation_is_found_once_and_remembered(
    server: Simulator, connect: Connect, tmp_path: Path
) -> None:
    server.generation = 2
    client = connect()
    client.ping()
    client.campaigns()
    download(client, server, tmp_path / "export")
    assert schemes(server) == ["x-api-key", "bearer", "bearer", "bearer"]
    assert [record.status for record in server.stats.records] == [401, 200, 200, 200]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 404, "code": "campaign_not_found"}, RequestRefused),
        ({"status": 500}, ServerFault),
        ({"status": 429, "code": "rate_limit_exceeded"}, RateLimited),
    ],
)
def test_the_way_in_is_remembered_even_where_the_answer_is_an_error(
    server: Simulator, connect: Connect, fault: dict[str, Any], error: type[SoundlinkError]
) -> None:
    """Else every try costs two requests."""
    server.generation = 2
    server.faults.add("status", **fault, times=None)
    client = connect()
    with pytest.raises(error):
        client.ping()
    server.faults.clear()
    client.ping()
    assert Counter(schemes(server))["x-api-key"] == 1


@pytest.mark.parametrize(("generation", "auth"), [(1, "x-api-key"), (2, "bearer")])
def test_a_pinned_scheme_is_the_only_one(server: Simulator, connect: Connect, generation: int, auth: str) -> None:
    server.generation = generation
    connect(auth=auth).ping()
    assert schemes(server) == [auth]


@pytest.mark.parametrize(("generation", "auth"), [(2, "x-api-key"), (1, "bearer")])
def test_a_scheme_that_was_pinned_wrongly_is_not_exchanged(
    server: Simulator, connect: Connect, generation: int, auth: str
) -> None:
    server.generation = generation
    with pytest.raises(KeyRefused):
        connect(auth=auth).ping()
    assert schemes(server) == [auth]


@pytest.mark.parametrize(
    ("key", "generation", "code", "asked", "advice"),
    [
        ("sk_test_unknown", 1, "invalid_api_key", ["x-api-key", "bearer"], "check SOUNDLINK_API_KEY"),
        ("sk_test_unknown", 2, "invalid_api_key", ["x-api-key", "bearer"], "check SOUNDLINK_API_KEY"),
        ("sk_test_revoked", 1, "api_key_revoked", ["x-api-key"], "revoked; create a new one"),
        ("sk_test_revoked", 2, "api_key_revoked", ["x-api-key", "bearer"], "revoked; create a new one"),
        ("sk_test_expired", 1, "api_key_expired", ["x-api-key"], "expired; create a new one"),
        ("sk_test_expired", 2, "api_key_expired", ["x-api-key", "bearer"], "expired; create a new one"),
    ],
)
def test_a_refused_key_is_told_for_what_it_is(
    server: Simulator, connect: Connect, key: str, generation: int, code: str, asked: list[str], advice: str
) -> None:
    server.generation = generation
    with pytest.raises(KeyRefused, match=f"{advice}.*code {code}, requestId ") as raised:
        connect(key=key).ping()
    assert raised.value.code == code
    assert raised.value.fatal
    assert schemes(server) == asked


def test_a_proxy_that_adds_credentials_is_suspected(server: Simulator, connect: Connect) -> None:
    server.faults.add("status", status=401, code="mixed_credentials")
    with pytest.raises(KeyRefused, match="does a proxy add an Authorization header"):
        connect().ping()


@pytest.mark.parametrize("generation", [1, 2])
def test_a_missing_scope_is_named(server: Simulator, connect: Connect, tmp_path: Path, generation: int) -> None:
    server.generation = generation
    with pytest.raises(ScopeMissing, match=r"scope metrics:read.*code insufficient_scope, requestId"):
        download(connect(key="sk_test_campaigns"), server, tmp_path / "export")
    with pytest.raises(ScopeMissing, match=r"campaigns:read \(not with SOUNDLINK_CAMPAIGN_IDS\)") as raised:
        connect(key="sk_test_metrics").campaigns()
    assert raised.value.fatal
    download(connect(key="sk_test_metrics"), server, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == truth(server)


def test_two_threads_that_find_the_way_in_together_both_get_in(connect: Connect) -> None:
    """The second hears of its refusal only when the first has found Bearer out."""
    together, first_is_in = threading.Barrier(2, timeout=10), threading.Event()
    refusal = {"error": {"code": "invalid_api_key", "message": ""}, "meta": {"requestId": "r"}}

    def answer(request: httpx.Request) -> httpx.Response:
        assert ("x-api-key" in request.headers) != ("authorization" in request.headers)
        if "authorization" in request.headers:
            return httpx.Response(200, json={})
        if together.wait() == 0:
            first_is_in.wait(10)
        return httpx.Response(401, json=refusal)

    client = mocked(connect, answer)
    with ThreadPoolExecutor(2) as threads:
        pings = [threads.submit(client.ping) for _ in range(2)]
        wait(pings, return_when=FIRST_COMPLETED)
        first_is_in.set()
        for ping in pings:
            ping.result()
    assert client.requests == 4


def test_many_threads_may_use_one_client(server: Simulator, connect: Connect, tmp_path: Path) -> None:
    server.generation = 2
    client = connect()
    client.ping()

    def fetch(number: int) -> bytes:
        download(client, server, tmp_path / str(number))
        return (tmp_path / str(number)).read_bytes()

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(fetch, range(12))) == {truth(server)}
    assert client.requests == len(server.stats.records) == 14
    assert Counter(schemes(server)) == {"x-api-key": 1, "bearer": 13}


@pytest.mark.parametrize("key", ["", "  ", "sk_a b", "sk_ü", "sk_a\nb", "sk_a\x00"])
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(connect: Connect, key: str) -> None:
    with pytest.raises(ValueError, match="SOUNDLINK_API_KEY") as refused:
        connect(key=key)
    assert "sk_" not in str(refused.value)


def test_blanks_around_a_key_are_forgiven(server: Simulator, connect: Connect) -> None:
    connect(key=f" {KEY}\n").ping()
    assert [record.status for record in server.stats.records] == [200]


# The key stays where it is


def everything_said(error: BaseException) -> str:
    """What any log could show of an exception: the formatted traceback, and each one it came from."""
    said, seen = ["".join(traceback.format_exception(error))], list[BaseException]()
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is not None and one not in seen:
            seen.append(one)
            said += [str(one), repr(one), repr(vars(one))]
            pending += [one.__cause__, one.__context__]
    return "\n".join(said)


ECHO = f"{'x' * 60}{KEY}"
SHOUTED = KEY.upper()


@pytest.mark.parametrize(
    ("fault", "params"),
    [
        ("status", {"status": 400, "code": "bad", "message": f"You sent {KEY}."}),
        ("status", {"status": 400, "code": KEY, "message": "no"}),
        ("status", {"status": 400, "code": "bad", "message": "x" * 290 + KEY}),
        ("status", {"status": 401, "code": "api_key_revoked", "message": SHOUTED}),
        ("status", {"status": 403, "code": "insufficient_scope", "message": KEY}),
        ("status", {"status": 429, "code": "rate_limit_exceeded", "message": KEY}),
        ("status", {"status": 500, "message": KEY}),
        ("html", {"body": f"<p>{ECHO}"}),
        ("body", {"body": ECHO}),
        ("body", {"body": b"", "content_type": f"application/{KEY}+json"}),
        ("redirect", {"location": f"https://{KEY}.invalid/"}),
        ("cut", {}),
        ("disconnect", {}),
        ("short", {}),
        ("hang", {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("generation", [1, 2])
def test_the_key_is_nowhere_but_in_the_header(
    server: Simulator,
    connect: Connect,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    generation: int,
    fault: str,
    params: dict[str, Any],
) -> None:
    server.generation = generation
    server.faults.add(fault, times=None, **params)
    told: list[str] = []
    client = connect(log=told.append, timeout=QUICK, tries=2)
    # On its lowest level httpcore logs every header that a server sends, but none that we do.
    level = logging.INFO if {"location", "content_type"} & params.keys() else logging.DEBUG
    with caplog.at_level(level), pytest.raises(SoundlinkError) as raised:
        download(client, server, tmp_path / "export")
    (tmp_path / "export").unlink(missing_ok=True)  # what a server puts into its rows is the delivery
    said = [everything_said(raised.value), repr(client), str(client), caplog.text, *told, *capfd.readouterr()]
    said += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    for part in (KEY, KEY[8:16]):
        assert part.lower() not in "\n".join(said).lower()


def test_a_key_in_the_headers_or_numbers_of_an_answer_is_cleaned(connect: Connect, tmp_path: Path) -> None:
    answers = iter(
        [
            httpx.Response(200, content=iter([b"<p>"]), headers={"x-request-id": KEY}),
            httpx.Response(200, content=iter([b""]), headers={"x-request-id": KEY, "x-row-count": "1"}),
            httpx.Response(400, json={"error": {"code": "c", "message": "m"}, "meta": {"requestId": KEY}}),
            httpx.Response(200, content=b"no json", headers={"content-type": f"text/{KEY}"}),
            httpx.Response(200, json={"data": {"items": [], "pagination": {"totalPages": KEY}}}),
        ]
    )
    client = mocked(connect, lambda _: next(answers), tries=1)
    for _ in range(3):
        with pytest.raises(SoundlinkError, match=r"requestId \[key\]") as raised:
            client.download(CAMPAIGN_COUNTRY_DAILY, "c", DATES, tmp_path / "export")
        assert KEY not in everything_said(raised.value)
    for _ in range(2):
        with pytest.raises(WrongContent, match=r"\[key\]") as raised_too:
            client.campaigns()
        assert KEY not in str(raised_too.value)


# Campaigns


def test_every_page_of_the_campaigns_is_listed(connect: Connect) -> None:
    world = World(campaigns=230, countries_per_campaign=1, tracks_per_campaign=1)
    with running_simulator(world, SimClock(NOW), keys=dict(KEYS)) as server:
        pages = connect(base_url=server.base_url).campaigns()
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
    assert mocked(connect, listing(page(0))).campaigns().items == []
    assert mocked(connect, listing(page(1))).campaigns().items == []


def test_a_campaign_that_slips_onto_the_next_page_is_listed_once(connect: Connect) -> None:
    pages = mocked(connect, listing(page(2, "a", "b"), page(2, "b", "c"))).campaigns()
    assert [item["campaignId"] for item in pages.items] == ["a", "b", "c"]


def test_a_list_that_shrinks_or_grows_while_it_is_read_ends_where_it_ends(connect: Connect) -> None:
    assert len(mocked(connect, listing(page(3, "a"), page(2, "b"))).campaigns().items) == 2
    assert len(mocked(connect, listing(page(2, "a"), page(3, "b"), page(3, "c"))).campaigns().items) == 3
    assert len(mocked(connect, listing(page(2, "a"), page(2))).campaigns().items) == 1


def test_campaigns_are_kept_with_every_field(connect: Connect) -> None:
    item = {"campaignId": "a", "name": "Sunrise\u2028 🎧", "new": {"field": [1.5, None]}}
    body = {"data": {"items": [item], "pagination": {"totalPages": 1}}}
    assert mocked(connect, listing(body)).campaigns().items == [item]


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
        client.campaigns()
    assert client.requests == 1
    assert ("requestId req-7" in str(raised.value)) == (isinstance(body, dict) and "meta" in body)


def test_an_infinite_number_of_pages_is_refused(connect: Connect) -> None:
    body = b'{"data":{"items":[],"pagination":{"totalPages":Infinity}}}'
    with pytest.raises(WrongContent):
        mocked(connect, lambda _: httpx.Response(200, content=body)).campaigns()


@pytest.mark.parametrize("fault", ["html", "cut", "gzip"])
def test_a_listing_meets_the_same_faults_as_an_export(server: Simulator, connect: Connect, fault: str) -> None:
    server.faults.add(fault)
    client = connect()
    if fault == "html":
        with pytest.raises(WrongContent, match="/v1/campaigns answered text/html where JSON was due"):
            client.campaigns()
    else:
        assert client.campaigns().items == json.loads(json.dumps(server.world.listing(NOW)))
