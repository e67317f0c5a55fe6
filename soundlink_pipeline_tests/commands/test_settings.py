"""A setting that cannot be read is one sentence from every command, before anything is done."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from soundlink_pipeline.commands import backfill, demo, dev, rebuild, totals
from soundlink_pipeline.doctor.__main__ import main as doctor
from soundlink_pipeline.report.__main__ import main as report
from soundlink_pipeline_tests.commands.conftest import Folder
from soundlink_pipeline_tests.support.terminal import soundlink

BAD = {
    "SOUNDLINK_START_DATE": "yesterday",
    "SOUNDLINK_SCHEDULE": "every day",
    "SOUNDLINK_REQUESTS_PER_MINUTE": "0",
    "SOUNDLINK_BASE_URL": "http://x.example",
    "SOUNDLINK_ALERT_URL": "http://x.example/hidden-part",
    "SOUNDLINK_MARKETING_ALERT_URL": "http://x.example/hidden-part",
    "SOUNDLINK_MAX_COST_PER_FOLLOWER": "0,50",
    "SOUNDLINK_REPORT_URL": "hidden-part",
    "SOUNDLINK_ACCOUNTS": "nowhere.toml",
    "all_proxy": "socks5://someone:hidden-part@proxy.example:1080",
    "HTTPS_PROXY": "http://someone:hidden-part@proxy.example:port",
}
# The doctor, which shows a finding for each, is tested with it.
COMMANDS: dict[str, Callable[[], int]] = {
    "demo": lambda: demo.main([]),
    "demo --ui": lambda: demo.main(["--ui"]),
    "dev": lambda: dev.main([]),
    "backfill": lambda: backfill.main(["2026-01-01", "2026-01-02"]),
    "rebuild": lambda: rebuild.main([]),
    "totals": lambda: totals.main([]),
    "report": lambda: report([]),
    "doctor": doctor,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run commands in, none of which may start another program."""
    for name in list(os.environ):
        if name.startswith(("SOUNDLINK_", "DAGSTER_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "10000")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a program was started"))
    return tmp_path


def status_of(command: Callable[[], int]) -> int | str | None:
    try:
        return command()
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_bad_setting_is_one_sentence_that_names_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    monkeypatch.setenv(name, BAD[name])
    assert status_of(COMMANDS[command]) in (1, 2)
    out, err = capsys.readouterr()
    if command == "doctor":
        (told,) = [line for line in out.splitlines() if "FAULT" in line]
        assert err == ""
    else:
        (told,) = err.splitlines()
        assert out == ""
    assert name in told
    assert "Traceback" not in told
    assert "hidden-part" not in out + err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", ["dev", "backfill", "rebuild", "totals", "report", "doctor"])
def test_a_bad_setting_of_the_env_file_is_named_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (folder / ".env").write_text("SOUNDLINK_AUTH=none\n")
    monkeypatch.setenv("SOUNDLINK_AUTH", "")  # what the command puts there is taken out again
    monkeypatch.delenv("SOUNDLINK_AUTH")
    assert status_of(COMMANDS[command]) in (1, 2)
    assert "SOUNDLINK_AUTH" in "".join(capsys.readouterr())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("command", ["dev", "backfill", "rebuild", "totals", "report", "doctor"])
def test_an_env_file_that_is_not_utf_8_is_one_sentence_that_shows_nothing_of_it(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, encoding: str
) -> None:
    (folder / ".env").write_text("SOUNDLINK_API_KEY=sk_test_hidden-part-é\n", encoding=encoding)
    assert status_of(COMMANDS[command]) in (1, 2)
    (told,) = "".join(capsys.readouterr()).splitlines()
    assert ".env cannot be read: it is not text in UTF-8" in told
    assert "hidden-part" not in told
    assert [path.name for path in folder.iterdir()] == [".env"]


@pytest.mark.parametrize("name", ["what?", "100%25"])
def test_a_project_folder_in_which_dagster_keeps_no_storage_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (folder / name).mkdir()
    monkeypatch.chdir(folder / name)
    monkeypatch.setenv("SOUNDLINK_DATA_DIR", str(folder / "data"))
    assert status_of(COMMANDS["rebuild"]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.endswith("rename the folder")
    assert name in told


@pytest.mark.parametrize("command", ["status", "pull", "dev", "rebuild", "totals", "backup"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"storage: [\n", "cannot be read as YAML in UTF-8 (while parsing a flow node"),
        (b"storage: '\xff'\n", "cannot be read as YAML in UTF-8 ("),
        (b"- storage\n", "cannot be read as YAML in UTF-8 (it has no settings)"),
    ],
)
def test_dagsters_file_that_is_broken_is_one_sentence(tmp_path: Path, command: str, content: bytes, told: str) -> None:
    (tmp_path / ".env").touch()
    (tmp_path / "dagster.yaml").write_bytes(content)
    more = {"pull": ["--days=1"], "backup": [str(tmp_path / "copy")]}
    said = soundlink(command, *more.get(command, []), cwd=tmp_path)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"Error: {tmp_path / 'dagster.yaml'} {told}")
    assert said.err.endswith("put the project's own there; soundlink init DIR makes one to copy\n")
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize(("command", "code"), [("status", 0), ("pull", 1), ("dev", 1)])
def test_an_entry_that_dagster_does_not_know_is_named(here: Folder, command: str, code: int) -> None:
    with (here.path / "dagster.yaml").open("a") as file:
        file.write("run_queue:\n  most: 1\nfoo: 1\n")
    said = here.soundlink(command, *["--days=1"] * (command == "pull"))
    assert said.code == code
    (told,) = [line for line in (said.out + said.err).splitlines() if "dagster.yaml" in line]
    assert 'dagster.yaml: Received unexpected config entry "' in told
    assert "Expected" not in told
    assert len(told) < 300


def test_without_a_workspace_file_dev_names_it(here: Folder) -> None:
    (here.path / "workspace.yaml").unlink()
    (here.path / "pyproject.toml").write_text("[tool.ruff]\n")
    said = here.soundlink("dev")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"Error: {here.path / 'workspace.yaml'} is missing: put the project's own there; ")


def test_dagsters_file_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").touch()
    said = soundlink("pull", "--days=1", cwd=tmp_path)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"Error: {tmp_path / 'dagster.yaml'} is missing: put the project's own there; ")


def test_a_schedule_that_only_dagster_can_refuse_is_refused_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOUNDLINK_SCHEDULE", "0 7 1W * *")
    assert status_of(COMMANDS["backfill"]) == 2
    assert "SOUNDLINK_SCHEDULE" in capsys.readouterr().err
