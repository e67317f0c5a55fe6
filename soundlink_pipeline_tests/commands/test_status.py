"""`soundlink status`: a screen that is read, and changes nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from soundlink_pipeline_tests.commands.conftest import Folder
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS
from soundlink_pipeline_tests.support.terminal import soundlink


def lines(text: str) -> dict[str, str]:
    """By label; what goes on below it, too."""
    found: dict[str, str] = {}
    label = ""
    for line in text.splitlines():
        label = line[:12].strip() or label
        found[label] = f"{found[label]}\n{line[12:]}" if label in found else line[12:]
    return found


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_a_folder_that_is_no_project_is_usage_and_one_sentence(tmp_path: Path, command: str) -> None:
    said = soundlink(command, cwd=tmp_path)
    assert (said.code, said.out) == (2, "")
    (line,) = said.err.splitlines()
    assert line.startswith(f"Error: there is no project in {tmp_path}: cd to one; soundlink init DIR makes one")
    assert list(tmp_path.iterdir()) == []


def test_a_project_in_which_nothing_has_run_says_what_to_do(tmp_path: Path) -> None:
    assert soundlink("init", "project", cwd=tmp_path).code == 0
    before = sorted(tmp_path.rglob("*"))
    said = soundlink("status", cwd=tmp_path / "project")
    assert (said.code, said.err) == (0, "")
    found = lines(said.out)
    assert found["Loaded"] == "nothing yet: soundlink pull --from=DAY --to=DAY"
    assert found["Last run"] == "none yet"
    assert re.match(r"\d{4}-\d\d-\d\d 07:00 UTC, in .*, by daily_refresh_schedule", found["Next run"])
    assert "the daemon is not running (never seen): no run starts by itself; soundlink dev runs" in found["Next run"]
    assert sorted(tmp_path.rglob("*")) == before


def test_after_a_pull_it_says_what_is_there(here: Folder) -> None:
    assert here.soundlink("pull", "--from", "2026-02-10", "--to", "2026-02-12").code == 0
    files = {path: path.stat().st_mtime_ns for path in here.path.rglob("*.duckdb")}
    said = here.soundlink("status")
    assert (said.code, said.err) == (0, "")
    assert len(said.out.splitlines()) <= 24
    found = lines(said.out)
    assert found["Project"] == str(here.path)
    assert found["Settled"] == "up to 2026-02-12: these numbers are final"
    for export in CAMPAIGN_EXPORTS:
        assert re.search(
            rf"{export.name}: \d+ rows of 4 campaigns, 2026-02-10 to 2026-02-12; last pulled", found["Loaded"]
        )
    assert "2026-03-02 06:00 UTC" in found["Loaded"]
    assert found["Published"].startswith(f"{here.path / 'data' / 'soundlink.duckdb'}, ")
    assert found["Last run"].startswith("daily_refresh, 2026-02-10 to 2026-02-12: success, ended ")
    assert "the daemon is not running" in found["Next run"]
    assert {path: path.stat().st_mtime_ns for path in here.path.rglob("*.duckdb")} == files
