"""OAuth for agencies: clients, the organizations that consented to each, and the tokens that they are given.

A token is opaque. It ends when its time is over, by the simulated clock or by a real one; when the consent is gone;
and when its organization's integrations are switched off.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import compare_digest, token_urlsafe
from typing import Any
from urllib.parse import parse_qs

from soundlink_pipeline.simulator.access import SCOPES, ApiError, Counts
from soundlink_pipeline.simulator.organizations import Organization

GRANT = "client_credentials"
TOKEN_PATH = "/api/v1/oauth/token"  # noqa: S105  (a path)
METADATA_PATH = "/.well-known/oauth-authorization-server"


class OAuthError(ApiError):
    """An error of the OAuth endpoints: flat, in no envelope."""

    def __init__(self, status: int, code: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, code, code, headers=headers)

    def content(self) -> dict[str, Any]:
        return {"error": self.code}


@dataclass
class ClientInfo:
    """An agency's application. ``consents``: ids of the organizations that may be asked for, changed at any time."""

    secret: str
    consents: set[str] = field(default_factory=set)
    scopes: frozenset[str] = SCOPES
    may_use_grant: bool = True


@dataclass(frozen=True)
class Token:
    client_id: str
    organization: str
    scopes: frozenset[str]
    ends_at: datetime  # by the simulated clock
    ends_at_second: float  # of the real one


class OAuth:
    """The token endpoint's side, and what its tokens are worth; thread-safe."""

    def __init__(self, clients: dict[str, ClientInfo], organizations: Mapping[str, Organization]) -> None:
        self.clients = clients
        self.expires_in = 3600
        self.per_minute: int | None = 30  # requests for tokens, of a client; None: no limit
        self._organizations = organizations
        self._counts = Counts()
        self._lock = threading.Lock()
        self._tokens: dict[str, Token] = {}

    def forget(self) -> None:
        """Start every limit afresh, and end every token."""
        self._counts.forget()
        with self._lock:
            self._tokens.clear()

    def token(self, text: str, now: datetime) -> Token | None:
        """What a token is good for at a simulated moment, if it still is."""
        with self._lock:
            token = self._tokens.get(text)
        if token is None or now >= token.ends_at or time.monotonic() >= token.ends_at_second:
            return None
        client = self.clients.get(token.client_id)
        return token if client and self._consented(client, token.organization) else None

    def grant(self, form: Mapping[str, str], now: datetime) -> dict[str, Any]:
        """A new token, as the token endpoint answers. OAuthError for whatever stands against it."""
        client_id, client = self._authenticated(form)
        if "grant_type" not in form or "organization_id" not in form:
            raise OAuthError(400, "invalid_request")
        if form["grant_type"] != GRANT:
            raise OAuthError(400, "unsupported_grant_type")
        if not client.may_use_grant:
            raise OAuthError(400, "unauthorized_client")
        organization = form["organization_id"].lower()  # a UUID, of which upper case is the same one
        if not self._consented(client, organization):
            raise OAuthError(400, "invalid_grant")
        scopes = frozenset(form["scope"].split()) if "scope" in form else client.scopes
        if not scopes or not scopes <= client.scopes:
            raise OAuthError(400, "invalid_scope")
        text = token_urlsafe(32)
        lasts = timedelta(seconds=self.expires_in)
        token = Token(client_id, organization, scopes, now + lasts, time.monotonic() + self.expires_in)
        with self._lock:
            self._tokens[text] = token
        return {
            "access_token": text,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "scope": " ".join(sorted(scopes)),
        }

    def _authenticated(self, form: Mapping[str, str]) -> tuple[str, ClientInfo]:
        """By what the form says: HTTP Basic is not supported."""
        client_id = form.get("client_id", "")
        client = self.clients.get(client_id)
        if client is not None and (wait := self._counts.take(client_id, [(self.per_minute, 60)])):
            raise OAuthError(429, "temporarily_unavailable", headers={"Retry-After": str(wait)})
        if client is None or not compare_digest(client.secret.encode(), form.get("client_secret", "").encode()):
            raise OAuthError(401, "invalid_client")
        return client_id, client

    def _consented(self, client: ClientInfo, organization_id: str) -> bool:
        organization = self._organizations.get(organization_id)
        if organization is None or organization_id not in client.consents:
            return False
        return organization.integrations and organization.public_api and not organization.access_denied


def form_of(body: bytes) -> dict[str, str]:
    """The fields of a form, the last of several of one name; what is no form has none."""
    return {
        name: values[-1] for name, values in parse_qs(body.decode(errors="replace"), keep_blank_values=True).items()
    }


def metadata(base_url: str) -> dict[str, Any]:
    """The endpoints by name, as RFC 8414 has them."""
    return {
        "issuer": base_url,
        "token_endpoint": base_url + TOKEN_PATH,
        "grant_types_supported": [GRANT],
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "scopes_supported": sorted(SCOPES),
    }
