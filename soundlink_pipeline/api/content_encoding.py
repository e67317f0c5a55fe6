"""Content encodings (RFC 9110, 8.4): what a server or a proxy compressed, decoded whole or not at all.

httpx's own decoders take the first member of a gzip body for all of it, and a body that ends early for a whole one.
Here every member is decoded, each must come to its own end, and nothing may follow the last one. Memory stays flat,
however much a few bytes decode to.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import httpx

try:
    import brotli
except ImportError:
    brotli = None
if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# What requests ask for. gzip alone has a checksum and a length that every sender writes; the others are understood.
ACCEPTED = "gzip"
_STEP_BYTES = 1 << 17
# Members without content could follow one another for ever; no encoder needs so many bytes before it has some.
_MOST_BYTES_WITHOUT_CONTENT = 1 << 20
# Each one that is named costs a decoder.
_MOST_ENCODINGS = 5
# A sender may not expect more (RFC 9659): 8 MB. zstd's own limit is 128 MB for each download.
_ZSTD_WINDOW_LOG = 23


class DamagedEncoding(httpx.DecodingError):
    """The body is cut off, damaged, or goes on after its end; it may arrive whole the next time."""


class UnknownEncoding(httpx.DecodingError):
    """The body is encoded in a way that was not asked for and is not understood. Its text is from outside."""


class DecodedStream(httpx.SyncByteStream):
    """A body without its content encodings. `header` is the Content-Encoding, the encoding applied last standing last.

    Iterating raises DamagedEncoding and UnknownEncoding, besides what `stream` raises.
    """

    def __init__(self, stream: httpx.SyncByteStream, header: str) -> None:
        self._stream = stream
        self._header = header

    def __iter__(self) -> Iterator[bytes]:
        names = [name.strip().lower() for name in self._header.split(",")]
        names = [name for name in names if name not in ("", "identity")]
        if len(names) > _MOST_ENCODINGS or not _FORMATS.keys() >= set(names):
            raise UnknownEncoding(self._header)
        chunks = iter(self._stream)
        for name in reversed(names):
            chunks = _decoded(name.removeprefix("x-"), _FORMATS[name], chunks)
        yield from chunks

    def close(self) -> None:
        self._stream.close()


class _Member(Protocol):
    """A stretch of a body that one encoder wrote, from its beginning to its end; a body may be several."""

    # What each that follows another begins with; none for a format whose bodies have one.
    FIRST_BYTES: bytes

    def decode(self, data: bytes) -> Iterator[bytes]:
        """What `data` adds, in steps of a bounded size."""

    @property
    def ended(self) -> bool:
        """Whether the end has come, as the format marks it."""

    @property
    def rest(self) -> bytes:
        """What of the data came after the end."""


def _decoded(name: str, begin: Callable[[], _Member], chunks: Iterable[bytes]) -> Iterator[bytes]:
    member, without_content = None, 0
    for chunk in chunks:
        without_content += len(chunk)
        rest = chunk
        while rest:
            if member is None or member.ended:
                if member is not None and rest[0] not in member.FIRST_BYTES:
                    raise DamagedEncoding(f"the {name} body goes on after its end")
                member = begin()
            try:
                for piece in filter(None, member.decode(rest)):
                    without_content = 0
                    yield piece
            except _ERRORS as error:
                raise DamagedEncoding(f"the {name} body cannot be decoded ({error})") from None
            rest = member.rest if member.ended else b""
        if without_content > _MOST_BYTES_WITHOUT_CONTENT:
            raise DamagedEncoding(f"the {name} body goes on without content")
    if member is None or not member.ended:
        raise DamagedEncoding(f"the {name} body stops before its end")


class _Gzip:
    """RFC 1952."""

    FIRST_BYTES = b"\x1f"
    _WINDOW = 31  # zlib's number for a gzip header and trailer

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(self._WINDOW)

    def decode(self, data: bytes) -> Iterator[bytes]:
        while True:
            piece = self._zlib.decompress(data, _STEP_BYTES)
            yield piece
            data = self._zlib.unconsumed_tail
            if self.ended or (not data and len(piece) < _STEP_BYTES):
                return

    @property
    def ended(self) -> bool:
        return self._zlib.eof

    @property
    def rest(self) -> bytes:
        return self._zlib.unused_data


class _Deflate(_Gzip):
    """The zlib format (RFC 1950), as it should be, or bare deflate (RFC 1951), as some servers send it."""

    FIRST_BYTES = b""

    def __init__(self) -> None:
        self._head = b""
        self._zlib = zlib.decompressobj()

    def decode(self, data: bytes) -> Iterator[bytes]:
        if len(self._head) < 2:
            self._head = data = self._head + data
            if len(data) < 2:
                return
            # The method and the check bits of a zlib header. Bare deflate begins so only if it pads with other than 0.
            if data[0] & 0x0F != 8 or int.from_bytes(data[:2]) % 31:
                self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)
        yield from super().decode(data)


class _Zstd:
    """RFC 8878."""

    FIRST_BYTES = bytes([0x28, *range(0x50, 0x60)])  # a frame, and frames to skip

    def __init__(self) -> None:
        self._zstd = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})

    def decode(self, data: bytes) -> Iterator[bytes]:
        yield self._zstd.decompress(data, _STEP_BYTES)
        while not (self._zstd.eof or self._zstd.needs_input):
            yield self._zstd.decompress(b"", _STEP_BYTES)

    @property
    def ended(self) -> bool:
        return self._zstd.eof

    @property
    def rest(self) -> bytes:
        return self._zstd.unused_data


class _Brotli:
    """RFC 7932. What follows the end in the same piece is an error of its decoder's."""

    FIRST_BYTES = b""
    rest = b""

    def __init__(self) -> None:
        self._brotli = brotli.Decompressor()

    def decode(self, data: bytes) -> Iterator[bytes]:
        yield self._brotli.process(data, output_buffer_limit=_STEP_BYTES)
        while not self.ended and (piece := self._brotli.process(b"", output_buffer_limit=_STEP_BYTES)):
            yield piece

    @property
    def ended(self) -> bool:
        return bool(self._brotli.is_finished())


_FORMATS: dict[str, Callable[[], _Member]] = {"gzip": _Gzip, "x-gzip": _Gzip, "deflate": _Deflate, "zstd": _Zstd}
_ERRORS: tuple[type[Exception], ...] = (zlib.error, zstd.ZstdError)
if hasattr(brotli, "Decompressor") and hasattr(brotli.Decompressor, "can_accept_more_data"):  # since 1.2: in steps
    _FORMATS["br"] = _Brotli
    _ERRORS += (brotli.error,)
