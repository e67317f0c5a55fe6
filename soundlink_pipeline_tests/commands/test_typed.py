"""Texts name commands as they are typed in the project at hand: with make in a clone, else as `soundlink` itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from soundlink_pipeline import typed as module
from soundlink_pipeline.typed import installing, typed
from soundlink_pipeline_tests.architecture.rooms import PACKAGE
from soundlink_pipeline_tests.support.terminal import soundlink

CLONE = Path(__file__).parents[2]
TARGETS = set(re.findall(r"^(\w+):", (CLONE / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize(
    ("command", "with_make"),
    [
        ("doctor", "make doctor"),
        ("dev --port=3001", "make dev PORT=3001"),
        ("pull --from=… --to=…", "make backfill FROM=… TO=…"),
        (
            "pull --from=2026-01-01 --to=2026-01-31 --refetch --accept-smaller",
            "make backfill FROM=2026-01-01 TO=2026-01-31 REFETCH=1 ACCEPT_SMALLER=1",
        ),
        ("pull --days=3 --soundlink=abc", "make backfill DAYS=3 SOUNDLINK=abc"),
        ("backup /backups", "make backup DIR=/backups"),
    ],
)
def test_in_a_clone_and_in_a_servers_folder_a_command_is_a_target_of_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, with_make: str
) -> None:
    for folder in (CLONE, tmp_path):
        monkeypatch.chdir(folder)
        assert typed(command) == with_make
        assert installing() == "make install"
    assert with_make.split()[1] in TARGETS


def test_a_project_that_init_has_made_knows_no_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert soundlink("init", "project", cwd=tmp_path).code == 0
    monkeypatch.chdir(tmp_path / "project")
    assert typed("pull --from=… --to=…") == "soundlink pull --from=… --to=…"
    said = soundlink("status", cwd=tmp_path / "project").out
    assert "nothing yet: soundlink pull --from=DAY --to=DAY" in said
    assert "make " not in said


def test_where_only_the_package_is_installed_there_is_no_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CLONE", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert typed("doctor") == "soundlink doctor"
    assert "make" not in installing()


def test_no_other_text_of_the_package_names_a_target_of_make() -> None:
    """But for what only somebody with a clone reads: the generated documents, docstrings, comments."""
    named = re.compile(rf"""^(?!\s*(?:\#|"{{3}})).*["'`( ]make ({"|".join(sorted(TARGETS))})\b""")
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name in ("typed.py", "contract_docs.py", "data_dictionary.py"):
            continue
        code = re.sub(r'"""(?:.|\n)*?"""', "", path.read_text(encoding="utf-8"))
        code = re.sub(r"#.*", "", code)
        found += [f"{path.name}: {line.strip()}" for line in code.splitlines() if named.search(line)]
    assert found == []
