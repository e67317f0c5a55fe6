"""The door: who asks, whether they have asked too often, and whether they may know."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from soundlink_pipeline.simulator.access import ApiError, Counts, KeyInfo
from soundlink_pipeline.simulator.oauth import OAuth
from soundlink_pipeline.simulator.organizations import Organization


@dataclass(frozen=True)
class Caller:
    """Whose key or token a request carries."""

    organization: Organization
    scopes: frozenset[str]
    counted_as: str  # whose limits it is counted against: a key's, or an OAuth client's, whatever its token


def scheme_of(headers: Mapping[str, str]) -> str:
    """Which way of authenticating a request used, for the statistics; never the key itself."""
    match "x-api-key" in headers, "authorization" in headers:
        case True, True:
            return "both"
        case True, False:
            return "x-api-key"
        case False, True:
            return "bearer" if headers["authorization"].lower().startswith("bearer ") else "other"
        case _:
            return "none"


class Access:
    """``identify`` the caller and ``admit`` the request, or raise the error that the vendor answers with."""

    def __init__(
        self,
        keys: dict[str, KeyInfo],
        organizations: dict[str, Organization],
        oauth: OAuth,
        *,
        generation: int,
        per_minute: int | None,
        per_hour: int | None,
    ) -> None:
        self.keys = keys
        self.organizations = organizations  # by id; the first is that of keys which name none
        self.oauth = oauth
        self.generation = generation
        self.per_minute = per_minute  # None: unlimited
        self.per_hour = per_hour
        self._counts = Counts()

    def identify(self, headers: Mapping[str, str], now: datetime) -> Caller:
        bearer = _bearer(headers)
        if bearer is not None and (token := self.oauth.token(bearer, now)):
            return Caller(self.organizations[token.organization], token.scopes, f"client {token.client_id}")
        key = self._key(headers, bearer)
        info = self.keys.get(key)
        if info is None:
            raise ApiError(401, "invalid_api_key", "The API key is missing or unknown.")
        if info.revoked:
            raise ApiError(401, "api_key_revoked", "The API key has been revoked.")
        if info.expired:
            raise ApiError(401, "api_key_expired", "The API key has expired.")
        organization = info.organization or next(iter(self.organizations))
        return Caller(self.organizations[organization], info.scopes, f"key {key}")

    def admit(self, caller: Caller, scope: str | None) -> None:
        wait = self._counts.take(caller.counted_as, [(self.per_minute, 60), (self.per_hour, 3600)])
        if wait:
            raise ApiError(429, "rate_limit_exceeded", "Too many requests.", headers={"Retry-After": str(wait)})
        if caller.organization.access_denied:
            raise ApiError(403, "access_denied", "This organization has no access to the API.")
        if not caller.organization.public_api:
            raise ApiError(404, "not_found", "There is nothing here.")
        if scope is not None and scope not in caller.scopes:
            raise ApiError(
                403, "insufficient_scope", f"The API key lacks the scope {scope}.", details={"required": scope}
            )

    def forget(self) -> None:
        """Start every limit afresh."""
        self._counts.forget()

    def _key(self, headers: Mapping[str, str], bearer: str | None) -> str:
        """Of a request whose bearer is no token of a client's."""
        if self.generation == 1:
            if "authorization" in headers and "x-api-key" in headers:
                raise ApiError(401, "mixed_credentials", "Send either x-api-key or Authorization, not both.")
            if bearer is not None:
                raise ApiError(401, "invalid_token", "The bearer token is not valid.")
            return headers.get("x-api-key", "")
        # The current generation ignores x-api-key, so that a request with it alone carries no key at all.
        if bearer is not None and not bearer.startswith("sk_"):
            raise ApiError(401, "invalid_token", "The bearer token is neither an API key nor valid any more.")
        return bearer or ""


def _bearer(headers: Mapping[str, str]) -> str | None:
    """What Authorization carries, if it does so as a bearer: of another scheme it carries nothing."""
    scheme, _, text = headers.get("authorization", "").partition(" ")
    return text if scheme.lower() == "bearer" else None
