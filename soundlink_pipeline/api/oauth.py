"""OAuth client credentials: a token for each organization, asked for when it is needed and sent as Bearer.

Tokens are in memory only. The client's secret goes to the token endpoint of the configured host, a token to the API
there; neither is shown: texts from outside are cleaned of both.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from soundlink_pipeline.api.auth import HostAuth, is_unknown
from soundlink_pipeline.api.content_encoding import ACCEPTED, UnknownEncoding
from soundlink_pipeline.api.error_answers import busy_error
from soundlink_pipeline.api.errors import NoToken, SoundlinkError, Unreachable
from soundlink_pipeline.api.key import Credential, forms_of
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.api.responses import content_type, json_body, request_id
from soundlink_pipeline.api.retrying import RetryPolicy
from soundlink_pipeline.api.transport import PacedTransport, transport_message
from soundlink_pipeline.settings.accounts import Account

TOKEN_PATH = "/api/v1/oauth/token"  # noqa: S105  (a path)
# Of the token endpoint, for each client; it has nothing to do with the limits of the API.
TOKENS_PER_MINUTE = 30
TOKENS_PER_HOUR = TOKENS_PER_MINUTE * 60

# A token is not sent in its last minute: the request that carries it may take a while to arrive.
_MARGIN_SECONDS = 60.0
_LONGEST_TOKEN = 16_384
# How many tokens of an organization are remembered, to be hidden: an answer may say back an older one.
_HIDDEN_TOKENS = 8


class OAuthClient(Credential):
    """The client and secret of an account. Raises ValueError, which does not show it, for what can be no secret."""

    def __init__(self, account: Account, secret: str) -> None:
        secret = secret.strip()
        if not re.fullmatch(r"[ -~]+", secret):
            problem = "holds a character that no secret has; was it pasted whole?" if secret else "is not set"
            raise ValueError(f"{account.secret_env}, the client's secret of account {account.name}, {problem}")
        super().__init__(secret)
        self.__secret = secret
        self.__tokens: tuple[str, ...] = ()
        self.account = account
        self.ids_setting = account.called("campaign_ids")
        self.holder = f"the token of account {account.name}"
        self.whose = f"the organization of account {account.name}"
        self.wider = "Let the client ask for that scope, and the organization consent to it again"

    def __repr__(self) -> str:
        return f"OAuthClient({self.account.name!r})"

    def form(self) -> dict[str, str]:
        """What the token endpoint is sent."""
        return {
            "grant_type": "client_credentials",
            "client_id": self.account.client_id or "",
            "client_secret": self.__secret,
            "organization_id": self.account.organization_id or "",
        }

    def hide_too(self, token: str) -> None:
        """Hide a token, as the secret is."""
        if token not in self.__tokens:
            self.__tokens = (*self.__tokens, token)[-_HIDDEN_TOKENS:]
            self._forms = tuple(forms_of(hidden) for hidden in (self.__secret, *self.__tokens))

    def refusal(self, code: str) -> str:
        if code in ("invalid_token", "invalid_api_key"):
            return f"the API does not accept a token that account {self.account.name} has just been given"
        return f"the API refuses the token of account {self.account.name}"


@dataclass(frozen=True)
class Token:
    """`until` is by the clock of its `Tokens`, in seconds: when it is not sent any more."""

    text: str = field(repr=False)
    until: float


class Tokens:
    """The tokens that were given, by client and organization: shared by all clients of a process, never stored.

    Thread-safe. `clock` tells seconds, and never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._slots: dict[tuple[str, ...], Slot] = {}

    def __repr__(self) -> str:
        return "Tokens()"

    def slot(self, *whose: str) -> Slot:
        with self._lock:
            return self._slots.setdefault(whose, Slot(self.clock))


class Slot:
    """The present token of one organization. While one thread asks for another, the others wait."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asking = threading.Lock()
        self._token: Token | None = None

    def current(self, ask: Callable[[], Token], *, refused: str | None = None) -> str:
        """A token that is still good, and is not the one that was refused; `ask` gets one where there is none."""
        with self._asking:
            token = self._token
            if token is None or token.text == refused or self._clock() >= token.until:
                self._token = None  # also where none is given
                self._token = token = ask()
            return token.text


@dataclass(frozen=True, kw_only=True)
class OAuthAccess:
    """How an account with a client of OAuth gets in. `pacer` keeps the token endpoint's limit."""

    client: OAuthClient
    tokens: Tokens
    pacer: Pacer


class TokenAuth(HostAuth):
    """Sends a token as Bearer. One that the API does not know any more is exchanged once. Thread-safe."""

    scheme = "bearer"

    def __init__(self, access: OAuthAccess, endpoint: TokenEndpoint, base_url: httpx.URL) -> None:
        super().__init__(base_url)
        self._client = access.client
        self._endpoint = endpoint
        account = access.client.account
        self._slot = access.tokens.slot(str(base_url), account.client_id or "", account.organization_id or "")

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self._token()
        response = yield self.signed(request, _bearer(token))
        if is_unknown(response):  # its time is over, or the consent was taken back: asking tells
            yield self.signed(request, _bearer(self._token(refused=token)))

    def abort(self) -> None:
        self._endpoint.abort()

    def close(self) -> None:
        self._endpoint.close()

    def _token(self, refused: str | None = None) -> str:
        token = self._slot.current(self._endpoint.ask, refused=refused)
        self._client.hide_too(token)
        return token


