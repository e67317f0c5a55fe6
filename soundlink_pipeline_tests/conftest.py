"""What several test files share."""

import shutil
import threading
from collections.abc import Iterator
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """How hard the tests try that can always try harder; the make targets chaos and fuzz ask for more."""
    group = parser.getgroup("soundlink")
    group.addoption("--kills", type=int, default=2, help="moments at which test_crashes kills a run")
    group.addoption("--sequences", type=int, default=20, help="random sequences of faults in network/test_faults")
    group.addoption("--inputs", type=int, default=2000, help="damaged deliveries in fuzzing")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start daemons first: they take longest, and side by side the last file holds up the end."""
    slowest = {item.path for item in items if item.get_closest_marker("daemon")}
    items.sort(key=lambda item: item.path not in slowest)


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium, which asks nothing of the network on its own account."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make browser installs it")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("needs Chromium: install your system's package, such as apt-get install chromium")
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=chromium, args=quiet)
        yield launched
        launched.close()
