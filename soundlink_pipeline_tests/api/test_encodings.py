"""Compressed answers: every member is decoded, and one without its end, or with more after it, is fetched again."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.api.content_encoding import DamagedEncoding, DecodedStream
from soundlink_pipeline.api.errors import KeyRefused, ServerFault, TruncatedDelivery, Unreachable, WrongContent
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.simulator import Simulator
from soundlink_pipeline.simulator.content_encoding import encode
from soundlink_pipeline_tests.api.shared import DATES, KEY, NDJSON, ROWS, Connect, Scripted, download, mocked, truth

try:
    import brotli
except ImportError:
    brotli = None

needs_brotli = pytest.mark.skipif(brotli is None, reason="br is decoded where the package brotli is installed")
COUNTED = {"x-row-count": str(len(ROWS))}
# What Content-Encoding says, and such a body of one member.
ONE_MEMBER = [
    pytest.param("gzip", gzip.compress(NDJSON, mtime=0), id="gzip"),
    pytest.param("X-GZIP", gzip.compress(NDJSON, mtime=0), id="x-gzip"),
    pytest.param("deflate", zlib.compress(NDJSON), id="deflate"),
    pytest.param("deflate", zlib.compress(NDJSON)[2:-4], id="deflate without a zlib header"),
    pytest.param("zstd", encode(NDJSON, "zstd"), id="zstd"),
    pytest.param("br", encode(NDJSON, "br") if brotli else b"", id="br", marks=needs_brotli),
    pytest.param("deflate, gzip", gzip.compress(zlib.compress(NDJSON), mtime=0), id="gzip of deflate"),
]
SEVERAL_MEMBERS = [
    pytest.param("gzip", gzip.compress(NDJSON[:30], mtime=0) + gzip.compress(NDJSON[30:], mtime=0), id="two of gzip"),
    pytest.param("zstd", encode(NDJSON, "zstd", members=3), id="three of zstd"),
    pytest.param("zstd", b"\x50\x2a\x4d\x18\x02\0\0\0hi" + encode(NDJSON, "zstd"), id="zstd after a frame to skip"),
    pytest.param("zstd, gzip", encode(NDJSON, "zstd, gzip", members=2), id="two of gzip of zstd"),
]
TINY_MEMBERS = [
    pytest.param("gzip", encode(NDJSON, "gzip", members=len(NDJSON) + 1), id="one for each byte and an empty one"),
]


def fetched(client: SoundlinkClient, folder: Path) -> bytes:
    client.download(CAMPAIGN_COUNTRY_DAILY, "c", DATES, folder / "export")
    return (folder / "export").read_bytes()


class Answering:
    """A client with one try, and what it is answered."""

    def __init__(self, connect: Connect, encoding: str) -> None:
        self.headers, self.body = {"content-encoding": encoding}, b""
        self.client = mocked(connect, self._answer, tries=1)

    def _answer(self, _: httpx.Request) -> httpx.Response:
        # The connection is in order: whoever cut the body says the length of what is left.
        headers = {"content-length": str(len(self.body)), **self.headers}
        return httpx.Response(200, content=iter([self.body]), headers=headers)


@pytest.mark.parametrize("counted", [COUNTED, {}], ids=["counted", "not counted"])
@pytest.mark.parametrize(("encoding", "body"), ONE_MEMBER + SEVERAL_MEMBERS + TINY_MEMBERS)
def test_a_compressed_answer_is_taken_whole(
    scripted: Scripted, tmp_path: Path, encoding: str, body: bytes, counted: dict[str, str]
) -> None:
    framed = {"content-encoding": encoding, "content-length": str(len(body)), **counted}
    assert fetched(scripted([body], **framed), tmp_path) == NDJSON
    assert fetched(scripted([bytes([byte]) for byte in body], **framed), tmp_path) == NDJSON


@pytest.mark.parametrize(("encoding", "body"), ONE_MEMBER)
def test_a_compressed_answer_cut_at_any_byte_is_never_taken(
    connect: Connect, tmp_path: Path, encoding: str, body: bytes
) -> None:
    answering = Answering(connect, encoding)
    for stop in range(len(body)):
        answering.body = body[:stop]
        with pytest.raises(Unreachable, match=r"content encoding is damaged: the [a-z]+ body stops before its end"):
            fetched(answering.client, tmp_path)


@pytest.mark.parametrize(("encoding", "body"), SEVERAL_MEMBERS)
def test_members_cut_at_any_byte_are_never_taken_for_all(
    connect: Connect, tmp_path: Path, encoding: str, body: bytes
) -> None:
    """Between two members the count of rows alone tells: `trials/network/test_raw.py` has those of the connection."""
    answering = Answering(connect, encoding)
    answering.headers.update(COUNTED)
    for stop in range(len(body)):
        answering.body = body[:stop]
        with pytest.raises((Unreachable, TruncatedDelivery)):
            fetched(answering.client, tmp_path)


@pytest.mark.parametrize("surplus", [b"\0", b"x", b"\0\0\0\0", b"garbage", b'{"n":4}\n'], ids=repr)
@pytest.mark.parametrize(("encoding", "body"), ONE_MEMBER)
def test_what_follows_the_end_is_damage(
    connect: Connect, tmp_path: Path, encoding: str, body: bytes, surplus: bytes
) -> None:
    answering = Answering(connect, encoding)
    answering.body = body + surplus
    after = "cannot be decoded" if encoding == "br" else "goes on after its end"
    with pytest.raises(Unreachable, match=f"content encoding is damaged: the [a-z]+ body {after}"):
        fetched(answering.client, tmp_path)


@pytest.mark.parametrize(
    "encoding", ["gzip", "deflate", "raw-deflate", "zstd", pytest.param("br", marks=needs_brotli), "gzip, zstd"]
)
def test_a_body_that_ends_at_a_flush_is_fetched_again(
    server: Simulator, connect: Connect, tmp_path: Path, encoding: str
) -> None:
    """Every row is there, but nothing says that it was the last."""
    server.faults.add("encoded", encoding=encoding, ended=False)
    server.faults.add("encoded", encoding=encoding, lost=1, chunked=True)
    server.faults.add("encoded", encoding=encoding, members=1 if "deflate" in encoding or encoding == "br" else 3)
    download(connect(), server, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == truth(server)
    assert len(server.stats.records) == 3


def test_an_account_whose_every_answer_comes_in_members_is_read(
    server: Simulator, connect: Connect, tmp_path: Path
) -> None:
    plain = connect().listed(CAMPAIGN).items
    server.gzip_members = 5
    client = connect()
    assert client.listed(CAMPAIGN).items == plain
    download(client, server, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == truth(server)
    assert client.requests == 2


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_listing_is_whole_or_fetched_again(server: Simulator, connect: Connect, encoding: str) -> None:
    plain = connect().listed(CAMPAIGN).items
    server.faults.add("encoded", encoding=encoding, ended=False)
    server.faults.add("encoded", encoding=encoding, surplus=b"}")
    server.faults.add("encoded", encoding=encoding, members=4)
    client = connect()
    assert client.listed(CAMPAIGN).items == plain
    assert client.requests == 3


def test_an_error_is_read_in_every_member(connect: Connect) -> None:
    said = b'{"error":{"code":"api_key_revoked","message":"Gone."},"meta":{"requestId":"r-1"}}'
    body = iter([encode(said, "gzip", members=3)])
    client = mocked(
        connect, lambda _: httpx.Response(401, content=body, headers={"content-encoding": "gzip"}), auth="x-api-key"
    )
    with pytest.raises(KeyRefused, match=r"revoked.*Gone\. \(code api_key_revoked, requestId r-1\)"):
        client.ping()


def test_the_status_of_an_error_counts_where_its_body_is_damaged(connect: Connect) -> None:
    client = mocked(
        connect, lambda _: httpx.Response(502, content=iter([b"<h1>"]), headers={"content-encoding": "gzip"})
    )
    with pytest.raises(ServerFault, match=r"HTTP 502$"):
        client.ping()


@pytest.mark.parametrize("header", ["identity", "Identity, ,", ""])
def test_an_encoding_that_changes_nothing_is_none(scripted: Scripted, tmp_path: Path, header: str) -> None:
    assert fetched(scripted([NDJSON], content_encoding=header), tmp_path) == NDJSON


def test_encodings_in_several_headers_are_undone_from_the_last_one(connect: Connect, tmp_path: Path) -> None:
    headers = [("content-encoding", "deflate"), ("content-encoding", "gzip"), ("x-row-count", "3")]
    body = gzip.compress(zlib.compress(NDJSON))
    client = mocked(connect, lambda _: httpx.Response(200, content=iter([body]), headers=headers))
    assert fetched(client, tmp_path) == NDJSON


@pytest.mark.parametrize(
    "header",
    ["compress", "x-br", "gzip, aws-chunked", "gzip;q=1", "gzip gzip", "x-deflate", "dcz", ", ".join(["gzip"] * 6)],
)
def test_an_encoding_that_was_not_asked_for_is_refused_in_one_sentence(
    connect: Connect, tmp_path: Path, header: str
) -> None:
    answering = Answering(connect, header)
    answering.body = gzip.compress(NDJSON)
    with pytest.raises(WrongContent, match=f"content encoding is '{header}', which was not asked for"):
        fetched(answering.client, tmp_path)
    assert answering.client.requests == 1


def test_a_header_that_echoes_the_key_does_not_show_it(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(WrongContent) as raised:
        fetched(Answering(connect, KEY).client, tmp_path)
    assert KEY not in str(raised.value)


def test_gzip_is_asked_for(connect: Connect) -> None:
    """The one with a checksum and a length. httpx would ask for what its own decoders know."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["accept-encoding"])
        return httpx.Response(200, json={})

    mocked(connect, answer).ping()
    assert asked == ["gzip"]


