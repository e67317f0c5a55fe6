"""The report as a person sees it: on a phone and a desk, by day and by night, in a real browser without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from soundlink_pipeline.report.__main__ import main
from soundlink_pipeline_tests.support.report_database import LOUD_ID, published_database

pytestmark = pytest.mark.browser
# What is wider than the window, unless it scrolls inside its own box.
TOO_WIDE = """
() => [...document.querySelectorAll('body *')]
    .filter(element => !element.closest('.scroll') && element.getBoundingClientRect().right > innerWidth + 0.5)
    .map(element => element.outerHTML.slice(0, 80))
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of all campaigns, of one with an endless name, and of nothing."""
    folder = tmp_path_factory.mktemp("reports")
    database = published_database(folder / "data")
    duckdb.connect(str(folder / "empty.duckdb")).close()
    made = {name: folder / f"{name}.html" for name in ("all", "one", "empty")}
    assert main(["--database", str(database), "--output", str(made["all"])]) == 0
    assert main(["--database", str(database), "--output", str(made["one"]), "--campaign", LOUD_ID]) == 0
    assert main(["--database", str(folder / "empty.duckdb"), "--output", str(made["empty"])]) == 0
    return made


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["all", "one", "empty"])
def test_page_is_whole_quiet_and_fits(
    browser: Any, pages: dict[str, Path], tmp_path: Path, name: str, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme, device_scale_factor=2)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[name].as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(245, 246, 248)" if scheme == "light" else "rgb(16, 19, 26)")
    screenshot = tmp_path / f"{name}-{width}-{scheme}.png"
    page.screenshot(path=screenshot, full_page=True)
    page.close()
    assert screenshot.stat().st_size > 10_000
    assert said == []
    assert [url for url in asked if not url.startswith(("file://", "data:"))] == []
