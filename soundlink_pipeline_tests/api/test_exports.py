"""An export as the client writes it: byte for byte, whatever a whole answer looks like."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.simulator import Simulator, ndjson
from soundlink_pipeline_tests.api.shared import DATES, NDJSON, NOW, ROWS, Connect, Scripted, download, mocked, truth
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS


@pytest.mark.parametrize("export", CAMPAIGN_EXPORTS, ids=lambda export: export.name)
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
    assert record.path == export.path.format(id=campaign.path_id)
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
    before = client.requests
    got = client.download(CAMPAIGN_COUNTRY_DAILY, "c", DATES, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == body
    assert (got.bytes, got.sha256) == (len(body), sha256(body).hexdigest())
    assert client.requests == before + 1


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
