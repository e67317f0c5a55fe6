"""The pictures of the Dagster UI in `docs/ui/`, taken of a fresh demo in a real browser.

`python -m soundlink_pipeline_tests.documents.ui_pictures` (`make pictures`) makes the demo in a scratch folder, opens
the UI on it and takes them all anew. They show whatever day it is, so no test compares them.
"""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline_tests.support.chromium import chromium, launched
from soundlink_pipeline_tests.support.deployment import BIN, end_session, until

FOLDER = Path(__file__).parents[2] / "docs" / "ui"
LARGEST_BYTES = 150_000
_ASSET = f"assets/{CAMPAIGN_COUNTRY_DAILY.name}"
_COLOURS = 96  # enough for what is lines and letters
_SLOW = 120_000


def _timeline(page: Any) -> None:
    page.get_by_role("button", name="1hr").click()
    page.get_by_text("daily_refresh").first.wait_for()


def _runs(page: Any) -> None:
    page.get_by_text("Success", exact=True).first.wait_for()


def _lineage(page: Any) -> None:
    page.get_by_text("published", exact=True).first.wait_for()


def _asset(page: Any) -> None:
    page.get_by_role("img", name=re.compile("newest days$")).wait_for()


def _plots(page: Any) -> None:
    page.get_by_text("Plots", exact=True).click()
    section = page.get_by_text("Metadata", exact=True)
    page.locator("canvas").first.wait_for()
    section.evaluate("heading => heading.scrollIntoView()")


# By name: where it is, how high the window is, and what is done there until it shows what it should.
PICTURES: dict[str, tuple[str, int, Callable[[Any], None]]] = {
    "timeline": ("overview", 420, _timeline),
    "runs": ("runs", 760, _runs),
    "lineage": ("asset-groups", 620, _lineage),
    "asset": (f"{_ASSET}?view=overview", 1160, _asset),
    "plots": (f"{_ASSET}?view=overview", 1160, _plots),
}


def main() -> int:
    """Take the pictures, and say how large they are; 1 if one is larger than it should be, or nothing takes them."""
    executable = chromium()
    if executable is None:
        print("needs Chromium: install your system's package, such as apt-get install chromium", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    large = False
    with tempfile.TemporaryDirectory() as folder, _demo_ui(Path(folder)) as url, launched(executable) as browser:
        for name, (where, height, show) in PICTURES.items():
            page = browser.new_page(viewport={"width": 1440, "height": height}, timezone_id="UTC", locale="en-US")
            page.set_default_timeout(_SLOW)
            page.goto(f"{url}/{where}")
            show(page)
            page.wait_for_timeout(3000)  # what fades or glides comes to rest
            picture = _small(page.screenshot())
            page.close()
            (FOLDER / f"{name}.png").write_bytes(picture)
            large |= len(picture) > LARGEST_BYTES
            print(f"{name}.png: {len(picture) / 1000:.0f} kB")
    return int(large)


@contextmanager
def _demo_ui(folder: Path) -> Iterator[str]:
    """A fresh demo in the folder, and the UI on it."""
    soundlink = str(BIN / "soundlink")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SOUNDLINK", "DAGSTER"))}
    subprocess.run([soundlink, "demo"], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [soundlink, "dev", "--port", str(port)],
        cwd=folder / "demo",
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: _is_up(url), "the UI comes up", 180)
        yield url
    finally:
        end_session(process)


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/server_info", trust_env=False).is_success
    except httpx.TransportError:
        return False


def _small(screenshot: bytes) -> bytes:
    """The same picture in few colours."""
    made = io.BytesIO()
    with Image.open(io.BytesIO(screenshot)) as picture:
        few = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    few.save(made, "PNG", optimize=True)
    return made.getvalue()


if __name__ == "__main__":
    sys.exit(main())
