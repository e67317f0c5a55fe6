"""How a key is sent: in one of two headers, and to one host only.

Apart from `key.py`, which code that sends nothing imports too: this needs httpx.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import get_args

import httpx

from soundlink_pipeline.api.error_answers import error_code
from soundlink_pipeline.api.key import ApiKey, Scheme
from soundlink_pipeline.settings.accounts import DEFAULT_ACCOUNT, AuthSetting

# What a server answers to a key that it does not know, and to one in a header that it does not look at.
_NO_KEY_KNOWN = ("invalid_api_key", "invalid_token")


class SchemeMemory:
    """Which scheme a server takes of an account, kept in the data folder for all steps and processes; never a key.

    The file is JSON: an origin, and its scheme. Each account has its own, for a server may know the keys of two
    generations; and accounts that are pulled side by side do not write over each other. It spares requests, so that
    what cannot be read or written is no error. `writes` is False for one who is to change nothing.
    """

    def __init__(self, data_dir: Path, account: str = DEFAULT_ACCOUNT, *, writes: bool = True) -> None:
        self._file = data_dir / ("api_scheme.json" if account == DEFAULT_ACCOUNT else f"api_scheme-{account}.json")
        self._writes = writes

    def recall(self, origin: str) -> Scheme | None:
        found = self._read().get(origin)
        return next((scheme for scheme in get_args(Scheme) if scheme == found), None)

    def remember(self, origin: str, scheme: Scheme) -> None:
        known = self._read()
        if not self._writes or known.get(origin) == scheme:
            return
        with suppress(OSError):  # in place: half a file is read as none, and a kill leaves nothing beside it
            self._file.write_text(json.dumps(known | {origin: scheme}) + "\n", encoding="utf-8")

    def _read(self) -> dict[str, object]:
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


class HostAuth(httpx.Auth):
    """Signs requests to one host, and none to another. `scheme` is how; None while that is unknown."""

    scheme: Scheme | None

    def __init__(self, base_url: httpx.URL) -> None:
        self._home = _origin(base_url)

    def is_for(self, url: httpx.URL) -> bool:
        """Whether a request to this URL may carry the credential: it goes to the configured host only."""
        # A user name in a URL would become an Authorization header beside ours.
        return _origin(url) == self._home and not url.userinfo

    def signed(self, request: httpx.Request, header: dict[str, str]) -> httpx.Request:
        """The request with this header and no other credential."""
        for name in ("x-api-key", "authorization"):
            request.headers.pop(name, None)
        if self.is_for(request.url):
            request.headers.update(header)
        return request

    def abort(self) -> None:
        """Cut what it has under way itself."""

    def close(self) -> None:
        """Give back what it holds."""


class KeyAuth(HostAuth):
    """Sends the key as Bearer, or as `x-api-key` where the API knows no Bearer; never both in one request.

    `scheme` is how; None while the setting is `auto` and neither `memory` nor an answer has shown it. Then one request
    finds out while the others wait. A scheme that was found and is refused later is doubted once. Thread-safe.
    """

    def __init__(
        self, key: ApiKey, setting: AuthSetting, base_url: httpx.URL, memory: SchemeMemory | None = None
    ) -> None:
        super().__init__(base_url)
        self._key = key
        self._memory = memory
        self._doubted = setting != "auto"  # a scheme that was pinned is the only one
        self._finding_out = threading.Lock()
        if setting == "auto":
            self.scheme = memory.recall(self._origin_text) if memory else None
        else:
            self.scheme = setting

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        with nullcontext() if self.scheme else self._finding_out:
            known = self.scheme
            scheme: Scheme = known or "bearer"
            response = yield self.signed(request, self._key.header(scheme))
            refused = is_unknown(response)
            if refused and not (known and self._doubted):
                self._doubted = known is not None
                scheme = "x-api-key" if scheme == "bearer" else "bearer"
                response = yield self.signed(request, self._key.header(scheme))
            # 200 proves a scheme. So does whatever else is said to one where the other was refused, but a refusal.
            if response.status_code == 200 or (refused and scheme != known and response.status_code != 401):
                self._found(scheme)

    def _found(self, scheme: Scheme) -> None:
        if scheme != self.scheme:
            self.scheme = scheme
            if self._memory:
                self._memory.remember(self._origin_text, scheme)

    @property
    def _origin_text(self) -> str:
        scheme, host, port = self._home
        return f"{scheme}://{host}" + (f":{port}" if port else "")


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def is_unknown(response: httpx.Response) -> bool:
    """Whether the API does not know the key or token of a request (any more)."""
    if response.status_code != 401:
        return False
    with suppress(httpx.HTTPError):  # cut off or damaged: it names no code then
        response.read()
    return error_code(response) in _NO_KEY_KNOWN
