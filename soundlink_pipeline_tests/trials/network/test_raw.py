"""Answers cut at every byte, and answers that no HTTP library would send."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from soundlink_pipeline.api import download, responses
from soundlink_pipeline.api.errors import SoundlinkError, TruncatedDelivery
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.pulling.planning import PullRequest
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.simulator import BREAKDOWN, Simulator, ndjson
from soundlink_pipeline_tests.support.project import KEY, puller
from soundlink_pipeline_tests.support.wire import Answer, fall_silent, head, reset, serving
from soundlink_pipeline_tests.trials.network.account import DATES, NOW, PATIENT
from soundlink_pipeline_tests.trials.network.raw import (
    CHUNKED,
    COUNT,
    FRAMES,
    GZIP,
    MEMBERS,
    ROWS,
    ZIPPED,
    asking,
    chunks,
    length,
    sends,
)
from soundlink_pipeline_tests.trials.network.troubles import BROKE

# Cut at every byte

ANSWERS = {
    "length": (head(length(ROWS)), ROWS),
    "length, counted": (head(length(ROWS), COUNT), ROWS),
    "chunked": (head(CHUNKED), chunks(ROWS, 7)),
    "chunked, counted": (head(CHUNKED, COUNT), chunks(ROWS, 7)),
    "gzip": (head(length(GZIP), ZIPPED), GZIP),
    "gzip, chunked, counted": (head(CHUNKED, ZIPPED, COUNT), chunks(GZIP, 9)),
    "two gzip members": (head(length(MEMBERS), ZIPPED), MEMBERS),
    "two zstd frames, chunked": (head(CHUNKED, "Content-Encoding: zstd"), chunks(FRAMES, 9)),
    "to the end, counted": (head(COUNT), ROWS),
    "gzip, to the end, counted": (head(COUNT, ZIPPED), GZIP),
    "to the end": (head(), ROWS),
}


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("name", [name for name in ANSWERS if name != "to the end"])
def test_an_answer_cut_at_any_byte_is_asked_for_again(tmp_path: Path, name: str, ending: str) -> None:
    """The head is cut in one of the answers only: it is much the same in all."""
    start, body = ANSWERS[name]
    unbounded = "to the end" in name and ending == "close"
    for stop, tries, got in cut_everywhere(tmp_path, start + body, ending, 0 if name == "chunked" else len(start)):
        assert got == ROWS or (unbounded and got == ROWS.removesuffix(b"\n")), stop
        assert tries > 1 or unbounded, stop


def test_an_answer_that_cannot_be_told_from_a_cut_one_is_not_taken(tmp_path: Path) -> None:
    start, body = ANSWERS["to the end"]
    between = body.index(b"\n") + 1
    with serving(sends(start, body[:between])) as wire, asking(wire.url, tmp_path, timeout=PATIENT, tries=2) as ask:
        with pytest.raises(TruncatedDelivery):
            ask.rows()
        assert ask.client.requests == 2


def cut_everywhere(folder: Path, whole: bytes, ending: str, first: int) -> Iterator[tuple[int, int, bytes]]:
    """For each byte from the first: where the answer was cut once, after how many tries there were rows, and which."""
    cut: list[int] = []

    def answer(connection: socket.socket, _: str) -> bool:
        if not cut:
            connection.sendall(whole)
            return False
        connection.sendall(whole[: cut.pop()])
        return reset(connection) if ending == "reset" else False

    with serving(answer) as wire, asking(wire.url, folder, timeout=PATIENT) as ask:
        for stop in range(first, len(whole)):
            cut.append(stop)
            before = len(wire.asked)
            got = ask.rows()
            yield stop, len(wire.asked) - before, got


def test_a_run_whose_every_answer_is_cut_elsewhere_loads_every_row(
    api: Simulator, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """A campaign for each byte of an answer's head and row (for one in seven, unless there are many --sequences)."""
    [row, *_] = api.world.rows(BREAKDOWN, api.world.campaigns[0].uuid, DATES.start, DATES.start, NOW)

    def whole(number: int) -> bytes:
        body = ndjson([{**row, "campaign_id": str(UUID(int=number))}])
        return head(length(body), "X-Row-Count: 1") + body

    numbers = range(0, len(whole(0)), 1 if pytestconfig.getoption("--sequences") >= 1000 else 7)
    met: set[int] = set()

    def answer(connection: socket.socket, path: str) -> bool:
        number = UUID(path.split("/")[3]).int
        connection.sendall(whole(number) if number in met else whole(number)[:number])
        met.symmetric_difference_update([number])
        return number not in met

    with serving(answer) as wire, asking(wire.url, tmp_path, timeout=PATIENT) as ask:
        soundlink = Soundlink(Settings(base_url=wire.url, data_dir=tmp_path), lambda _: KEY)
        pulls = [PullRequest(CAMPAIGN_COUNTRY_DAILY, str(UUID(int=number)), DATES) for number in numbers]
        summary = puller(soundlink, ask.client, ask.pacer).run(pulls)
    assert (len(summary.loaded), summary.failed) == (len(numbers), [])
    with soundlink.warehouse.read() as connection:
        found = connection.execute(f"select campaign_id from {BREAKDOWN} order by 1").fetchall()
    assert found == sorted((str(UUID(int=number)),) for number in numbers)
    assert summary.requests >= 2 * len(numbers)


