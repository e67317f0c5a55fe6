"""`soundlink init`: a whole project folder, or nothing."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest

from soundlink_pipeline.commands.project_folder import ACCOUNTS_EXAMPLE, INSTANCE_FILE, WORKSPACE_FILE
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline_tests.support.terminal import soundlink

REPOSITORY = Path(__file__).parents[2]


def test_a_project_has_settings_dagsters_files_and_sql_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = soundlink("init", "new project", cwd=tmp_path)
    assert (made.code, made.err) == (0, "")
    assert "cd 'new project'" in made.out
    folder = tmp_path / "new project"
    assert (folder / ".env").read_text() == (REPOSITORY / ".env.example").read_text()
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    for name in (INSTANCE_FILE, WORKSPACE_FILE, ACCOUNTS_EXAMPLE):
        assert (folder / name).read_text() == (REPOSITORY / name).read_text()
    assert ".env" in (folder / ".gitignore").read_text().splitlines()
    sql = {path.relative_to(folder / "dbt_like_sql") for path in (folder / "dbt_like_sql").rglob("*.sql")}
    ours = REPOSITORY / "dbt_like_sql"
    assert sql == {
        path.relative_to(ours) for kind in ("macros", "models", "tests") for path in (ours / kind).rglob("*.sql")
    }
    monkeypatch.chdir(folder)
    assert settings_from({}).sql_dir == folder / "dbt_like_sql"


def test_without_sql_of_its_own_a_project_has_the_installed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings_from({}).sql_dir == REPOSITORY / "dbt_like_sql"
    (tmp_path / "dbt_like_sql").mkdir()
    (tmp_path / "other").mkdir()
    assert settings_from({}).sql_dir == tmp_path / "dbt_like_sql"
    assert settings_from({"SOUNDLINK_SQL_DIR": "other"}).sql_dir == tmp_path / "other"


def test_this_folder_is_named_and_not_entered(tmp_path: Path) -> None:
    made = soundlink("init", ".", cwd=tmp_path)
    assert (made.code, made.err) == (0, "")
    assert made.out.splitlines()[0] == f"Made a project in {tmp_path.resolve()}. Next:"
    assert "  cd " not in made.out


@pytest.mark.parametrize("command", [("init", ""), ("backup", " "), ("sql", ""), ("report", "--output", "")])
def test_an_empty_name_is_usage_and_makes_nothing(tmp_path: Path, command: tuple[str, ...]) -> None:
    said = soundlink(*command, cwd=tmp_path)
    assert (said.code, said.out) == (2, "")
    assert "empty" in said.err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled_and_any_other_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert soundlink("init", "empty", cwd=tmp_path).code == 0
    before = sorted(path.name for path in (tmp_path / "empty").iterdir())
    again = soundlink("init", "empty", cwd=tmp_path)
    assert (again.code, again.out) == (1, "")
    assert again.err.strip() == "empty is not an empty folder: soundlink init makes a new one"
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == before
    (tmp_path / "file").write_text("mine")
    assert soundlink("init", "file", cwd=tmp_path).code == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_a_file_that_does_not_fit_is_named_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(source), None, str(target))  # as shutil says it

    monkeypatch.setattr(shutil, "copyfile", full)
    made = soundlink("init", "new", cwd=tmp_path)
    assert (made.code, made.out) == (1, "")
    assert made.err == "new/dagster.yaml cannot be made (No space left on device)\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["what?", "100%25", "\udcff", "file/below"])
def test_a_folder_that_cannot_be_one_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    made = soundlink("init", name, cwd=tmp_path)
    assert made.code == 1
    assert len(made.err.splitlines()) == 1
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208
