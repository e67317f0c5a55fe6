"""The Soundlink API over httpx: authentication, pacing, retries, campaigns, and exports streamed to a file.

Every failure is a `SoundlinkError` whose text an operator can act on, with the API's own code and requestId:

    SoundlinkError
      KeyRefused          401: unknown, revoked or expired key             nothing else will work either
      ScopeMissing        403 insufficient_scope                           nothing else will work either
      RequestRefused      any other 4xx                                    this request will never work
      RateLimited         429, still after the last try
      ServerFault         5xx, still after the last try
      Unreachable         no answer: DNS, refused, TLS, time-out, cut connection, still after the last try
      TruncatedDelivery   fewer rows than X-Row-Count said, still after the last try
      WrongContent        an answer that is not what was asked for: a login page, an envelope, a broken listing
      RedirectRefused     the API sent us to another host; the key stays here

The key is sent in the request header and shown nowhere: messages that came from outside are cleaned of it.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

import httpx
import tenacity

from soundlink_pipeline.exports import Export
from soundlink_pipeline.landing import sync
from soundlink_pipeline.pacing import Pacer
from soundlink_pipeline.partitions import MAX_DAYS_PER_PULL, DateRange

T = TypeVar("T")
AuthSetting = Literal["auto", "x-api-key", "bearer"]
Scheme = Literal["x-api-key", "bearer"]

TRIES = 6
_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 60.0
_CHUNK_BYTES = 1 << 18
_PAGE_SIZE = 100
_MAX_REDIRECTS = 3
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")
# An export may take the server a while to begin; once it flows, a silence this long means it is dead.
TIMEOUT = httpx.Timeout(connect=10.0, read=120.0, write=30.0, pool=None)


class SoundlinkError(Exception):
    """Base of all failures. `transient`: the same request may work later; `fatal`: no other will work either."""

    transient = False
    fatal = False

    def __init__(self, message: str, *, code: str | None = None, request_id: str | None = None) -> None:
        self.code = code
        self.request_id = request_id
        details = ", ".join(
            text for text in (f"code {code}" if code else "", f"requestId {request_id}" if request_id else "") if text
        )
        super().__init__(f"{message} ({details})" if details else message)


class KeyRefused(SoundlinkError):
    fatal = True


class ScopeMissing(SoundlinkError):
    fatal = True


class RequestRefused(SoundlinkError):
    pass


class RateLimited(SoundlinkError):
    transient = True

    def __init__(self, message: str, *, retry_after: float | None = None, **details: str | None) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class ServerFault(SoundlinkError):
    transient = True

    def __init__(self, message: str, *, retry_after: float | None = None, **details: str | None) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class Unreachable(SoundlinkError):
    transient = True


class TruncatedDelivery(SoundlinkError):
    transient = True


class WrongContent(SoundlinkError):
    pass


class RedirectRefused(SoundlinkError):
    fatal = True


@dataclass(frozen=True)
class Download:
    """An export that arrived whole: `bytes` and `sha256` are of the file's content, moments are aware and in UTC."""

    requested_at: datetime
    received_at: datetime
    server_date: datetime | None
    declared_rows: int | None
    bytes: int
    sha256: str


@dataclass(frozen=True)
class CampaignPages:
    """The campaigns a key sees, each the API's own JSON object, and when they were listed."""

    items: list[dict[str, Any]]
    requested_at: datetime
    server_date: datetime | None


