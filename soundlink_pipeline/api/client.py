"""What the Soundlink API offers: a ping, listings, a campaign's totals, and exports streamed to a file.

Each call is one request of a `Session`, repeated by a `RetryPolicy`. Every failure is a `SoundlinkError`;
`api/errors.py` lists them. Keys and tokens are sent in the request header and shown nowhere: messages that came from
outside are cleaned of them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from soundlink_pipeline.api.auth import HostAuth, KeyAuth, SchemeMemory
from soundlink_pipeline.api.download import Download, save
from soundlink_pipeline.api.errors import WrongContent
from soundlink_pipeline.api.key import ApiKey, Credential, Scheme
from soundlink_pipeline.api.oauth import OAuthAccess, TokenAuth, TokenEndpoint
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.api.responses import (
    content_type,
    json_body,
    request_id,
    request_id_in,
    row_count,
    server_date,
)
from soundlink_pipeline.api.retrying import FIRST_BACKOFF_SECONDS, TRIES, RetryPolicy
from soundlink_pipeline.api.session import Session
from soundlink_pipeline.api.transport import TIMEOUT, direct_transport
from soundlink_pipeline.contracts.days import MAX_DAYS_PER_PULL, DateRange
from soundlink_pipeline.contracts.overview import OVERVIEW_PATH
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.subject import Listed, Subject
from soundlink_pipeline.settings.accounts import AuthSetting
from soundlink_pipeline.settings.urls import checked_base_url

_PAGE_SIZE = 100


class SoundlinkClient:
    """A client for one credential and one host. Thread-safe; `close` it, or use it as a context manager.

    `access` is a key, or how an account gets its tokens; `auth` and `memory` are for keys. Raises ValueError for a URL
    or a key that cannot be one. `now` and `transport` are seams for tests.
    """

    def __init__(
        self,
        base_url: str,
        access: str | ApiKey | OAuthAccess,
        pacer: Pacer,
        *,
        auth: AuthSetting = "auto",
        memory: SchemeMemory | None = None,
        timeout: httpx.Timeout = TIMEOUT,
        tries: int = TRIES,
        backoff: float = FIRST_BACKOFF_SECONDS,
        transport: httpx.BaseTransport | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._base_url = checked_base_url(base_url)
        self._pacer = pacer
        self._now = now
        self._retry_policy = RetryPolicy(pacer, tries=tries, backoff=backoff, log=log)
        transport = transport or direct_transport(self._base_url)
        self._credential: Credential
        signing: HostAuth
        if isinstance(access, OAuthAccess):
            self._credential = access.client
            endpoint = TokenEndpoint(
                access,
                self._base_url,
                timeout=timeout,
                transport=transport,
                tries=tries,
                backoff=backoff,
                log=log,
                now=now,
            )
            signing = TokenAuth(access, endpoint, self._base_url)
        else:
            self._credential = key = ApiKey(access) if isinstance(access, str) else access
            signing = KeyAuth(key, auth, self._base_url, memory)
        self._session = Session(
            self._base_url, self._credential, signing, pacer, timeout=timeout, transport=transport, now=now
        )

    def __repr__(self) -> str:
        return f"SoundlinkClient({str(self._base_url)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._session.close()

    def abort(self) -> None:
        """Cut every connection, so that a request waiting for a silent server ends now, as Unreachable."""
        self._session.abort()

    @property
    def scheme(self) -> Scheme | None:
        """How the key is sent; None while that is unknown (setting `auto`, and nothing answered yet)."""
        return self._session.scheme

    @property
    def requests(self) -> int:
        """How many requests were sent; retries, redirects and a second way of sending the key count, too."""
        return self._session.requests

    def ping(self) -> datetime | None:
        """Check that the key works: any valid key may do this. Returns the server's time. Raises SoundlinkError."""
        _, date = self._retry_policy.run(lambda: self._get_json("/v1/ping", {}))
        return date

    def listed(self, subject: Subject) -> Listed:
        """All of a subject that the key sees, all pages. Raises SoundlinkError."""
        items: dict[str, dict[str, Any]] = {}
        requested_at, listed_at, page, pages = self._now(), None, 1, 1
        while page <= pages:
            query = {"page": str(page), "pageSize": str(_PAGE_SIZE)}
            body, date = self._retry_policy.run(lambda query=query: self._get_json(subject.path, query))  # type: ignore[misc]
            # The first page's moment: what is created after it may be missing from the list.
            listed_at = listed_at or date
            try:
                found, pages = body["data"]["items"], int(body["data"]["pagination"]["totalPages"])
                if not found and page < pages:
                    raise ValueError(f"the page is empty, but {pages} are announced")
                for item in found:
                    if not isinstance(item[subject.id_field], str) or not item[subject.id_field].encode():
                        raise TypeError(f"{subject.id_field} is not text")
                    # The list may shift between two pages: an item seen twice is one.
                    items[subject.id_of(item)] = item
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                reason = self._credential.shown(f"{type(error).__name__} {error}")
                raise WrongContent(
                    f"page {page} of the {subject.name} listing is not what the API documents"
                    f" (data.items with a {subject.id_field} each, data.pagination.totalPages): {reason}",
                    request_id=request_id_in(body, self._credential),
                ) from None
            page += 1
        return Listed(list(items.values()), requested_at, listed_at)

    def item(self, subject: Subject, listed_id: str) -> dict[str, Any]:
        """One of a subject by itself: its JSON object, which has the listing's fields. Raises SoundlinkError."""
        return self.dated_item(subject, listed_id)[0]

    def dated_item(self, subject: Subject, listed_id: str) -> tuple[dict[str, Any], datetime | None]:
        """As `item`, with the server's time."""
        path = _path_of(f"{subject.path}/{{id}}", listed_id)
        body, date = self._retry_policy.run(lambda: self._get_json(path, {}))
        return self._data_of(body, f"{subject.name} {listed_id}", "its fields"), date

    def overview(self, campaign_id: str, dates: DateRange) -> dict[str, Any]:
        """Soundlink's own totals of a campaign over `dates`: its JSON object, numbers as int or exact Decimal.

        The range may be longer than an export's. Raises SoundlinkError.
        """
        path = _path_of(OVERVIEW_PATH, campaign_id)
        body, _ = self._retry_policy.run(lambda: self._get_json(path, _query_of(dates), parse_float=Decimal))
        return self._data_of(body, f"the overview of campaign {campaign_id}", "the totals")

    def download(
        self,
        export: Export,
        listed_id: str,
        dates: DateRange,
        to: Path,
        received: Callable[[int], None] = lambda _: None,
    ) -> Download:
        """Stream one export into the file `to`, whole and fsynced, or raise SoundlinkError.

        The file may exist with partial content after an error. A byte order mark is left out. Rows are compared with
        `X-Row-Count` where there is one: fewer means a truncated delivery, which is requested again; more is left for
        the load to refuse. `received` gets the size of each piece that arrives, in bytes.
        """
        if dates.days > MAX_DAYS_PER_PULL:
            raise ValueError(f"{dates} is {dates.days} days; the API gives at most {MAX_DAYS_PER_PULL} in one request")
        path = _path_of(export.path, listed_id)
        return self._retry_policy.run(lambda: self._get_export(path, _query_of(dates), to, received))

    def _data_of(self, body: object, what: str, of_what: str) -> dict[str, Any]:
        """The object in an envelope, or WrongContent."""
        data = body.get("data") if isinstance(body, dict) else None
        if not isinstance(data, dict):
            raise WrongContent(
                f"{what} is not what the API documents (data with {of_what})",
                request_id=request_id_in(body, self._credential),
            )
        return data

    def _get_json(
        self, path: str, query: dict[str, str], *, parse_float: Callable[[str], Any] = float
    ) -> tuple[Any, datetime | None]:
        with self._session.get(path, query, accept="application/json") as response:
            try:
                return json_body(response, parse_float), server_date(response)
            except (ValueError, InvalidOperation):  # the latter for an exponent that no Decimal has
                raise WrongContent(
                    f"{path} answered {self._credential.shown(content_type(response))} where JSON was due",
                    request_id=request_id(response, self._credential),
                ) from None

    def _get_export(self, path: str, query: dict[str, str], to: Path, received: Callable[[int], None]) -> Download:
        def after_chunk(size: int) -> None:
            received(size)
            self._pacer.raise_if_cancelled()

        requested_at = self._now()
        with self._session.get(path, query, accept="application/x-ndjson") as response:
            size, sha256 = save(response, path, to, credential=self._credential, after_chunk=after_chunk)
        return Download(requested_at, self._now(), server_date(response), row_count(response), size, sha256)


def _path_of(template: str, listed_id: str) -> str:
    # Dots too: httpx would resolve a path segment of one or two of them away, and request something else.
    return template.format(id=quote(listed_id, safe="").replace(".", "%2E"))


def _query_of(dates: DateRange) -> dict[str, str]:
    return {"startDate": dates.start.isoformat(), "endDate": dates.end.isoformat()}
