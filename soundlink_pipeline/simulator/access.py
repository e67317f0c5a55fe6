"""What gives access, and how much: keys, scopes, limits, and the error for whatever is refused."""

import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

DEMO_KEY = "sk_demo_simulator"
CAMPAIGNS_READ = "campaigns:read"
METRICS_READ = "metrics:read"
SOUNDLINKS_READ = "soundlinks:read"
SCOPES = frozenset((CAMPAIGNS_READ, METRICS_READ, SOUNDLINKS_READ))

Window = tuple[int | None, int]  # so many requests (None: no limit) in so many seconds


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

    def content(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details is not None:
            error["details"] = self.details
        return {"error": error, "meta": {"requestId": str(uuid4())}}


@dataclass
class KeyInfo:
    """A key and what it opens, in its organization; without one, in the simulator's first."""

    scopes: frozenset[str] = SCOPES
    revoked: bool = False
    expired: bool = False
    organization: str | None = None


class Counts:
    """How many requests somebody made lately, in real time; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: defaultdict[str, deque[float]] = defaultdict(deque)

    def take(self, name: str, windows: Sequence[Window]) -> int:
        """Count one request; or, where it does not fit every window, the whole seconds until one would.

        A refused request is not counted.
        """
        now = time.monotonic()
        longest = max(seconds for _, seconds in windows)
        with self._lock:
            asked = self._asked[name]
            while asked and asked[0] <= now - longest:
                asked.popleft()
            wait = max(_wait(asked, now, limit, seconds) for limit, seconds in windows)
            if not wait:
                asked.append(now)
                return 0
        return max(1, math.ceil(wait))

    def forget(self) -> None:
        with self._lock:
            self._asked.clear()


def _wait(asked: deque[float], now: float, limit: int | None, window: float) -> float:
    """Seconds until one more request would fit the window; 0 when it fits now."""
    if limit is None:
        return 0.0
    if limit < 1:
        return window
    if len(asked) < limit:
        return 0.0
    return max(0.0, asked[-limit] + window - now)