# What no HTTP library would send


def keep_open(_: socket.socket) -> bool:
    return True


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (sends(then=fall_silent), "fell silent"),
        (sends(OK + b"Content-Ty"), BROKE),
        (sends(OK + b"Content-Ty", then=fall_silent), "fell silent"),
        (sends(OK + b"X-A: a\x00b\r\n\r\n"), BROKE),
        (sends(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), BROKE),
        (sends(ROWS), BROKE),
        (sends(head(f"Content-Length: {len(ROWS) + 1}"), ROWS), BROKE),
        (sends(head(f"Content-Length: {len(ROWS) + 1}"), ROWS, then=keep_open), "fell silent"),
        (sends(head(f"Content-Length: {len(ROWS) - 1}", "X-Row-Count: 3"), ROWS), "2 rows of the 3"),
        (sends(head(f"Content-Length: {len(ROWS) - 3}"), ROWS), "in the middle of row 2"),
        (sends(head("Content-Length: -1"), ROWS), BROKE),
        (sends(head("Content-Length: 1", "Content-Length: 2"), ROWS), BROKE),
        (sends(head(CHUNKED), b"zz\r\n", ROWS), BROKE),
        (sends(head(CHUNKED), chunks(ROWS, 7)[:-2], then=fall_silent), "fell silent"),
        (sends(head(length(ROWS), ZIPPED), ROWS), "content encoding is damaged"),
        (sends(head(length(GZIP), ZIPPED), GZIP[:-8] + bytes(8)), "content encoding is damaged"),
        (sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), BROKE),
        (sends(head("Content-Length: 0", status="204 No Content")), "HTTP 204"),
        (sends(head(length(ROWS), status="206 Partial Content"), ROWS), "HTTP 206"),
        (sends(OK + b"X-A: ", b"a" * (1 << 20)), BROKE),  # a header without an end
        (sends(OK, b"X-A: a\r\n" * (1 << 17)), BROKE),
    ],
    ids=range(21),
)
def test_an_answer_that_is_none_ends_in_one_clear_sentence(tmp_path: Path, answer: Answer, sentence: str) -> None:
    with serving(answer) as wire, asking(wire.url, tmp_path, tries=2) as ask:
        with pytest.raises(SoundlinkError, match=sentence) as raised:
            ask.rows()
        assert 1 <= ask.client.requests <= 2
    said = [str(raised.value), *ask.log]
    assert all("\n" not in text and "Traceback" not in text and KEY not in text for text in said)
    assert len(str(raised.value)) < 300
    assert raised.value.__cause__ is None


def test_a_connection_closed_between_two_requests_costs_nothing(tmp_path: Path) -> None:
    with serving(sends(head(length(ROWS)), ROWS)) as wire, asking(wire.url, tmp_path, timeout=PATIENT) as ask:
        assert [ask.rows() for _ in range(5)] == [ROWS] * 5
        assert wire.connections == len(wire.asked)


def test_an_answer_sent_twice_is_not_taken_for_that_of_another_campaign(tmp_path: Path) -> None:
    def answer(connection: socket.socket, path: str) -> bool:
        body = b'{"of":"%s"}\n' % path.split("/")[3].encode()
        connection.sendall((head(length(body), "X-Row-Count: 1") + body) * 2)
        return True

    with serving(answer) as wire, asking(wire.url, tmp_path, timeout=PATIENT) as ask:
        for campaign in ("first", "second", "third"):
            ask.client.download(CAMPAIGN_COUNTRY_DAILY, campaign, DATES, ask.to)
            assert json.loads(ask.to.read_bytes()) == {"of": campaign}


ENDLESS = 48 << 20  # as far as these servers go
MOST = 16 << 20  # and as far as the client may follow them


@pytest.mark.parametrize(
    ("status", "headers", "piece", "what"),
    [
        ("200 OK", [], b" " * 65536, "listing"),
        ("500 Internal Server Error", [], b" " * 65536, "listing"),
        ("200 OK", ["X-Row-Count: 2"], ROWS * 4096, "export"),
        ("200 OK", [], b" " * 65536, "export"),
    ],
    ids=["listing", "error", "rows", "blanks"],
)
def test_a_body_without_an_end_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, headers: list[str], piece: bytes, what: str
) -> None:
    monkeypatch.setattr(responses, "LARGEST_JSON_BYTES", 1 << 20)
    monkeypatch.setattr(download, "LARGEST_EXPORT_BYTES", 1 << 20)
    sent: list[int] = []

    def answer(connection: socket.socket, _: str) -> bool:
        connection.sendall(head(*headers, status=status))
        while sum(sent) < ENDLESS:
            connection.sendall(piece)
            sent.append(len(piece))
        return False

    with (
        serving(answer) as wire,
        asking(wire.url, tmp_path, timeout=PATIENT, tries=1) as ask,
        pytest.raises(SoundlinkError),
    ):
        ask.client.listed(CAMPAIGN) if what == "listing" else ask.rows()
    assert sum(sent) < MOST
