"""`make trydashboard`: serves the dashboard and looks at all four pages in Chromium, light and dark, wide and narrow.

`python try_it.py FILE PYTHON [FOLDER]`: FILE is a published file, PYTHON that of Superset's environment; pictures go to
FOLDER. Fails if a page shows an error or other figures than its SQL gives, if the browser gets anything from elsewhere,
or if a newer file in the place of the old is not shown.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import duckdb
from pages import PAGES, Chart
from playwright.sync_api import Page, Response, expect, sync_playwright

_HERE = Path(__file__).parent
_LOOKS = (("light", 1600), ("dark", 1600), ("light", 390), ("dark", 390))
_STARTED, _SHOWN = 300, 60_000  # seconds for the server, milliseconds for a chart
_NEWER = "2001-02-03 04:05"


def main() -> None:
    published, python = Path(sys.argv[1]), sys.argv[2]
    pictures = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    with tempfile.TemporaryDirectory(prefix="soundlink-dashboard-") as scratch:
        file = Path(scratch) / "soundlink.duckdb"
        shutil.copyfile(published, file)
        with _served(file, python) as address, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
            for scheme, width in _LOOKS:
                page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 1000})
                wrong = _look(page, address, file, pictures / f"{scheme}-{width}" if pictures else None)
                if wrong:
                    raise SystemExit(f"{scheme}, {width} pixels:\n" + "\n".join(wrong))
                print(f"{scheme}, {width} pixels: all {len(PAGES)} pages show what their SQL gives", flush=True)
                page.close()
            _replace(file)
            page = browser.new_page()
            page.goto(address)
            expect(page.get_by_text(_NEWER)).to_be_visible(timeout=_SHOWN)
            print("a newer file is shown", flush=True)
            browser.close()


def _look(page: Page, address: str, file: Path, picture: Path | None) -> list[str]:
    """What is wrong with the four pages."""
    wrong: list[str] = []
    answers: list[list[dict[str, object]]] = []
    own = address.split("/superset/", maxsplit=1)[0]

    def answered(response: Response) -> None:
        if not response.url.startswith((own, "data:", "blob:")):
            wrong.append(f"came from elsewhere: {response.url}")
        elif response.status >= 400:
            wrong.append(f"{response.status}: {response.url}")
        elif "/api/v1/chart/data" in response.url:
            answers.extend(result["data"] for result in response.json()["result"])

    page.on("response", answered)
    page.on("pageerror", lambda error: wrong.append(f"error on the page: {error}"))
    page.goto(address)
    for number, tab in enumerate(PAGES):
        page.get_by_role("tab", name=tab.title, exact=True).click()
        for chart in tab.charts:
            wrong += _differences(page, file, chart, answers)
        wrong += [f"{tab.title}: {text}" for text in page.get_by_role("alert").all_inner_texts() if text.strip()]
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            wrong.append(f"{tab.title} is wider than the screen")
        if picture:
            picture.parent.mkdir(parents=True, exist_ok=True)
            page.evaluate("window.scrollTo(0, 0)")  # or the heading, which sticks to the top, is in the middle
            page.screenshot(path=f"{picture}-{number + 1}.png", full_page=True)
    return wrong


def _differences(page: Page, file: Path, chart: Chart, answers: list[list[dict[str, object]]]) -> list[str]:
    place = page.locator(f'[data-test-chart-name="{chart.title}"]')
    place.scroll_into_view_if_needed(timeout=_SHOWN)
    if chart.kind == "table":
        # Superset makes one row of a table that scrolls for its head alone.
        expect(place.locator("tbody tr td").first).to_be_visible(timeout=_SHOWN)
        shown = [
            [" ".join(cell.split()) for cell in row.locator("td").all_inner_texts()]
            for row in place.locator("tbody tr").all()[:5]
        ]
        right = _rows(file, chart)[: len(shown)]
        return [
            f"{chart.title}: {row}, not {wanted}" for row, wanted in zip(shown, right, strict=True) if row != wanted
        ]
    expect(place.locator("canvas").first).to_be_visible(timeout=_SHOWN)
    wanted, x = _drawn(file, chart), chart.settings["x_axis"]
    if any(abs(_total(rows, x) - wanted) < 1e-6 for rows in answers if rows and x in rows[0]):
        return []
    return [f"{chart.title}: no answer of the server adds up to {wanted}"]


def _rows(file: Path, chart: Chart) -> list[list[str]]:
    """The rows of a table as they are to be shown."""
    settings = chart.settings
    order = ", ".join(
        part.strip("[]").replace(", true", "").replace(", false", " desc") for part in settings["order_by_cols"]
    )
    names = ", ".join(settings["all_columns"])
    with duckdb.connect(str(file), read_only=True) as connection:
        found = connection.execute(f"select {names} from ({_sql(chart)}) order by {order} limit 20").fetchall()
    shapes = [settings["column_config"].get(name, {}).get("d3NumberFormat") for name in settings["all_columns"]]
    return [[_shown(value, shape) for value, shape in zip(row, shapes, strict=True)] for row in found]


def _shown(value: object, shape: str | None) -> str:
    if value is None:
        return "N/A"
    # The formats of d3 are Python's.
    return " ".join((format(value, shape) if shape else str(value)).split())


def _drawn(file: Path, chart: Chart) -> float:
    """The sum of all that a chart draws, over its measures."""
    where = " and ".join(part["sqlExpression"] for part in chart.settings["adhoc_filters"]) or "true"
    measures = " + ".join(metric["sqlExpression"] for metric in chart.settings["metrics"])
    grouped = f"select {measures} as value from ({_sql(chart)}) where {where} group by {chart.settings['x_axis']}"
    highest = f"select value from ({grouped}) order by value desc limit {chart.settings['row_limit']}"
    with duckdb.connect(str(file), read_only=True) as connection:
        ((total,),) = connection.execute(f"select sum(value)::double from ({highest})").fetchall()
    return float(total or 0)


def _total(rows: list[dict[str, object]], x: str) -> float:
    """The sum of what the server answered: a column for each measure, or for each series of one."""
    return sum(
        value
        for row in rows
        for name, value in row.items()
        if name != x and isinstance(value, (int, float)) and not isinstance(value, bool)
    )


def _sql(chart: Chart) -> str:
    return (_HERE / "sql" / f"{chart.data}.sql").read_text(encoding="utf-8")


def _replace(file: Path) -> None:
    """What a publication does: a finished file takes the place of the old one in one step."""
    newer = file.with_suffix(".next")
    shutil.copyfile(file, newer)
    with duckdb.connect(str(newer)) as connection:
        connection.execute("update publication set published_at = ?", [f"{_NEWER}:06"])
    newer.replace(file)


@contextmanager
def _served(file: Path, python: str):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen([python, str(_HERE / "serve.py"), str(file), str(port)]) as server:
        try:
            _wait(f"{address}/health", server)
            yield f"{address}/superset/dashboard/soundlink/"
        finally:
            server.terminate()


def _wait(address: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _STARTED
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(1)
    raise SystemExit(f"no dashboard within {_STARTED} s")


def _chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise SystemExit("Chromium is missing: apt-get install chromium")
    return found


if __name__ == "__main__":
    main()
