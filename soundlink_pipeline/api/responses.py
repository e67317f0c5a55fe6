"""The parts of an answer: headers and bodies, read leniently: a server or a proxy may have got any wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from soundlink_pipeline.api.key import Credential

# Far beyond what is ever delivered: a body that does not end must not fill the memory.
LARGEST_JSON_BYTES = 64 << 20
# What is kept is read again, where Python's parser may have less of its stack left than where it came.
_DEEPEST_JSON = 100
_TOO_DEEP = "too deeply nested"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def content_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower() or "no content type"


def is_foreign(kind: str) -> bool:
    """Whether a content type is one that NDJSON never has; others are judged by what the body begins with."""
    return kind in ("text/html", "application/json", "application/xml", "text/xml") or kind.endswith(("+json", "+xml"))


def json_body(response: httpx.Response, parse_float: Callable[[str], Any] = float) -> object:
    """The JSON of a body; ValueError where it is none, or longer or deeper than one may be."""
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > LARGEST_JSON_BYTES:
            raise ValueError(f"more than {LARGEST_JSON_BYTES >> 20} MiB")
    try:
        value = json.loads(body, parse_float=parse_float)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if _is_deeper(value, _DEEPEST_JSON):
        raise ValueError(_TOO_DEEP)
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether objects and lists are nested in more levels than that."""
    level = _nested([value])
    for _ in range(levels):
        level = [inner for one in level for inner in _nested(one.values() if isinstance(one, dict) else one)]
    return bool(level)


def _nested(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, dict | list)]


def beginning(chunks: Iterable[bytes]) -> str:
    """The first few kilobytes as text: more than is ever shown, so that no key is cut in two where it ends."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= 4096:
            break
    return head.decode("utf-8", "replace")


def request_id(response: httpx.Response, credential: Credential) -> str | None:
    """The API's id of the request, from the answer's headers."""
    found = response.headers.get("x-request-id")
    return credential.shown(found) if found else None


def request_id_in(body: Any, credential: Credential) -> str | None:
    """The API's id of the request, from the JSON body of its answer."""
    meta = body.get("meta") if isinstance(body, dict) else None
    found = meta.get("requestId") if isinstance(meta, dict) else None
    return credential.shown(str(found)) if found else None


def row_count(response: httpx.Response) -> int | None:
    text = response.headers.get("x-row-count", "").strip()
    return int(text) if re.fullmatch("[0-9]{1,15}", text) else None


def server_date(response: httpx.Response) -> datetime | None:
    """The server's own clock, in UTC; None where the header is missing, cannot be read, or is of a clock never set."""
    date = _http_date(response.headers.get("date", ""))
    return date if date is not None and date.year >= 2000 else None


def retry_after(response: httpx.Response, now: datetime) -> float | None:
    """Seconds to wait, from `Retry-After` as seconds or as a date (read against the server's clock)."""
    text = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        return float(text)
    until = _http_date(text)
    return None if until is None else max((until - (server_date(response) or now)).total_seconds(), 0.0)


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def chunks_of(response: httpx.Response) -> Iterator[bytes]:
    """The body in chunks as they come, without a byte order mark."""
    chunks = response.iter_bytes()
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= len(_BYTE_ORDER_MARK):
            break
    if head := head.removeprefix(_BYTE_ORDER_MARK):
        yield head
    yield from chunks


def count_rows(path: Path) -> tuple[int, bytes]:
    """The rows of an NDJSON file, which are its lines that are not blank, and the last one. Lines end in \\n alone."""
    rows, last = 0, b""
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                rows, last = rows + 1, line
    return rows, last


def is_whole(row: bytes) -> bool:
    """Whether a file's last row is complete: it has a line end, or is a JSON value without one."""
    if row.endswith(b"\n") or not row:
        return True
    try:
        json.loads(row)
    except ValueError:
        return False
    return True
