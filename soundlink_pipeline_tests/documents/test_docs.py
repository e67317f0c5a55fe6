"""The documentation keeps step: every setting and target is told of, and the README's query runs."""

import re
import subprocess
from pathlib import Path

import pytest

from soundlink_pipeline.warehouse.native_file import NativeFile

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
READ_IN = ("definitions.py", "settings/settings.py")
SETTINGS = sorted(
    {
        name
        for file in READ_IN
        for name in re.findall(r'"(SOUNDLINK_\w+)"', (ROOT / "soundlink_pipeline" / file).read_text(encoding="utf-8"))
    }
)


@pytest.mark.parametrize("setting", SETTINGS)
def test_setting_is_told_of_in_readme_and_example(setting: str) -> None:
    assert f"`{setting}`" in README
    assert re.search(rf"^#?{setting}=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_setting_told_of_is_one_that_is_read() -> None:
    assert set(re.findall(r"`(SOUNDLINK_\w+)`", README)) == set(SETTINGS)


def test_every_make_command_in_the_readme_is_a_target_and_help_lists_the_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    assert {"help", "install", "demo", "dev", "backfill", "test", "check", "bench"} <= targets
    assert set(re.findall(r"^make (\w+)|`make (\w+)", README, re.MULTILINE)) - {("", "")} <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }
    told = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert targets - {"lint", "types"} == set(re.findall(r"^  make (\w+)", told, re.MULTILINE))


def test_every_table_and_view_is_told_of_in_the_readme(tmp_path: Path) -> None:
    with NativeFile(tmp_path).write() as connection:
        names = connection.execute(
            "select table_name from duckdb_tables() union all select view_name from duckdb_views() where not internal"
        ).fetchall()
    for (name,) in names:
        assert name.startswith("_") or f"`{name}`" in README


def test_requirements_are_pinned_with_hashes_and_name_no_host() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^[\w.\[\]-]+==", text, re.MULTILINE)
    assert len(pins) > 50
    assert text.count("--hash=sha256:") >= len(pins)
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text)
