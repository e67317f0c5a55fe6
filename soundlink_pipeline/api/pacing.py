"""Keeps the requests of every process that shares a data directory within the API's limits (60 a minute, 600 an hour).

The counting is pyrate-limiter's, in an SQLite file beside the warehouse; the waiting is ours, so that a run that is
cancelled stops at once instead of at the end of its wait.
"""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from pyrate_limiter import Rate, RateItem, SQLiteBucket

# Each window is a little longer than the API's: a request counts there when it arrives, here when it leaves.
_MINUTE_MS = 61_000
_HOUR_MS = 3_603_000
# However long the wait, look again this often: another process may have received a longer Retry-After.
_LONGEST_NAP_SECONDS = 30.0
# A clock that is kept right by small steps may go back this far without having been set back.
_CLOCK_SLACK_MS = 1_000


class Cancelled(Exception):
    """The run was cancelled before this request was sent or complete."""


class Pacer:
    """A shared turnstile for requests. Thread-safe; `close` it, or use it as a context manager.

    `cancelled` ends every wait with `Cancelled`. `on_wait` is called before each wait of more than a second, with its
    seconds. One that never `waits` raises `Cancelled` in place of any wait.
    """

    def __init__(
        self,
        path: Path,
        per_minute: int,
        per_hour: int,
        *,
        cancelled: threading.Event | None = None,
        on_wait: Callable[[float], None] = lambda _: None,
        waits: bool = True,
        now: Callable[[], float] = time.time,
    ) -> None:
        if per_minute < 1 or per_hour < 1:
            raise ValueError("at least one request a minute and an hour must be allowed")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.per_hour = per_hour
        self.cancelled = cancelled or threading.Event()
        self._on_wait = on_wait
        self._waits = waits
        self._now = now
        self._lock = threading.Lock()
        try:
            self._open(path, _rates(per_minute, per_hour))
        except sqlite3.DatabaseError as error:
            error.add_note(path.name)  # SQLite does not say which file is damaged
            raise

    def _open(self, path: Path, rates: list[Rate]) -> None:
        self._bucket = SQLiteBucket.init_from_file(rates, table="requests", db_path=str(path), use_file_lock=True)
        try:
            with self._bucket.lock, self._bucket.conn as connection:
                connection.execute("create table if not exists pauses (since_ms integer, until_ms integer)")
                connection.execute("delete from pauses where until_ms < ?", (self._now_ms(),))
            self._bucket.leak(self._now_ms())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._bucket.close()  # type: ignore[no-untyped-call]

    def acquire(self) -> None:
        """Wait until one more request is allowed, and count it. Raises Cancelled, also where there is room."""
        while True:
            self.raise_if_cancelled()
            with self._lock, self._bucket.lock:
                wait = self._wait_ms(self._now_ms()) / 1000
            if wait <= 0:
                return
            self.sleep(min(wait, _LONGEST_NAP_SECONDS))

    def pause(self, seconds: float) -> None:
        """Hold back the requests of every process for so many seconds: the API sent `Retry-After`."""
        with self._lock, self._bucket.lock, self._bucket.conn as connection:
            now_ms = self._now_ms()
            connection.execute("insert into pauses values (?, ?)", (now_ms, now_ms + math.ceil(seconds * 1000)))

    def sleep(self, seconds: float) -> None:
        """Sleep, but wake and raise Cancelled as soon as the run is cancelled."""
        if not self._waits:
            raise Cancelled
        if seconds > 1:
            self._on_wait(seconds)
        if self.cancelled.wait(seconds):
            raise Cancelled

    def raise_if_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled

    def left_this_hour(self) -> int:
        """How many requests the hour's limit still allows, of those that this data directory counts."""
        with self._lock, self._bucket.lock:
            query = "select count(*) from requests where item_timestamp >= ?"
            used: int = self._bucket.conn.execute(query, (self._now_ms() - _HOUR_MS,)).fetchone()[0]
        return max(self.per_hour - used, 0)

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    def _wait_ms(self, now_ms: int) -> int:
        """How long until a request is allowed; 0 if it is now, and has been counted."""
        connection = self._bucket.conn
        with connection:
            # What was noted "in the future" is from before the clock was set back; nobody waits for it to catch up.
            connection.execute("delete from requests where item_timestamp > ?", (now_ms + _CLOCK_SLACK_MS,))
            connection.execute("delete from pauses where since_ms > ?", (now_ms + _CLOCK_SLACK_MS,))
        until_ms: int = connection.execute("select coalesce(max(until_ms), 0) from pauses").fetchone()[0]
        item = RateItem("request", now_ms)
        if until_ms > now_ms:
            return until_ms - now_ms
        return 0 if self._bucket.put(item) else max(int(self._bucket.waiting(item)), 1)  # type: ignore[arg-type]


def _rates(per_minute: int, per_hour: int) -> list[Rate]:
    """The limits as pyrate-limiter takes them: it refuses an hour that allows less than a minute, or more per second.

    An hour that allows more than its minutes do is cut to what they do, which loses nothing.
    """
    hour = Rate(min(per_hour, per_minute * _HOUR_MS // _MINUTE_MS), _HOUR_MS)
    return [Rate(per_minute, _MINUTE_MS), hour] if per_minute < per_hour else [hour]
