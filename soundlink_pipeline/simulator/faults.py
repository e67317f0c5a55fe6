"""The switchboard: what is to go wrong, with which request, how often.

A fault changes an answer that would have been given to a request with a valid key and within its limits; a
request that is refused anyway uses none up. The first armed fault that matches a request takes it, in the
order they were added.
"""

import gzip
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from soundlink_pipeline.simulator.access import ApiError
from soundlink_pipeline.simulator.content_encoding import encoded
from soundlink_pipeline.simulator.encoding import dumps
from soundlink_pipeline.simulator.reply import JSON, NDJSON, Reply, data_reply, error_reply

# Kind: its parameters with their defaults. `chunked` (framing without Content-Length) may go with every kind.
KINDS: dict[str, dict[str, Any]] = {
    "status": {"status": 500, "code": "internal_error", "message": "Simulated.", "retry_after": None, "body": None},
    "cut": {"after": None, "reset": False},  # after: bytes of body, None = half
    "disconnect": {"reset": False},
    "short": {"rows": 1},  # the last rows are missing, X-Row-Count is as for all
    "long": {"rows": 1},  # X-Row-Count is so many rows too low
    "hang": {"seconds": 60.0, "after": None},  # after: bytes of body, None = before the headers
    "slow": {"chunk": 1024, "pause": 0.01},
    "html": {"body": "<!doctype html><title>Sign in</title><p>Please sign in to this network."},
    "json": {"data": {"items": []}},
    "wrong_type": {"content_type": "application/octet-stream"},
    "redirect": {"location": "https://elsewhere.invalid/", "status": 302},
    "no_row_count": {},
    "no_date": {},
    "set_date": {"value": ""},  # a header value, or a datetime
    "body": {"body": b"", "count": None, "content_type": NDJSON},  # count: X-Row-Count, None = non-blank lines
    "edit": {"edit": None, "count": "result"},  # edit: bytes -> bytes; count the lines of "original" or "result"
    "extra_field": {"fields": {"extra_metric": 1}},
    "crlf": {},
    "bom": {},
    "blank_lines": {},
    "no_final_newline": {},
    "gzip": {},
    # encoding: one or several (content_encoding.py); header: what the answer says it is, None = that; ended: False = it
    # stops at a flush; lost: bytes missing at the end; surplus: bytes after it
    "encoded": {"encoding": "gzip", "header": None, "members": 1, "ended": True, "lost": 0, "surplus": b""},
    "chunked": {},
    "close": {},
}


class Fault:
    """One thing to go wrong. ``Fault("cut", export="campaign_country_daily", after=100)``.

    ``match``: part of the path and query; ``export``: the export's name; ``campaign``: either of its ids, or those of a
    soundlink; ``organization``: the id of the one it is asked for; ``times``: how many requests, None for ever;
    ``skip``: how many matching requests pass unharmed first.
    ValueError for an unknown kind or parameter.
    """

    def __init__(
        self,
        kind: str,
        *,
        match: str = "",
        export: str | None = None,
        campaign: str | None = None,
        organization: str | None = None,
        times: int | None = 1,
        skip: int = 0,
        **params: Any,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"unknown fault {kind!r}; known: {', '.join(KINDS)}")
        known = {**KINDS[kind], "chunked": kind == "chunked"}
        if unknown := params.keys() - known.keys():
            raise ValueError(f"fault {kind!r} has no {sorted(unknown)}; known: {sorted(known)}")
        self.kind, self.match, self.export, self.campaign = kind, match, export, campaign
        self.organization, self.times, self.skip = organization, times, skip
        self.params = known | params
        self.hits = 0

    def __repr__(self) -> str:
        return f"Fault({self.kind!r}, hits={self.hits}, times={self.times}, {self.params})"

    def concerns(self, path_and_query: str, export: str | None, campaign_ids: frozenset[str]) -> bool:
        return (
            self.match in path_and_query
            and self.export in (None, export)
            and (self.campaign is None or self.campaign in campaign_ids)
        )