# The decoders alone


class Pieces(httpx.SyncByteStream):
    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


MEBIBYTE = 1 << 20


@pytest.mark.parametrize(
    "encoding", ["gzip", "deflate", "raw-deflate", "zstd", pytest.param("br", marks=needs_brotli), "gzip, gzip"]
)
def test_memory_stays_flat_however_much_a_few_bytes_decode_to(encoding: str) -> None:
    bomb = encode(bytes(16 * MEBIBYTE), encoding)
    sizes = [len(piece) for piece in DecodedStream(Pieces([bomb]), encoding.removeprefix("raw-"))]
    assert len(bomb) < 20_000
    assert (sum(sizes), max(sizes) <= MEBIBYTE // 4) == (16 * MEBIBYTE, True)


@pytest.mark.parametrize(
    ("encoding", "empty"),
    [("gzip", gzip.compress(b"") * 4000), ("zstd", b"\x50\x2a\x4d\x18\xf8\xff\0\0" + bytes(65528))],
    ids=["gzip", "zstd"],
)
def test_members_without_content_are_not_followed_for_ever(encoding: str, empty: bytes) -> None:
    sent: list[int] = []

    def endless() -> Iterator[bytes]:
        for piece in chain([encode(NDJSON, encoding)], repeat(empty, 1000)):
            sent.append(len(piece))
            yield piece

    with pytest.raises(DamagedEncoding, match="goes on without content"):
        list(DecodedStream(Pieces(endless()), encoding))
    assert sum(sent) < 2 * MEBIBYTE


def test_an_error_that_decodes_to_gibibytes_is_not_decoded_to_its_end(connect: Connect) -> None:
    bomb, sent = gzip.compress(gzip.compress(bytes(64 * MEBIBYTE), mtime=0), mtime=0), list[int]()

    def pieces() -> Iterator[bytes]:
        for piece in (bomb[start : start + 16] for start in range(0, len(bomb), 16)):
            sent.append(len(piece))
            yield piece

    headers = {"content-encoding": "gzip, gzip"}
    client = mocked(connect, lambda _: httpx.Response(500, content=pieces(), headers=headers), tries=1)
    with pytest.raises(ServerFault):
        client.ping()
    assert sum(sent) < len(bomb) // 2


@settings(deadline=None, max_examples=60)
@given(
    body=st.binary(max_size=300),
    level=st.integers(0, 9),
    window=st.integers(9, 15),
    strategy=st.sampled_from([zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY, zlib.Z_FIXED, zlib.Z_RLE]),
    size=st.integers(1, 40),
)
def test_deflate_is_told_from_the_zlib_format_whatever_is_in_it(
    body: bytes, level: int, window: int, strategy: int, size: int
) -> None:
    for sign in (1, -1):
        encoder = zlib.compressobj(level, wbits=sign * window, strategy=strategy)
        encoded = encoder.compress(body) + encoder.flush()
        pieces = [encoded[start : start + size] for start in range(0, len(encoded), size)]
        assert b"".join(DecodedStream(Pieces(pieces), "deflate")) == body
