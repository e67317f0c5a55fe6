"""What several test files share."""

import threading

import pytest


class WaitingClock(threading.Event):
    """A clock that moves only when somebody waits: a pacer's `now` and `cancelled` in one, so that nothing sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1_772_000_000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.seconds

    def wait(self, timeout: float | None = None) -> bool:
        if timeout:
            self.waits.append(timeout)
            self.seconds += timeout
        return self.is_set()


@pytest.fixture
def clock() -> WaitingClock:
    return WaitingClock()
