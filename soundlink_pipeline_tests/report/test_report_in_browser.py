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
@pytest.mark.parametrize("width", [360, 1600])
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


def test_a_heading_sorts_both_ways_and_keeps_currencies_apart(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(pages["all"].as_uri())
    # A third row, and numbers that sort otherwise as texts.
    page.evaluate("""() => {
        const rows = document.querySelectorAll(".sortable tbody tr");
        rows[0].parentNode.append(rows[0].cloneNode(true));
        [["100", "EUR", "20"], ["9", "USD", "3"], ["", "EUR", "100"]].forEach(([streams, currency, spend], place) => {
            const cells = document.querySelectorAll(".sortable tbody tr")[place].cells;
            cells[1].dataset.value = streams;
            cells[4].dataset.group = currency;
            cells[4].dataset.value = spend;
        });
    }""")

    def sorted_by(heading: str, column: int) -> list[str]:
        page.get_by_role("button", name=heading, exact=True).click()
        rows = "[...document.querySelectorAll('.sortable tbody tr')]"
        values: list[str] = page.evaluate(f"{rows}.map(row => row.cells[{column}].dataset.value)")
        return values

    assert sorted_by("Streams", 1) == ["100", "9", ""], "what is not known comes last"
    assert sorted_by("Streams", 1) == ["9", "100", ""], "numbers, not texts"
    assert page.locator("th[aria-sort=ascending]").inner_text().strip() == "Streams"
    for place, name in enumerate(("9", "10", "5x")):
        page.evaluate(
            "([place, name]) => document.querySelectorAll('.sortable tbody tr')[place].cells[0].dataset.value = name",
            [place, name],
        )
    assert sorted_by("Campaign", 0) == ["5x", "9", "10"], "names, of which some are numbers"
    assert sorted_by("Spend", 4) == ["100", "20", "3"], "EUR, and then USD"
    assert page.locator("th[aria-sort]").count() == 1
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    page.close()


def test_without_scripts_the_page_is_whole(browser: Any, pages: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages["all"].as_uri())
    assert page.locator(".sortable tbody tr").count() == 2
    assert page.locator(".sortable button").count() == 0
    context.close()


def test_on_paper_nothing_is_cut_off_and_the_page_is_light(
    browser: Any, pages: dict[str, Path], tmp_path: Path
) -> None:
    page = browser.new_page(viewport={"width": 700, "height": 1000}, color_scheme="dark")
    page.goto(pages["all"].as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(
        "[...document.querySelectorAll('.long, .scroll')].every(e => getComputedStyle(e).overflowY === 'visible')"
    )
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").stat().st_size > 20_000
    page.close()
