"""Which failures are tried again, how often, and after what wait: tenacity's loop with this API's rules."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TypeVar

import tenacity

from soundlink_pipeline.api.errors import AskedToWait, ServerFault, SoundlinkError, Unreachable
from soundlink_pipeline.api.pacing import Pacer

T = TypeVar("T")

TRIES = 6
FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 60.0
# After so many requests in a row that failed in every attempt, the API is down: each next one is attempted once, until
# one succeeds. Else an outage would cost the requests of hours.
_GIVEN_UP_IN_A_ROW = 3


class RetryPolicy:
    """Repeats a request while it fails in a way that may pass: after a backoff with jitter, and after Retry-After.

    Thread-safe. One for all requests of a client: it knows how many failed for good in a row. `backoff` is the shorter
    half of the first wait, in seconds; `log` takes a line before each wait.
    """

    def __init__(self, pacer: Pacer, *, tries: int, backoff: float, log: Callable[[str], None]) -> None:
        self._pacer = pacer
        self._tries = tries
        self._backoff = backoff
        self._log = log
        self._lock = threading.Lock()
        self._given_up = 0

    def run(self, attempt: Callable[[], T]) -> T:
        """What `attempt` returns. Raises its last SoundlinkError, or Cancelled."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, SoundlinkError) and error.transient),
            stop=self._is_enough,
            wait=self._wait,
            sleep=self._pacer.sleep,
            before_sleep=self._log_failure,
            reraise=True,
        )
        try:
            result = retrying(attempt)
        except (ServerFault, Unreachable):
            with self._lock:
                self._given_up += 1
            raise
        self._given_up = 0
        return result

    def _is_enough(self, state: tenacity.RetryCallState) -> bool:
        is_down = self._given_up >= _GIVEN_UP_IN_A_ROW and isinstance(_error(state), (ServerFault, Unreachable))
        return is_down or state.attempt_number >= self._tries

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = _error(state)
        retry_after = error.retry_after if isinstance(error, AskedToWait) else None
        if retry_after is not None:
            self._pacer.pause(retry_after)  # the others need not find out for themselves
        longest = min(self._backoff * 2**state.attempt_number, _LONGEST_BACKOFF_SECONDS)
        return (retry_after or 0.0) + random.uniform(longest / 2, longest)  # noqa: S311

    def _log_failure(self, state: tenacity.RetryCallState) -> None:
        if self._pacer.cancelled.is_set():
            return
        self._log(
            f"attempt {state.attempt_number} of {self._tries} failed: {_error(state)};"
            f" retrying in {state.upcoming_sleep:.1f} s"
        )


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
