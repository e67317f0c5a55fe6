"""Bodies compressed as servers and proxies do it: in one member or several, and without an end where that is to be.

Names are those of Content-Encoding; `raw-deflate` is deflate without its zlib header, which some servers send as
`deflate`. `br` needs the package brotli.
"""

import sys
import zlib
from collections.abc import Callable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from soundlink_pipeline.simulator.reply import Reply

_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": zlib.MAX_WBITS, "raw-deflate": -zlib.MAX_WBITS}


def encode(body: bytes, encodings: str, *, members: int = 1, ended: bool = True) -> bytes:
    """`body` in each of the encodings, one after the other, the last one in so many members of about the same size.

    Without `ended` the last member stops at a flush: every byte of the body can be decoded, but its end is not marked.
    Raises ValueError for an unknown encoding.
    """
    *inner, outer = [name.strip() for name in encodings.split(",")]
    for name in inner:
        body = _member(name, body, ended=True)
    size = -(-len(body) // members) or 1
    pieces = [body[start : start + size] for start in range(0, members * size, size)]
    return b"".join(_member(outer, piece, ended=ended or piece is not pieces[-1]) for piece in pieces)


def encoded(
    reply: Reply,
    *,
    encoding: str = "gzip",
    header: str | None = None,
    members: int = 1,
    ended: bool = True,
    lost: int = 0,
    surplus: bytes | str = b"",
) -> Reply:
    """The answer so encoded; `header` is what it says of that where that is wrong.

    The body loses so many bytes at its end, and gets `surplus` after it.
    """
    plain = reply.body if isinstance(reply.body, bytes) else reply.body.read_bytes()
    body = encode(plain, encoding, members=members, ended=ended)
    reply.body = body[: len(body) - lost] + (surplus.encode() if isinstance(surplus, str) else surplus)
    reply.headers["Content-Encoding"] = encoding.replace("raw-deflate", "deflate") if header is None else header
    return reply


def _member(encoding: str, body: bytes, *, ended: bool) -> bytes:
    compress, flush, finish = _encoder(encoding)
    return compress(body) + (finish() if ended else flush())


def _encoder(encoding: str) -> tuple[Callable[[bytes], bytes], Callable[[], bytes], Callable[[], bytes]]:
    if encoding in _WINDOWS:
        deflate = zlib.compressobj(wbits=_WINDOWS[encoding])
        return deflate.compress, lambda: deflate.flush(zlib.Z_SYNC_FLUSH), deflate.flush
    if encoding == "zstd":
        frame = zstd.ZstdCompressor()
        return frame.compress, lambda: frame.flush(frame.FLUSH_BLOCK), frame.flush
    if encoding == "br":
        import brotli  # noqa: PLC0415  (not of every installation)

        stream = brotli.Compressor()
        return stream.process, stream.flush, stream.finish
    if encoding == "identity":
        return lambda body: body, lambda: b"", lambda: b""
    raise ValueError(f"unknown encoding {encoding!r}")
