"""The doctor as a whole: its command, what it shows, and that nothing is changed by looking."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.doctor import checks
from soundlink_pipeline.doctor.__main__ import main, summary
from soundlink_pipeline.doctor.finding import Finding, Level
from soundlink_pipeline.doctor.installation import SECRETS
from soundlink_pipeline.simulator import KeyInfo
from soundlink_pipeline_tests.support.examined import Examined, beat, daemon_process, empty_project
from soundlink_pipeline_tests.support.project import KEY, REPOSITORY, Project

SHOWN = r"^  (ok|warn|FAULT)"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Project]:
    with empty_project(tmp_path) as made:
        yield made


def content(folder: Path) -> dict[str, object]:
    """Every file below a folder; of SQLite files what is in them, since who reads one may still fold its log in."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".db":
            with sqlite3.connect(path) as connection:
                found[str(path)] = list(connection.iterdump())
            connection.close()
        elif path.is_file() and not path.name.endswith(("-wal", "-shm")) and path.name != "requests.sqlite":
            found[str(path)] = path.read_bytes()
        elif path.is_dir():
            found[str(path)] = None
    return found


def test_project_in_order_needs_no_mending_and_is_not_changed(here: Project) -> None:
    assert here.refresh("2026-02-22", "2026-03-01").success
    beat(here)
    before = content(here.folder)
    examined = Examined(here)
    with daemon_process(here.folder / "instance"):
        assert examined.bad() == []
    assert summary(examined.all) == "all checks passed"
    assert content(here.folder) == before


def test_new_project_is_examined_without_making_anything(here: Project, tmp_path: Path) -> None:
    home = tmp_path / "new home"
    home.mkdir()
    shutil.copy(REPOSITORY / "dagster.yaml", home)
    before = content(here.folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        examined = Examined(here, home=home)
        assert examined.bad() == []  # within the folder: each group is examined when it is asked for
    assert not here.data.exists()
    assert content(here.folder) == before
    for group, what in (("Data folder", "folder"), ("Warehouse", "warehouse.duckdb"), ("Dagster", "storage")):
        assert "the first run makes it" in examined.one(group, what).message


@pytest.mark.parametrize("name", SECRETS)
def test_broken_check_becomes_a_finding_without_secrets_and_the_others_go_on(
    here: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    secret = "https://Zx81-no-prefix-that-would-tell/"
    here.sim.generation = 1  # takes a key that does not look like one

    def broken(_: object) -> Iterator[Finding]:
        yield Finding("ok", "first", "is well")
        raise KeyError(f"with {secret.upper()} in it")

    monkeypatch.setitem(checks._CHECKS, "Warehouse", broken)
    here.sim.keys[secret] = KeyInfo()
    settings: dict[str, Any] = {name: secret}
    examined = Examined(here, **settings)
    assert [finding.level for finding in examined.group("Warehouse")] == ["ok", "FAULT"]
    says = examined.group("Warehouse")[1].message
    assert says.startswith("this check itself failed: KeyError")
    assert secret.upper() not in says
    assert "[secret]" in says
    assert examined.one("API", "key").level == "ok"


@pytest.mark.parametrize("secret", ["sk_live_abc_defgh123", "https://user:pass@host/x"])
def test_what_looks_like_a_secret_is_not_shown_wherever_it_comes_from(
    here: Project, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setitem(checks._CHECKS, "Data", lambda _: iter([Finding("FAULT", "x", secret, f"not {secret}")]))
    finding = Examined(here).one("Data", "x")
    for part in ("abc", "defgh", "user", "pass"):
        assert part not in finding.message + finding.fix


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        ([], "all checks passed"),
        (["ok"], "all checks passed"),
        (["warn"], "1 warning: runs can start"),
        (["FAULT", "ok"], "1 fault: fix the faults first"),
        (["FAULT", "warn", "FAULT"], "2 faults, 1 warning: fix the faults first"),
    ],
)
def test_summary_counts(levels: list[Level], told: str) -> None:
    assert summary([Finding(level, "x", "y") for level in levels]) == told


@contextmanager
def in_folder(folder: Path, env: str) -> Iterator[None]:
    """A project folder with an .env, and no setting in the environment."""
    (folder / ".env").write_text(env)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in os.environ:
            if name.startswith(("SOUNDLINK", "DAGSTER")):
                patch.delenv(name)
        patch.setenv("COLUMNS", "90")
        yield


def test_command_prints_aligned_lines_that_fit_and_exits_with_1_for_a_fault(
    here: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    env = f"SOUNDLINK_BASE_URL={here.sim.base_url}\nSOUNDLINK_DATA_DIR={here.data}\n"
    with in_folder(here.folder, env):
        assert main() == 1
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert "1 fault" in lines[-1]
    assert lines[-1].endswith("fix the faults first")
    findings = [line for line in lines if re.match(SHOWN, line)]
    assert len(findings) > 8
    assert {line[34:36] == "  " and line[36] != " " for line in findings} == {True}
    # A path is not broken, however long.
    assert [line for line in lines if len(line) > 90 and len(line[36:].split()) > 1] == []
    assert "SOUNDLINK_API_KEY is not set" in said


def test_command_reads_the_key_from_env_file_shows_it_nowhere_and_exits_with_0(
    here: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    env = "".join(f"{name}={value}\n" for name, value in {**here.settings, "SOUNDLINK_API_KEY": KEY}.items())
    here.sim.clock.set(datetime.now(UTC))  # the command goes by the real clock
    with in_folder(here.folder, env):
        assert main() == 0
    said = capsys.readouterr()
    assert KEY not in said.out + said.err
    assert re.search(r"ok +key +is valid; sent as bearer", said.out)


def test_package_that_is_missing_altogether_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "soundlink_pipeline.doctor.checks")
    monkeypatch.setitem(sys.modules, "soundlink_pipeline.doctor.api", None)
    assert main() == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("The pipeline cannot be loaded")
    assert line.endswith("make install puts everything in place.")
