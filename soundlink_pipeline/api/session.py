"""One host, spoken to with one credential: the answer to a GET request, or a `SoundlinkError`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import httpx

from soundlink_pipeline.api.auth import HostAuth
from soundlink_pipeline.api.content_encoding import ACCEPTED, UnknownEncoding
from soundlink_pipeline.api.error_answers import error_of
from soundlink_pipeline.api.errors import RedirectRefused, RequestRefused, SoundlinkError, Unreachable, WrongContent
from soundlink_pipeline.api.key import Credential, Scheme
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.api.responses import request_id
from soundlink_pipeline.api.transport import PacedTransport, transport_message

_MAX_REDIRECTS = 3


class Session:
    """An httpx client with the credential, the pace and the errors of this API. Thread-safe; `close` it."""

    def __init__(
        self,
        base_url: httpx.URL,
        credential: Credential,
        auth: HostAuth,
        pacer: Pacer,
        *,
        timeout: httpx.Timeout,
        transport: httpx.BaseTransport,
        now: Callable[[], datetime],
    ) -> None:
        self._base_url = base_url
        self._credential = credential
        self._now = now
        self._auth = auth
        self._transport = PacedTransport(transport, pacer)
        self._http = httpx.Client(
            auth=auth,
            transport=self._transport,
            timeout=timeout,
            follow_redirects=False,
            # On a connection that is kept, what a server or a proxy sent too much would be read as the answer to the
            # next request, and that is another campaign's.
            headers={"user-agent": "soundlink-pipeline", "accept-encoding": ACCEPTED, "connection": "close"},
        )

    @property
    def requests(self) -> int:
        """How many requests were sent: redirects, retries and a second way of sending the key count, too."""
        return self._transport.requests

    @property
    def scheme(self) -> Scheme | None:
        return self._auth.scheme

    def close(self) -> None:
        self._http.close()
        self._auth.close()

    def abort(self) -> None:
        """End every request now, also one that waits for a silent server, as Unreachable."""
        self._transport.abort()
        self._auth.abort()

    @contextmanager
    def get(self, path: str, query: dict[str, str], *, accept: str) -> Iterator[httpx.Response]:
        """The answer, which is 200, its body not yet read.

        Raises SoundlinkError, also where the connection breaks while the body is read within the context.
        """
        try:
            url = self._base_url.copy_with(raw_path=self._base_url.raw_path.rstrip(b"/") + path.encode("ascii"))
        except httpx.InvalidURL:
            raise RequestRefused("an id is too long for the address of a request, and was not asked for") from None
        url = url.copy_merge_params(query)
        redirects = 0
        while True:
            try:
                with self._http.stream("GET", url, headers={"accept": accept}) as response:
                    if response.status_code == 200:
                        yield response
                        return
                    if not response.has_redirect_location:
                        raise self._error(response)
                    redirects += 1
                    url = self._redirected(url, response, redirects)
            except httpx.TransportError as fault:
                raise Unreachable(self._credential.shown(transport_message(fault, self._base_url.host))) from None
            except UnicodeError:  # httpx reads the address of a redirect, also of one that it is not to follow
                raise WrongContent(f"{self._base_url.host} redirects to a host name that cannot be one") from None
            except UnknownEncoding as fault:
                shown = self._credential.shown(str(fault), 80)
                raise WrongContent(
                    f"the answer's content encoding is {shown!r}, which was not asked for and is not understood; does a"
                    " proxy change it?"
                ) from None
            except httpx.DecodingError as fault:
                raise Unreachable(f"the answer's content encoding is damaged: {fault}") from None

    def _error(self, response: httpx.Response) -> SoundlinkError:
        error = error_of(response, self._credential, self._now())
        # Where Bearer was tried last and is not understood, the answer before it is the one that is about the key.
        if error.code == "invalid_token" and response.history:
            return error_of(response.history[0], self._credential, self._now())
        return error

    def _redirected(self, url: httpx.URL, response: httpx.Response, redirects: int) -> httpx.URL:
        target = url.join(response.headers.get("location", ""))
        if not self._auth.is_for(target):
            shown = self._credential.shown(f"{target.scheme}://{target.host}")
            raise RedirectRefused(
                f"{url.host} redirects to {shown}: refused, the key is for {url.host} alone. If the API has moved, set"
                " SOUNDLINK_BASE_URL",
                request_id=request_id(response, self._credential),
            )
        if redirects > _MAX_REDIRECTS:
            raise WrongContent(f"{url.host} redirects in circles", request_id=request_id(response, self._credential))
        return target
