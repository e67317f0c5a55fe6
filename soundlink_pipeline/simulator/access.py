"""Who may ask what, and how often: both generations of authentication, scopes and the limits per key."""

import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEMO_KEY = "sk_demo_simulator"
CAMPAIGNS_READ = "campaigns:read"
METRICS_READ = "metrics:read"


class ApiError(Exception):
    """An answer in the error envelope: HTTP status, code of the contract, message, further headers."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.details, self.headers = details, headers or {}


@dataclass
class KeyInfo:
    scopes: frozenset[str] = field(default_factory=lambda: frozenset((CAMPAIGNS_READ, METRICS_READ)))
    revoked: bool = False
    expired: bool = False


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
    """The door: ``admit`` a request or raise the error that the vendor answers with."""

    def __init__(self, keys: dict[str, KeyInfo], generation: int, per_minute: int | None, per_hour: int | None) -> None:
        self.keys = keys
        self.generation = generation
        self.per_minute = per_minute  # None: unlimited
        self.per_hour = per_hour
        self._lock = threading.Lock()
        self._asked: defaultdict[str, deque[float]] = defaultdict(deque)

    def admit(self, headers: Mapping[str, str], scope: str | None) -> None:
        key = self._key_from(headers)
        info = self.keys.get(key)
        if info is None:
            raise ApiError(401, "invalid_api_key", "The API key is missing or unknown.")
        if info.revoked:
            raise ApiError(401, "api_key_revoked", "The API key has been revoked.")
        if info.expired:
            raise ApiError(401, "api_key_expired", "The API key has expired.")
        self._count(key)
        if scope is not None and scope not in info.scopes:
            raise ApiError(
                403, "insufficient_scope", f"The API key lacks the scope {scope}.", details={"required": scope}
            )

    def forget(self) -> None:
        """Start every limit afresh."""
        with self._lock:
            self._asked.clear()

    def _key_from(self, headers: Mapping[str, str]) -> str:
        authorization = headers.get("authorization")
        if self.generation == 1:
            if authorization is None:
                return headers.get("x-api-key", "")
            if "x-api-key" in headers:
                raise ApiError(401, "mixed_credentials", "Send either x-api-key or Authorization, not both.")
            raise ApiError(401, "invalid_token", "The bearer token is not valid.")
        # The current generation ignores x-api-key, so that a request with it alone carries no key at all.
        if authorization is None:
            return ""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.startswith("sk_"):
            raise ApiError(401, "invalid_token", "The bearer token is not an API key.")
        return key

    def _count(self, key: str) -> None:
        """Sliding windows in real time. A refused request is not counted: Retry-After says when one would pass."""
        now = time.monotonic()
        with self._lock:
            asked = self._asked[key]
            while asked and asked[0] <= now - 3600:
                asked.popleft()
            wait = max(_wait(asked, now, self.per_minute, 60), _wait(asked, now, self.per_hour, 3600))
            if not wait:
                asked.append(now)
                return
        retry_after = str(max(1, math.ceil(wait)))
        raise ApiError(429, "rate_limit_exceeded", "Too many requests.", headers={"Retry-After": retry_after})


def _wait(asked: deque[float], now: float, limit: int | None, window: float) -> float:
    """Seconds until one more request would fit the window; 0 when it fits now."""
    if limit is None:
        return 0.0
    if limit < 1:
        return window
    if len(asked) < limit:
        return 0.0
    return max(0.0, asked[-limit] + window - now)
