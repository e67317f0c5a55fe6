"""An export's answer, streamed to a file: only what is NDJSON and arrived whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path

import httpx

from soundlink_pipeline.api.errors import TruncatedDelivery, WrongContent
from soundlink_pipeline.api.key import Credential
from soundlink_pipeline.api.responses import (
    beginning,
    chunks_of,
    content_type,
    count_rows,
    is_foreign,
    is_whole,
    request_id,
    row_count,
)
from soundlink_pipeline.durable import sync
from soundlink_pipeline.wording import counted

# Far beyond what is ever delivered: a body that does not end must not fill the disk.
LARGEST_EXPORT_BYTES = 8 << 30


@dataclass(frozen=True)
class Download:
    """An export that arrived whole: `bytes` and `sha256` are of the file's content, moments are aware and in UTC."""

    requested_at: datetime
    received_at: datetime
    server_date: datetime | None
    declared_rows: int | None
    bytes: int
    sha256: str


def save(
    response: httpx.Response, path: str, to: Path, *, credential: Credential, after_chunk: Callable[[int], None]
) -> tuple[int, str]:
    """Write the answer to `path` to a file, fsynced, without a byte order mark; returns its size in bytes and SHA-256.

    `after_chunk` gets the size in bytes of each piece. Raises WrongContent, TruncatedDelivery, and what `after_chunk`
    raises; the file may have partial content then.
    """
    declared, chunks = row_count(response), chunks_of(response)
    if is_foreign(content_type(response)):
        raise _wrong_content(response, path, chunks, credential)
    digest, size, begun, lines, last = hashlib.sha256(), 0, False, 0, b"\n"
    with to.open("wb") as file:
        for chunk in chunks:
            if not begun and (text := chunk.lstrip()):
                begun = True
                if not text.startswith(b"{"):
                    raise _wrong_content(response, path, chain([text], chunks), credential)
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            if size > LARGEST_EXPORT_BYTES:
                raise WrongContent(
                    f"{path} answered more than {LARGEST_EXPORT_BYTES >> 20} MiB: no export is that large",
                    request_id=request_id(response, credential),
                )
            lines += chunk.count(b"\n")
            last = chunk[-1:] or last
            after_chunk(len(chunk))
        sync(file)
    # Only where lines do not settle it is the file read again. (Blank ones that stand for missing rows are left to
    # the load, which counts rows and refuses the delivery.)
    if (last != b"\n" or (declared is not None and lines < declared)) and (problem := _truncation(to, declared)):
        raise TruncatedDelivery(problem, request_id=request_id(response, credential))
    if declared is None and not {"content-length", "transfer-encoding"} & response.headers.keys():
        raise TruncatedDelivery(
            "the answer has neither Content-Length nor X-Row-Count: it may have been cut off",
            request_id=request_id(response, credential),
        )
    return size, digest.hexdigest()


def _truncation(file: Path, declared: int | None) -> str | None:
    """In what way the file is not whole, or None where it is."""
    rows, last = count_rows(file)
    if declared is not None and rows < declared:
        return f"the answer holds {counted(rows, 'row')} of the {declared} that X-Row-Count says"
    return None if is_whole(last) else f"the answer ends in the middle of row {rows}"


def _wrong_content(
    response: httpx.Response, path: str, chunks: Iterable[bytes], credential: Credential
) -> WrongContent:
    kind, shown = credential.shown(content_type(response)), credential.shown(beginning(chunks), 80)
    return WrongContent(
        f"{path} answered {kind} where NDJSON was due: {shown!r}", request_id=request_id(response, credential)
    )
