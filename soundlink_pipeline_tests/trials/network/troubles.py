"""What each fault of the simulator must lead to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from soundlink_pipeline.simulator import Fault

Place = tuple[str, str]  # an export's name and a campaign's uuid: one request of a run
LISTING: Place = ("listing", "")


@dataclass(frozen=True)
class Trouble:
    """A fault and its fate: `taken` as if nothing were, `repeated`, `failed`, `refused` by the load, or `fatal`.

    An answer without rows, and the listing, may meet another fate than an answer with rows.
    """

    kind: str
    params: Mapping[str, Any]
    fate: str
    reason: str = ""
    without_rows: str = ""
    of_listing: str = ""

    def __str__(self) -> str:
        return "-".join([self.kind, *(f"{name}={value!r:.30}" for name, value in self.params.items())])

    def at(self, place: Place, times: int | None = 1) -> Fault:
        if place == LISTING:
            return Fault(self.kind, match="/v1/campaigns?", times=times, **self.params)
        return Fault(self.kind, export=place[0], campaign=place[1], times=times, **self.params)

    def fate_at(self, place: Place, empty: set[Place]) -> str:
        if place == LISTING:
            return self.of_listing or self.fate
        return self.without_rows or self.fate if place in empty else self.fate


def replacing(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda body: body.replace(old, new)


def trouble(kind: str, fate: str, reason: str = "", *, empty: str = "", listing: str = "", **params: Any) -> Trouble:
    return Trouble(kind, params, fate, reason, empty, listing)


BROKE, NO_ROWS, NOT_JSON = "broke before the answer was whole", "where NDJSON was due", "where JSON was due"
TROUBLES = [
    trouble("slow", "taken", chunk=97, pause=0.0005),
    trouble("hang", "taken", seconds=0.02),
    trouble("wrong_type", "taken"),
    trouble("wrong_type", "taken", content_type="text/plain"),
    trouble("no_row_count", "taken"),
    trouble("no_row_count", "taken", chunked=True),
    trouble("no_date", "taken"),
    trouble("set_date", "taken", value="yesterday"),
    trouble("extra_field", "taken"),
    trouble("crlf", "taken"),
    trouble("bom", "taken"),
    trouble("blank_lines", "taken"),
    trouble("no_final_newline", "taken"),
    trouble("gzip", "taken"),
    trouble("gzip", "taken", chunked=True),
    trouble("encoded", "taken", members=3),
    trouble("chunked", "taken"),
    trouble("close", "taken"),
    trouble("status", "repeated", r"HTTP 500: Simulated\. \(code internal_error, requestId "),
    trouble("status", "repeated", "HTTP 502", status=502, body="<h1>Bad Gateway</h1>"),
    trouble("status", "repeated", "HTTP 503", status=503, retry_after=90),
    trouble("status", "repeated", "rate limited.*code slow_down", status=429, code="slow_down"),
    trouble("status", "repeated", "rate limited", status=429, retry_after="Thu, 01 Jan 2026 06:02:00 GMT"),
    trouble("cut", "repeated", BROKE),
    trouble("cut", "repeated", BROKE, after=0),
    trouble("cut", "repeated", BROKE, after=1, chunked=True),
    trouble("cut", "repeated", BROKE, after=1 << 30),  # all but the last byte
    trouble("cut", "repeated", BROKE, reset=True, chunked=True),
    trouble("disconnect", "repeated", BROKE),
    trouble("disconnect", "repeated", BROKE, reset=True),
    trouble("short", "repeated", "rows of the", empty="taken", listing="failed"),
    trouble("short", "repeated", "rows of the", empty="taken", listing="failed", rows=1 << 30, chunked=True),
    trouble("encoded", "repeated", "gzip body stops before its end", ended=False),
    trouble("encoded", "failed", "encoding is 'compress', which was not asked for", header="compress"),
    trouble("html", "failed", "text/html where"),
    trouble("html", "failed", "text/html where", chunked=True),
    trouble("json", "failed", f"{NO_ROWS}|not what the API documents"),
    trouble("wrong_type", "failed", NO_ROWS, content_type="text/html", listing="taken"),
    trouble("body", "failed", f"{NO_ROWS}|{NOT_JSON}", body=b"PK\x03\x04", content_type="application/zip"),
    trouble("status", "failed", "HTTP 400: .*code invalid_date_range", status=400, code="invalid_date_range"),
    trouble("status", "failed", "HTTP 404", status=404, body=""),
    trouble("status", "failed", "HTTP 403: .*code forbidden", status=403, code="forbidden"),
    trouble("redirect", "failed", f"{NO_ROWS}|not what the API documents", location="/v1/ping"),
    trouble("long", "refused", "more than X-Row-Count's", empty="taken", listing="taken"),
    trouble("body", "refused", "line 1: provider must be", listing="failed", body=b'{"x":1}\n'),
    trouble("body", "refused", "line 1: not valid JSON", listing="failed", body=b'{"x":\n'),
    trouble("edit", "refused", "not UTF-8", empty="taken", listing="taken", edit=replacing(b'"sound', b'"\xff')),
    trouble("edit", "refused", "not valid JSON", empty="taken", listing="taken", edit=replacing(b"}\n", b"}}\n")),
    trouble(
        "edit",
        "refused",
        "the range requested",
        empty="taken",
        listing="taken",
        edit=replacing(b'e":"2026', b'e":"2025'),
    ),
    trouble("status", "fatal", "was revoked", status=401, code="api_key_revoked"),
    trouble("status", "fatal", "lacks a scope", status=403, code="insufficient_scope"),
    trouble("redirect", "fatal", "redirects to https://elsewhere.invalid: refused"),
]
HANGS = [
    trouble("hang", "repeated", "fell silent"),
    trouble("hang", "repeated", "fell silent", empty="taken", after=10),
]
COMMON = [one for one in TROUBLES if one.fate != "fatal"]