def checked_base_url(text: str) -> httpx.URL:
    """The API's base URL, or a ValueError: https, or http on loopback only, so that the key is never sent in clear."""
    try:
        url = httpx.URL(text.strip().rstrip("/"))
    except httpx.InvalidURL as error:
        raise ValueError(f"SOUNDLINK_BASE_URL is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("SOUNDLINK_BASE_URL must be a URL such as https://api.getsoundlink.com")
    if url.userinfo:
        raise ValueError("SOUNDLINK_BASE_URL must hold no user name or password")
    if url.scheme == "http" and not _LOOPBACK.fullmatch(url.host):
        raise ValueError(f"SOUNDLINK_BASE_URL is plain http to {url.host}: the key would travel in clear; use https")
    return url


class SoundlinkClient:
    """A client for one key and one host. Thread-safe; `close` it, or use it as a context manager.

    `key` is kept only to be sent. `now` and `transport` are seams for tests.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        pacer: Pacer,
        *,
        auth: AuthSetting = "auto",
        timeout: httpx.Timeout = TIMEOUT,
        tries: int = TRIES,
        backoff: float = _FIRST_BACKOFF_SECONDS,
        transport: httpx.BaseTransport | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._base_url = checked_base_url(base_url)
        self.__key = _checked_key(key)
        self._pacer = pacer
        self._auth = auth
        self._scheme: Scheme | None = None if auth == "auto" else auth
        self._scheme_lock = threading.Lock()
        self._tries = tries
        self._backoff = backoff
        self._now = now
        self._log = log
        self._http = httpx.Client(
            timeout=timeout, transport=transport, follow_redirects=False, headers={"user-agent": "soundlink-pipeline"}
        )
        self._counter_lock = threading.Lock()
        self.requests = 0

    def __repr__(self) -> str:
        return f"SoundlinkClient({str(self._base_url)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # What the API offers

    def ping(self) -> None:
        """Ask for nothing but whether the key works; any valid key may. Raises SoundlinkError."""
        self._retrying(lambda: self._json("/v1/ping", {}))

    def campaigns(self) -> CampaignPages:
        """Every campaign the key sees, all pages. Raises SoundlinkError."""
        items: dict[str, dict[str, Any]] = {}
        requested_at, server_date, page, pages = self._now(), None, 1, 1
        while page <= pages:
            query = {"page": str(page), "pageSize": str(_PAGE_SIZE)}
            body, date = self._retrying(lambda query=query: self._json("/v1/campaigns", query))  # type: ignore[misc]
            # The first page's moment: whatever came to be after it may be missing from the list.
            server_date = server_date or date
            data = body.get("data") if isinstance(body, dict) else None
            try:
                found, pages = data["items"], int(data["pagination"]["totalPages"])  # type: ignore[index]
                for item in found:
                    if not isinstance(item["campaignId"], str) or not item["campaignId"]:
                        raise TypeError("campaignId is not text")
                    # The list may shift between two pages: an item seen twice is one campaign.
                    items[item["campaignId"]] = item
            except (KeyError, TypeError, ValueError) as error:
                raise WrongContent(
                    f"page {page} of the campaign listing is not what the API documents"
                    f" (data.items with a campaignId each, data.pagination.totalPages): {type(error).__name__} {error}"
                ) from None
            page += 1
        return CampaignPages(list(items.values()), requested_at, server_date)

    def download(self, export: Export, campaign_id: str, dates: DateRange, to: Path) -> Download:
        """Stream one export into the file `to`, whole and fsynced, or raise SoundlinkError.

        The file may exist with partial content after an error. A byte order mark is left out. Rows are compared with
        `X-Row-Count` where there is one: fewer means a truncated delivery, which is asked for again; more is left for
        the load to refuse.
        """
        if dates.days > MAX_DAYS_PER_PULL:
            raise ValueError(f"{dates} is {dates.days} days; the API gives at most {MAX_DAYS_PER_PULL} in one request")
        path = export.path.format(campaign_id=quote(campaign_id, safe=""))
        if campaign_id in (".", ".."):
            path = export.path.format(campaign_id=campaign_id.replace(".", "%2E"))
        query = {"startDate": dates.start.isoformat(), "endDate": dates.end.isoformat()}
        return self._retrying(lambda: self._stream(path, query, to))

    # One try

    def _json(self, path: str, query: dict[str, str]) -> tuple[Any, datetime | None]:
        with self._answer(path, query, accept="application/json") as response:
            body = response.read()
            try:
                return json.loads(body), _server_date(response)
            except ValueError:
                raise WrongContent(f"{path} answered {_kind(response)} where JSON was due") from None

    def _stream(self, path: str, query: dict[str, str], to: Path) -> Download:
        requested_at = self._now()
        with self._answer(path, query, accept="application/x-ndjson") as response:
            kind = _kind(response)
            if kind in ("text/html", "application/json", "application/problem+json", "application/xml", "text/xml"):
                raise WrongContent(
                    f"{path} answered {kind} where NDJSON was due: {self._clean(_beginning(response))!r}",
                    request_id=_request_id(response),
                )
            declared = _row_count(response)
            digest, size, line_ends, last = hashlib.sha256(), 0, 0, b"\n"
            with to.open("wb") as file:
                for chunk in _body(response):
                    if size == 0 and chunk.lstrip()[:1] not in (b"", b"{"):
                        raise WrongContent(
                            f"{path} answered something else where NDJSON was due:"
                            f" {self._clean(chunk[:80].decode('utf-8', 'replace'))!r}",
                            request_id=_request_id(response),
                        )
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                    line_ends += chunk.count(b"\n")
                    last = chunk[-1:] or last
                    if self._pacer.cancelled.is_set():
                        self._pacer.sleep(0)
                sync(file)
            if declared is not None and line_ends + (last != b"\n") != declared:
                # Only now is a count that knows blank lines worth its time.
                rows = _rows(to)
                if rows < declared:
                    raise TruncatedDelivery(f"the answer holds {rows} rows of the {declared} that X-Row-Count says")
        return Download(requested_at, self._now(), _server_date(response), declared, size, digest.hexdigest())

    @contextmanager
    def _answer(self, path: str, query: dict[str, str], *, accept: str) -> Iterator[httpx.Response]:
        """The 2xx answer of one request, its body not yet read; anything else raises."""
        url = self._base_url.copy_with(raw_path=self._base_url.raw_path.rstrip(b"/") + path.encode("ascii"))
        url = url.copy_merge_params(query)
        scheme: Scheme = self._scheme or "x-api-key"
        redirects, first_refusal = 0, None
        while True:
            try:
                with self._send(url, accept, scheme) as response:
                    if response.status_code == 200:
                        with self._scheme_lock:
                            self._scheme = scheme
                        yield response
                        return
                    if response.is_redirect:
                        redirects += 1
                        url = self._redirected(url, response, redirects)
                        continue
                    error = self._error(response)
            except httpx.TransportError as fault:
                raise Unreachable(self._clean(_transport_message(fault, self._base_url.host))) from None
            except httpx.DecodingError:
                raise Unreachable("the answer's content encoding is damaged") from None
            # The current generation ignores x-api-key, and says so with this code: once more, with Bearer alone.
            if self._scheme is None and scheme == "x-api-key" and error.code == "invalid_api_key":
                scheme, first_refusal = "bearer", error
                continue
            # Where both are refused, the first answer is the one that is about the key.
            raise first_refusal if first_refusal is not None and isinstance(error, KeyRefused) else error

    @contextmanager
    def _send(self, url: httpx.URL, accept: str, scheme: Scheme) -> Iterator[httpx.Response]:
        self._pacer.acquire()
        with self._counter_lock:
            self.requests += 1
        key = self.__key
        headers = {"authorization": f"Bearer {key}"} if scheme == "bearer" else {"x-api-key": key}
        with self._http.stream("GET", url, headers={"accept": accept, **headers}) as response:
            yield response

    def _redirected(self, url: httpx.URL, response: httpx.Response, redirects: int) -> httpx.URL:
        target = url.join(response.headers.get("location", ""))
        if (target.scheme, target.host, target.port) != (url.scheme, url.host, url.port):
            raise RedirectRefused(
                f"{url.host} redirects to {target.scheme}://{target.host}: refused, the key is for {url.host} alone."
                " If the API has moved, set SOUNDLINK_BASE_URL"
            )
        if redirects > _MAX_REDIRECTS:
            raise WrongContent(f"{url.path} redirects in circles")
        return target

    def _error(self, response: httpx.Response) -> SoundlinkError:
        """What an error answer means to an operator."""
        status, code, message = response.status_code, None, ""
        request_id = _request_id(response)
        try:
            body = json.loads(response.read())
            code = str(body["error"]["code"])
            message = self._clean(str(body["error"].get("message", "")))
            request_id = str(body["meta"]["requestId"])
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        details = {"code": code and self._clean(code), "request_id": request_id and self._clean(request_id)}
        said = f": {message}" if message else ""
        if status == 401:
            return KeyRefused(f"{_KEY_MESSAGES.get(code or '', 'the API refuses the key')}{said}", **details)
        if status == 403 and code == "insufficient_scope":
            return ScopeMissing(
                f"the API key lacks a scope{said}. It needs campaigns:read (not with SOUNDLINK_CAMPAIGN_IDS)"
                " and metrics:read",
                **details,
            )
        if status == 429:
            return RateLimited(f"rate limited{said}", retry_after=_retry_after(response, self._now()), **details)
        if status >= 500:
            return ServerFault(
                f"the API failed with HTTP {status}{said}", retry_after=_retry_after(response, self._now()), **details
            )
        return RequestRefused(f"the API refuses the request with HTTP {status}{said}", **details)

    # Again, where that may help

    def _retrying(self, attempt: Callable[[], T]) -> T:
        """`attempt`, repeated while it fails in a way that may pass: backoff with jitter, or what the API asks for."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, SoundlinkError) and error.transient),
            stop=tenacity.stop_after_attempt(self._tries),
            wait=self._wait,
            sleep=self._pacer.sleep,
            before_sleep=self._tell,
            reraise=True,
        )
        return retrying(attempt)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, RateLimited | ServerFault) else None
        if asked is not None:
            self._pacer.pause(asked)  # the others need not find out for themselves
            return asked + random.uniform(0, self._backoff)  # noqa: S311
        longest = min(self._backoff * 2**state.attempt_number, _LONGEST_BACKOFF_SECONDS)
        return random.uniform(longest / 2, longest)  # noqa: S311

    def _tell(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._log(f"try {state.attempt_number} of {self._tries} failed: {error}; again in {state.upcoming_sleep:.1f} s")

    def _clean(self, text: str) -> str:
        """`text` without the key: a server or a proxy may echo what it was sent."""
        return text.replace(self.__key, "[key]")


_KEY_MESSAGES = {
    "invalid_api_key": "the API does not know this key; check SOUNDLINK_API_KEY",
    "invalid_token": "the API does not accept this key as a token; check SOUNDLINK_API_KEY and SOUNDLINK_AUTH",
    "api_key_revoked": "this API key was revoked; create a new one and put it into SOUNDLINK_API_KEY",
    "api_key_expired": "this API key has expired; create a new one and put it into SOUNDLINK_API_KEY",
    "mixed_credentials": "the API received two kinds of credentials; does a proxy add an Authorization header?",
}


def _checked_key(key: str) -> str:
    """The key as it goes into a header; the error does not show it."""
    key = key.strip()
    if not key:
        raise ValueError("SOUNDLINK_API_KEY is not set: put your Soundlink API key into .env or the environment")
    if not re.fullmatch(r"[!-~]+", key):
        raise ValueError("SOUNDLINK_API_KEY holds a blank or a character that no key has; was it pasted whole?")
    return key


def _kind(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower() or "no content type"


def _beginning(response: httpx.Response) -> str:
    for chunk in response.iter_bytes(80):
        return chunk.decode("utf-8", "replace")
    return ""


def _request_id(response: httpx.Response) -> str | None:
    identifier: str | None = response.headers.get("x-request-id")
    return identifier


def _row_count(response: httpx.Response) -> int | None:
    text = response.headers.get("x-row-count", "").strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _server_date(response: httpx.Response) -> datetime | None:
    """The server's own clock, in UTC; None where it tells none that can be read."""
    try:
        date = parsedate_to_datetime(response.headers["date"])
    except (KeyError, ValueError, TypeError):
        return None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)


def _retry_after(response: httpx.Response, now: datetime) -> float | None:
    """Seconds to wait, from `Retry-After` as seconds or as a date (read against the server's clock)."""
    text = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    until = until.replace(tzinfo=UTC) if until.tzinfo is None else until
    return max((until - (_server_date(response) or now)).total_seconds(), 0.0)


def _body(response: httpx.Response) -> Iterator[bytes]:
    """The body in chunks as they come, without a byte order mark."""
    # iter_raw where nothing is to be decoded: one copy less of every byte.
    plain = response.headers.get("content-encoding", "identity").lower() in ("", "identity")
    chunks = response.iter_raw() if plain else response.iter_bytes()
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= len(_BYTE_ORDER_MARK):
            break
    if head := head.removeprefix(_BYTE_ORDER_MARK):
        yield head
    yield from chunks


def _rows(path: Path) -> int:
    """The rows of an NDJSON file: its lines that are not blank. Lines end in \\n alone."""
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def _transport_message(fault: httpx.TransportError, host: str) -> str:
    if isinstance(fault, httpx.ConnectTimeout):
        return f"{host} could not be reached: no connection in time"
    if isinstance(fault, httpx.TimeoutException):
        return f"{host} fell silent: no byte for {TIMEOUT.read:.0f} s"
    if isinstance(fault, httpx.ConnectError):
        return f"{host} could not be reached: {fault}"
    return f"the connection to {host} broke before the answer was whole: {fault}"
