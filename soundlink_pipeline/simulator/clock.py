"""The simulator's own idea of "now": what the Date header says and what decides which rows are still open."""

import threading
import time
from datetime import UTC, datetime, timedelta


class SimClock:
    """A UTC clock that stands still unless it is set.

    ``running=True`` lets it advance in real time from the moment it was set. Rate limits do not use it:
    they are kept in real time, so moving the clock never grants or takes requests.
    """

    def __init__(self, now: datetime, *, running: bool = False) -> None:
        self.running = running
        self._lock = threading.Lock()
        self._set(now)

    def now(self) -> datetime:
        with self._lock:
            return self._now()

    def set(self, now: datetime) -> None:
        """Jump to a moment, forwards or backwards; it must carry a time zone."""
        with self._lock:
            self._set(now)

    def advance(self, by: timedelta) -> None:
        with self._lock:
            self._set(self._now() + by)

    def _now(self) -> datetime:
        passed = time.monotonic() - self._set_at if self.running else 0.0
        return self._moment + timedelta(seconds=passed)

    def _set(self, now: datetime) -> None:
        if now.tzinfo is None:
            raise ValueError("the simulator's clock needs a time zone: a naive datetime is ambiguous")
        self._moment = now.astimezone(UTC)
        self._set_at = time.monotonic()
