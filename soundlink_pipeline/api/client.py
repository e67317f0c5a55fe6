"""The Soundlink API over httpx: authentication, pacing, retries, campaigns, and exports streamed to a file.

Every failure is a `SoundlinkError`; `api/errors.py` lists them.

The key is sent in the request header and shown nowhere: messages that came from outside are cleaned of it.
"""

from __future__ import annotations

import hashlib
import random
import socket
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
import tenacity

from soundlink_pipeline.api.errors import (
    AskedToWait,
    KeyRefused,
    RateLimited,
    RedirectRefused,
    RequestRefused,
    ScopeMissing,
    ServerFault,
    SoundlinkError,
    TruncatedDelivery,
    TurnedAway,
    Unreachable,
    WrongContent,
)
from soundlink_pipeline.api.key import ApiKey, Scheme
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.api.responses import (
    beginning,
    chunks_of,
    content_type,
    count_rows,
    is_foreign,
    is_whole,
    json_body,
    retry_after,
    row_count,
    server_date,
)
from soundlink_pipeline.contracts.campaigns import CampaignPages
from soundlink_pipeline.contracts.days import MAX_DAYS_PER_PULL, DateRange
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.durable import sync
from soundlink_pipeline.settings.settings import AuthSetting
from soundlink_pipeline.settings.urls import checked_base_url

T = TypeVar("T")

TRIES = 6
_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 60.0
_PAGE_SIZE = 100
_MAX_REDIRECTS = 3
# After so many requests in a row that all tries could not save, the API is down: each next one is tried once, until
# one succeeds. Else an outage would cost the requests of hours.
_GIVEN_UP_IN_A_ROW = 3
# The API's longest window is an hour. A run that is told to wait longer ends, and says so.
_LONGEST_ASKED_SECONDS = 4000.0
# Far beyond what is ever delivered: a body that does not end must not fill the disk.
LARGEST_EXPORT_BYTES = 8 << 30
_SHOWN_CHARACTERS = 300
# An export may take the server a while to begin; once it flows, a silence this long means it is dead.
TIMEOUT = httpx.Timeout(connect=10.0, read=120.0, write=30.0, pool=None)


@dataclass(frozen=True)
class Download:
    """An export that arrived whole: `bytes` and `sha256` are of the file's content, moments are aware and in UTC."""

    requested_at: datetime
    received_at: datetime
    server_date: datetime | None
    declared_rows: int | None
    bytes: int
    sha256: str


