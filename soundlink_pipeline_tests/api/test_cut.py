"""Truncated, cut and missing answers, which the client requests again, and its error where that does not help."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soundlink_pipeline.api.errors import TruncatedDelivery, Unreachable
from soundlink_pipeline.api.pacing import Cancelled
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.simulator import Simulator
from soundlink_pipeline_tests.api.shared import DATES, NDJSON, QUICK, ROWS, Connect, download, mocked, truth
from soundlink_pipeline_tests.conftest import WaitingClock


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
    """As when a connection without a declared length just ends: the number of lines is right, the last one is not."""
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
    assert len(server.stats.records) in (2, 3)  # a busy machine may be silent for so short a time, too


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
    assert [line.partition(":")[0] for line in told] == ["attempt 1 of 3 failed", "attempt 2 of 3 failed"]


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
