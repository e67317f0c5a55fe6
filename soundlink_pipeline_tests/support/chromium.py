"""The system's Chromium, driven by playwright, which `make browser` installs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


def chromium() -> str | None:
    """Where it is; None where none is installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def launched(executable: str) -> Iterator[Any]:
    """A browser that asks nothing of the network on its own account. Raises ImportError without playwright."""
    playwright = import_module("playwright.sync_api")  # not among the requirements of all tests
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=quiet)
        yield browser
        browser.close()