class TokenEndpoint:
    """Asks for tokens. Failures that may pass are retried, within the endpoint's own limit; the others are NoToken."""

    def __init__(
        self,
        access: OAuthAccess,
        base_url: httpx.URL,
        *,
        timeout: httpx.Timeout,
        transport: httpx.BaseTransport,
        tries: int,
        backoff: float,
        log: Callable[[str], None],
        now: Callable[[], datetime],
    ) -> None:
        self._client = access.client
        self._clock = access.tokens.clock
        self._url = base_url.copy_with(raw_path=base_url.raw_path.rstrip(b"/") + TOKEN_PATH.encode())
        self._now = now
        self._retry_policy = RetryPolicy(access.pacer, tries=tries, backoff=backoff, log=log)
        self._transport = PacedTransport(transport, access.pacer)
        self._http = httpx.Client(
            transport=self._transport,
            timeout=timeout,
            follow_redirects=False,
            headers={
                "user-agent": "soundlink-pipeline",
                "accept": "application/json",
                "accept-encoding": ACCEPTED,
                "connection": "close",
            },
        )

    def ask(self) -> Token:
        """A new token. Raises NoToken, whatever the reason, and Cancelled."""
        try:
            return self._retry_policy.run(self._request)
        except NoToken:
            raise
        except SoundlinkError as error:
            raise NoToken(self._sentence(f"{error}"), reason=error) from None

    def abort(self) -> None:
        self._transport.abort()

    def close(self) -> None:
        self._http.close()

    def _request(self) -> Token:
        asked_at = self._clock()
        try:
            with self._http.stream("POST", self._url, data=self._client.form()) as response:
                if response.status_code == 200:
                    return self._token_in(response, asked_at)
                raise self._error(response)
        except httpx.TransportError as fault:
            raise Unreachable(self._client.shown(transport_message(fault, self._url.host))) from None
        except (UnicodeError, UnknownEncoding, httpx.DecodingError):
            raise self._no_token("the token endpoint's answer cannot be read; does a proxy change it?") from None

    def _token_in(self, response: httpx.Response, asked_at: float) -> Token:
        fields = _object_in(response)
        if fields is None:
            found = self._client.shown(content_type(response))
            raise self._no_token(f"the token endpoint answered {found} where a JSON object was due", response)
        text, kind, lasts = (fields.get(name) for name in ("access_token", "token_type", "expires_in"))
        if not isinstance(text, str) or not re.fullmatch(rf"[!-~]{{1,{_LONGEST_TOKEN}}}", text):
            raise self._no_token("the token endpoint's answer has no access_token", response)
        self._client.hide_too(text)
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise self._no_token("the token endpoint's answer has a token_type that is not Bearer", response)
        if isinstance(lasts, bool) or not isinstance(lasts, int | float) or not 0 < lasts < math.inf:
            raise self._no_token(
                "the token endpoint's answer has no expires_in, which says for how many seconds the token is good",
                response,
            )
        return Token(text, asked_at + lasts - min(_MARGIN_SECONDS, lasts / 10))

    def _error(self, response: httpx.Response) -> SoundlinkError:
        if response.has_redirect_location:
            return self._no_token(
                f"the token endpoint redirects: refused, the client's secret is for {self._url.host} alone", response
            )
        said = _error_in(response)
        code = self._client.shown(said) if said else None
        if response.status_code == 429 or response.status_code >= 500:
            return busy_error(response, "", self._now(), code=code, request_id=request_id(response, self._client))
        return self._no_token(self._refusal(code or "", response.status_code), response, code)

    def _refusal(self, code: str, status: int) -> str:
        account = self._client.account
        return {
            "invalid_grant": f"organization {account.organization_id} has not consented to this client, has taken its"
            " consent back, or has switched third-party integrations off; somebody of the organization must consent"
            " (again)",
            "invalid_client": f"Soundlink does not know this client with this secret; check client_id and"
            f" {account.secret_env}",
            "unauthorized_client": "Soundlink does not let this client ask for tokens by itself (the grant"
            " client_credentials); ask Soundlink to allow it",
            "invalid_scope": "Soundlink has no scope for this client; ask Soundlink which ones it may have",
        }.get(code, f"the token endpoint refuses the request with HTTP {status}; check SOUNDLINK_BASE_URL")

    def _no_token(self, why: str, response: httpx.Response | None = None, code: str | None = None) -> NoToken:
        found = request_id(response, self._client) if response is not None else None
        return NoToken(self._sentence(why), code=code, request_id=found)

    def _sentence(self, why: str) -> str:
        return f"account {self._client.account.name} gets no token: {why}"


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _object_in(response: httpx.Response) -> dict[str, Any] | None:
    """The JSON object of a body. Nothing of what is none stays in an exception: it may be the secret, said back."""
    with suppress(ValueError):
        body = json_body(response)
        if isinstance(body, dict):
            return body
    return None


def _error_in(response: httpx.Response) -> str | None:
    """The code of an OAuth error, which stands in no envelope: `{"error": code}`."""
    fields = None
    with suppress(httpx.HTTPError):  # cut off: the status tells enough
        fields = _object_in(response)
    error = (fields or {}).get("error")
    return error if isinstance(error, str) and error else None