class SoundlinkClient:
    """A client for one key and one host. Thread-safe; `close` it, or use it as a context manager.

    `now` and `transport` are seams for tests.
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
        self._key = ApiKey(key)
        self._pacer = pacer
        self._scheme: Scheme | None = None if auth == "auto" else auth
        self._tries = tries
        self._backoff = backoff
        self._now = now
        self._log = log
        self._http = httpx.Client(
            timeout=timeout,
            transport=transport,
            follow_redirects=False,
            # On a connection that is kept, what a server or a proxy sent too much would be read as the answer to the
            # next request, and that is another campaign's.
            headers={"user-agent": "soundlink-pipeline", "connection": "close"},
            # Plain http is for loopback: through a proxy from the environment the key would leave the machine in clear.
            trust_env=self._base_url.scheme == "https",
        )
        self._counter_lock = threading.Lock()
        self.requests = 0
        self._given_up = 0
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._aborted = False

    def __repr__(self) -> str:
        return f"SoundlinkClient({str(self._base_url)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def abort(self) -> None:
        """Cut every connection, so that a request waiting for a silent server ends now, as Unreachable."""
        self._aborted = True
        for connection in list(self._sockets):
            _shut(connection)

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        """httpx tells of each connection it makes: closing a client does not wake who reads from one, this can."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            connection = info["return_value"].get_extra_info("socket")
            self._sockets.add(connection)
            if self._aborted:
                _shut(connection)

    @property
    def scheme(self) -> Scheme | None:
        """How the key is sent; None while that is not found out (setting `auto`, and nothing answered yet)."""
        return self._scheme

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
            try:
                found, pages = body["data"]["items"], int(body["data"]["pagination"]["totalPages"])
                if not found and page < pages:
                    raise ValueError(f"the page is empty, but {pages} are announced")
                for item in found:
                    if not isinstance(item["campaignId"], str) or not item["campaignId"].encode():
                        raise TypeError("campaignId is not text")
                    # The list may shift between two pages: an item seen twice is one campaign.
                    items[item["campaignId"]] = item
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                reason = self._shown(f"{type(error).__name__} {error}")
                raise WrongContent(
                    f"page {page} of the campaign listing is not what the API documents"
                    f" (data.items with a campaignId each, data.pagination.totalPages): {reason}",
                    request_id=self._request_id(body),
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
        # Dots too: httpx would resolve a path segment of one or two of them away, and ask for something else.
        path = export.path.format(campaign_id=quote(campaign_id, safe="").replace(".", "%2E"))
        query = {"startDate": dates.start.isoformat(), "endDate": dates.end.isoformat()}
        return self._retrying(lambda: self._stream(path, query, to))

    # One try

    def _json(self, path: str, query: dict[str, str]) -> tuple[Any, datetime | None]:
        with self._answer(path, query, accept="application/json") as response:
            try:
                return json_body(response), server_date(response)
            except ValueError:
                raise WrongContent(
                    f"{path} answered {self._shown(content_type(response))} where JSON was due",
                    request_id=self._request_id(response),
                ) from None

    def _stream(self, path: str, query: dict[str, str], to: Path) -> Download:
        requested_at = self._now()
        with self._answer(path, query, accept="application/x-ndjson") as response:
            declared, chunks = row_count(response), chunks_of(response)
            if is_foreign(content_type(response)):
                raise self._wrong_content(path, response, chunks)
            digest, size, begun, lines, last = hashlib.sha256(), 0, False, 0, b"\n"
            with to.open("wb") as file:
                for chunk in chunks:
                    if not begun and (text := chunk.lstrip()):
                        begun = True
                        if not text.startswith(b"{"):
                            raise self._wrong_content(path, response, chain([text], chunks))
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                    if size > LARGEST_EXPORT_BYTES:
                        raise WrongContent(
                            f"{path} answered more than {LARGEST_EXPORT_BYTES >> 20} MiB: no export is that large",
                            request_id=self._request_id(response),
                        )
                    lines += chunk.count(b"\n")
                    last = chunk[-1:] or last
                    if self._pacer.cancelled.is_set():
                        self._pacer.sleep(0)
                sync(file)
            # Only where lines do not settle it is the file read again. (Blank ones that stand for missing rows are
            # left to the load, which counts rows and refuses the delivery.)
            if last != b"\n" or (declared is not None and lines < declared):
                self._check_whole(to, declared, response)
            if declared is None and not {"content-length", "transfer-encoding"} & response.headers.keys():
                raise TruncatedDelivery(
                    "the answer tells neither its length nor its rows: it may have been cut off",
                    request_id=self._request_id(response),
                )
        return Download(requested_at, self._now(), server_date(response), declared, size, digest.hexdigest())

    def _check_whole(self, path: Path, declared: int | None, response: httpx.Response) -> None:
        rows, last = count_rows(path)
        if declared is not None and rows < declared:
            problem = f"the answer holds {rows} rows of the {declared} that X-Row-Count says"
        elif not is_whole(last):
            problem = f"the answer ends in the middle of row {rows}"
        else:
            return
        raise TruncatedDelivery(problem, request_id=self._request_id(response))

    def _wrong_content(self, path: str, response: httpx.Response, chunks: Iterable[bytes]) -> WrongContent:
        kind, shown = self._shown(content_type(response)), self._shown(beginning(chunks), 80)
        return WrongContent(
            f"{path} answered {kind} where NDJSON was due: {shown!r}", request_id=self._request_id(response)
        )

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
                    # 200 proves a way of authenticating. So does any other answer than 401 to Bearer: it is only
                    # tried where x-api-key was refused.
                    if response.status_code == 200 or (scheme == "bearer" and response.status_code != 401):
                        self._scheme = scheme
                    if response.status_code == 200:
                        yield response
                        return
                    if response.has_redirect_location:
                        redirects += 1
                        url = self._redirected(url, response, redirects)
                        continue
                    error = self._error(response)
            except httpx.TransportError as fault:
                raise Unreachable(self._shown(_transport_message(fault, self._base_url.host))) from None
            except UnicodeError:  # httpx reads the address of a redirect, also of one that it is not to follow
                raise WrongContent(f"{self._base_url.host} redirects to a host name that cannot be one") from None
            except httpx.DecodingError:
                raise Unreachable("the answer's content encoding is damaged") from None
            # The current generation ignores x-api-key, and says so with this code: once more, with Bearer alone.
            # (Another thread may have found out meanwhile; x-api-key is only beyond doubt once it has worked.)
            if scheme == "x-api-key" and error.code == "invalid_api_key" and self._scheme != "x-api-key":
                scheme, first_refusal = "bearer", error
                continue
            # Where Bearer is not understood at all, the first answer is the one that is about the key.
            raise first_refusal if first_refusal is not None and error.code == "invalid_token" else error

    @contextmanager
    def _send(self, url: httpx.URL, accept: str, scheme: Scheme) -> Iterator[httpx.Response]:
        self._pacer.acquire()
        with self._counter_lock:
            self.requests += 1
        headers = {"accept": accept, **self._key.header(scheme)}
        with self._http.stream("GET", url, headers=headers, extensions={"trace": self._trace}) as response:
            yield response

    def _redirected(self, url: httpx.URL, response: httpx.Response, redirects: int) -> httpx.URL:
        target = url.join(response.headers.get("location", ""))
        # A user name in it would become an Authorization header beside ours.
        if (target.scheme, target.host, target.port, target.userinfo) != (url.scheme, url.host, url.port, b""):
            raise RedirectRefused(
                f"{url.host} redirects to {self._shown(f'{target.scheme}://{target.host}')}: refused, the key is for"
                f" {url.host} alone. If the API has moved, set SOUNDLINK_BASE_URL",
                request_id=self._request_id(response),
            )
        if redirects > _MAX_REDIRECTS:
            raise WrongContent(f"{self._base_url.host} redirects in circles", request_id=self._request_id(response))
        return target

    def _error(self, response: httpx.Response) -> SoundlinkError:
        """What an error answer means to an operator."""
        status, code, message = response.status_code, None, ""
        body: Any = None
        # An error is told by its status; what else it says may be missing, broken or cut off.
        with suppress(ValueError, httpx.HTTPError):
            body = json_body(response)
        with suppress(KeyError, TypeError, AttributeError):
            code = self._shown(str(body["error"]["code"]))
            message = self._shown(str(body["error"].get("message") or ""))
        details = {"code": code, "request_id": self._request_id(body) or self._request_id(response)}
        said = f": {message}" if message else ""
        if status == 401:
            return KeyRefused(f"{_KEY_MESSAGES.get(code or '', 'the API refuses the key')}{said}", **details)
        if status == 403 and code == "insufficient_scope":
            return ScopeMissing(
                f"the API key lacks a scope{said}. It needs campaigns:read (not with SOUNDLINK_CAMPAIGN_IDS)"
                " and metrics:read",
                **details,
            )
        if status == 429 or status >= 500:
            told = f"rate limited{said}" if status == 429 else f"the API failed with HTTP {status}{said}"
            asked = retry_after(response, self._now())
            if asked is not None and asked > _LONGEST_ASKED_SECONDS:
                return TurnedAway(f"{told}; it asks to be left alone for {asked / 3600:,.0f} hours", **details)
            kind = RateLimited if status == 429 else ServerFault
            return kind(told, retry_after=asked, **details)
        return RequestRefused(f"the API refuses the request with HTTP {status}{said}", **details)

    # Again, where that may help

    def _retrying(self, attempt: Callable[[], T]) -> T:
        """`attempt`, repeated while it fails in a way that may pass: backoff with jitter, or what the API asks for."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, SoundlinkError) and error.transient),
            stop=self._is_enough,
            wait=self._wait,
            sleep=self._pacer.sleep,
            before_sleep=self._tell,
            reraise=True,
        )
        try:
            result = retrying(attempt)
        except (ServerFault, Unreachable):
            with self._counter_lock:
                self._given_up += 1
            raise
        self._given_up = 0
        return result

    def _is_enough(self, state: tenacity.RetryCallState) -> bool:
        is_down = self._given_up >= _GIVEN_UP_IN_A_ROW and isinstance(
            state.outcome.exception() if state.outcome else None, (ServerFault, Unreachable)
        )
        return is_down or state.attempt_number >= self._tries

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, AskedToWait) else None
        if asked is not None:
            self._pacer.pause(asked)  # the others need not find out for themselves
        longest = min(self._backoff * 2**state.attempt_number, _LONGEST_BACKOFF_SECONDS)
        return (asked or 0.0) + random.uniform(longest / 2, longest)  # noqa: S311

    def _tell(self, state: tenacity.RetryCallState) -> None:
        if self._pacer.cancelled.is_set():
            return
        error = state.outcome.exception() if state.outcome else None
        self._log(f"try {state.attempt_number} of {self._tries} failed: {error}; again in {state.upcoming_sleep:.1f} s")

    def _shown(self, text: str, longest: int = _SHOWN_CHARACTERS) -> str:
        """Text from outside, fit to be shown: without the key, and not too long.

        The key goes first: cut before that, a part of it might be left.
        """
        text = self._key.hide(text)
        return text if len(text) <= longest else text[: longest - 1] + "…"

    def _request_id(self, said: Any) -> str | None:
        """The API's id of a request, from the JSON body of its answer or from the answer's headers."""
        if isinstance(said, httpx.Response):
            found = said.headers.get("x-request-id")
        else:
            meta = said.get("meta") if isinstance(said, dict) else None
            found = meta.get("requestId") if isinstance(meta, dict) else None
        return self._shown(str(found)) if found else None


_KEY_MESSAGES = {
    "invalid_api_key": "the API does not know this key; check SOUNDLINK_API_KEY",
    "invalid_token": "the API does not accept this key as a token; check SOUNDLINK_API_KEY and SOUNDLINK_AUTH",
    "api_key_revoked": "this API key was revoked; create a new one and put it into SOUNDLINK_API_KEY",
    "api_key_expired": "this API key has expired; create a new one and put it into SOUNDLINK_API_KEY",
    "mixed_credentials": "the API received two kinds of credentials; does a proxy add an Authorization header?",
}


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # closed already
        connection.shutdown(socket.SHUT_RDWR)


def _transport_message(fault: httpx.TransportError, host: str) -> str:
    if isinstance(fault, httpx.ConnectTimeout):
        return f"{host} could not be reached: no connection in time"
    if isinstance(fault, httpx.TimeoutException):
        return f"{host} fell silent: no byte in time"
    if isinstance(fault, httpx.ConnectError):
        return f"{host} could not be reached: {fault}"
    return f"the connection to {host} broke before the answer was whole: {fault}"
