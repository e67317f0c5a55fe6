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


def header(encodings: str) -> str:
    """The Content-Encoding of such a body."""
    return encodings.replace("raw-deflate", "deflate")


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
