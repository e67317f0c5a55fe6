"""How the key is sent: in one of two headers, and to one host only.

Apart from `key.py`, which code that sends nothing imports too: this needs httpx.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress

import httpx

from soundlink_pipeline.api.error_answers import error_code
from soundlink_pipeline.api.key import ApiKey, Scheme
from soundlink_pipeline.settings.settings import AuthSetting


class KeyAuth(httpx.Auth):
    """Sends the key as `x-api-key`, or as Bearer where the API ignores that; never both in one request.

    `scheme` is how; None while the setting is `auto` and no answer has shown it yet. Thread-safe.
    """

    def __init__(self, key: ApiKey, setting: AuthSetting, base_url: httpx.URL) -> None:
        self._key = key
        self._home = _origin(base_url)
        self.scheme: Scheme | None = None if setting == "auto" else setting

    def is_for(self, url: httpx.URL) -> bool:
        """Whether a request to this URL may carry the key: it goes to the configured host only."""
        # A user name in a URL would become an Authorization header beside ours.
        return _origin(url) == self._home and not url.userinfo

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        scheme: Scheme = self.scheme or "x-api-key"
        response = yield self._signed(request, scheme)
        # The current generation ignores x-api-key, and says so with this code: once more, with Bearer alone.
        # (Another thread may have found out meanwhile; x-api-key is only beyond doubt once it has worked.)
        if scheme == "x-api-key" and _is_key_unknown(response) and self.scheme != "x-api-key":
            scheme = "bearer"
            response = yield self._signed(request, scheme)
        # 200 proves a scheme. So does any answer but 401 to Bearer: it is only tried where x-api-key was refused.
        if response.status_code == 200 or (scheme == "bearer" and response.status_code != 401):
            self.scheme = scheme

    def _signed(self, request: httpx.Request, scheme: Scheme) -> httpx.Request:
        for name in ("x-api-key", "authorization"):
            request.headers.pop(name, None)
        if self.is_for(request.url):
            request.headers.update(self._key.header(scheme))
        return request


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _is_key_unknown(response: httpx.Response) -> bool:
    if response.status_code != 401:
        return False
    with suppress(httpx.HTTPError):  # cut off or damaged: it names no code then
        response.read()
    return error_code(response) == "invalid_api_key"