class Faults:
    """The faults waiting for their requests; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[Fault] = []

    def add(self, fault: Fault | str, **params: Any) -> Fault:
        """Arm a fault, or make one of its kind and parameters and arm it."""
        made = Fault(fault, **params) if isinstance(fault, str) else fault
        with self._lock:
            self._armed.append(made)
        return made

    def clear(self) -> None:
        with self._lock:
            self._armed.clear()

    @property
    def armed(self) -> list[Fault]:
        with self._lock:
            return list(self._armed)

    def take(
        self, path_and_query: str, export: str | None, campaign_ids: frozenset[str], organization: str
    ) -> Fault | None:
        """The fault for this request, counted down."""
        with self._lock:
            for fault in self._armed:
                if fault.organization not in (None, organization):
                    continue
                if not fault.concerns(path_and_query, export, campaign_ids):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.hits += 1
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._armed.remove(fault)
                return fault
        return None


def spoil(fault: Fault, reply: Reply) -> Reply:
    """The answer as the fault has it."""
    reply = _SPOILERS[fault.kind](reply, **{key: value for key, value in fault.params.items() if key != "chunked"})
    if fault.params["chunked"]:
        reply.wire = replace(reply.wire, chunked=True)
    return reply


def _status(
    _: Reply, status: int, code: str, message: str, retry_after: float | str | None, body: bytes | str | None
) -> Reply:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    if body is None:
        return error_reply(ApiError(status, code, message, headers=headers))
    return Reply(_as_bytes(body), status=status, content_type="text/plain", headers=headers)


def _cut(reply: Reply, after: int | None, reset: bool) -> Reply:
    size = reply.size()
    if not size:
        reply.body = b"\n"  # of nothing, nothing can be missing: announce a byte that never comes
    stop = min(size // 2 if after is None else after, max(0, size - 1))
    reply.wire = replace(reply.wire, cut_after=stop, reset=reset)
    return reply


def _disconnect(reply: Reply, reset: bool) -> Reply:
    reply.wire = replace(reply.wire, disconnect=True, reset=reset)
    return reply


def _short(reply: Reply, rows: int) -> Reply:
    lines = _bytes(reply).splitlines(keepends=True)  # of bytes: at \n, \r and \r\n only
    reply.body = b"".join(lines[: max(0, len(lines) - rows)])
    return reply


def _long(reply: Reply, rows: int) -> Reply:
    return _counted(reply, max(0, _row_count(_bytes(reply)) - rows))


def _hang(reply: Reply, seconds: float, after: int | None) -> Reply:
    reply.wire = replace(reply.wire, stall=seconds, stall_after=after)
    return reply


def _slow(reply: Reply, chunk: int, pause: float) -> Reply:
    reply.wire = replace(reply.wire, chunk_size=chunk, pause=pause)
    return reply


def _html(_: Reply, body: str) -> Reply:
    return Reply(body.encode(), content_type="text/html; charset=utf-8")


def _json(_: Reply, data: Any) -> Reply:
    return data_reply(data)


def _wrong_type(reply: Reply, content_type: str) -> Reply:
    reply.content_type = content_type
    return reply


def _redirect(_: Reply, location: str, status: int) -> Reply:
    return Reply(b"", status=status, content_type=JSON, headers={"Location": location})


def _no_row_count(reply: Reply) -> Reply:
    reply.headers.pop("X-Row-Count", None)
    return reply


def _no_date(reply: Reply) -> Reply:
    reply.headers.pop("Date", None)
    return reply


def _set_date(reply: Reply, value: str | datetime) -> Reply:
    reply.headers["Date"] = format_datetime(value, usegmt=True) if isinstance(value, datetime) else value
    return reply


def _body(reply: Reply, body: bytes | str, count: int | None, content_type: str) -> Reply:
    reply.body, reply.content_type = _as_bytes(body), content_type
    return _counted(reply, _row_count(reply.body) if count is None else count)


def _edit(reply: Reply, edit: Callable[[bytes], bytes], count: str) -> Reply:
    original = _bytes(reply)
    reply.body = edit(original)
    return _counted(reply, _row_count(original if count == "original" else reply.body))


def _extra_field(reply: Reply, fields: dict[str, Any]) -> Reply:
    # Spliced in as text: parsing and printing the row again could change how its numbers are written.
    addition = b"," + dumps(fields).encode()[1:]
    reply.body = b"".join(line.rstrip(b"\n")[:-1] + addition + b"\n" for line in _lines(reply))
    return reply


def _crlf(reply: Reply) -> Reply:
    reply.body = _bytes(reply).replace(b"\n", b"\r\n")
    return reply


def _bom(reply: Reply) -> Reply:
    reply.body = b"\xef\xbb\xbf" + _bytes(reply)
    return reply


def _blank_lines(reply: Reply) -> Reply:
    reply.body = b"\n" + _bytes(reply).replace(b"\n", b"\n\n")
    return reply


def _no_final_newline(reply: Reply) -> Reply:
    reply.body = _bytes(reply).removesuffix(b"\n")
    return reply


def _gzip(reply: Reply) -> Reply:
    reply.body = gzip.compress(_bytes(reply), mtime=0)
    reply.headers["Content-Encoding"] = "gzip"
    return reply


def _chunked(reply: Reply) -> Reply:
    return reply


def _close(reply: Reply) -> Reply:
    reply.headers["Connection"] = "close"
    return reply


_SPOILERS: dict[str, Callable[..., Reply]] = {"encoded": encoded}
_SPOILERS |= {kind: globals()[f"_{kind}"] for kind in KINDS if kind not in _SPOILERS}


def _bytes(reply: Reply) -> bytes:
    return reply.body.read_bytes() if isinstance(reply.body, Path) else reply.body


def _as_bytes(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body


def _lines(reply: Reply) -> list[bytes]:
    return [line + b"\n" for line in _bytes(reply).split(b"\n") if line]


def _row_count(body: bytes) -> int:
    return sum(1 for line in body.split(b"\n") if line.strip())


def _counted(reply: Reply, rows: int) -> Reply:
    reply.headers["X-Row-Count"] = str(rows)
    return reply
