"""The command line itself: help that fits a screen, exit codes, and commands that are called by their old names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from soundlink_pipeline.commands import backfill, cli, dev, rebuild, totals
from soundlink_pipeline_tests.support.terminal import soundlink

COMMANDS = (
    "demo",
    "init",
    "dev",
    "pull",
    "status",
    "doctor",
    "report",
    "sql",
    "rebuild",
    "publish",
    "export",
    "totals",
    "backup",
)


def test_help_lists_every_command_and_fits_a_screen(tmp_path: Path) -> None:
    said = soundlink("--help", cwd=tmp_path)
    assert (said.code, said.err) == (0, "")
    assert tuple(re.findall(r"^  (\w+)  +\S.*[^.]\.$", said.out, re.MULTILINE)) == COMMANDS  # none is cut off
    assert len(said.out.splitlines()) <= 24
    assert max(map(len, said.out.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_a_commands_help_fits_a_screen(tmp_path: Path, command: str) -> None:
    said = soundlink(command, "--help", cwd=tmp_path)
    assert (said.code, said.err) == (0, "")
    assert len(said.out.splitlines()) <= 24
    assert max(map(len, said.out.splitlines())) <= 80


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        ("pull",),
        ("pull", "--from", "2026-01-01"),
        ("pull", "--forever"),
        ("pull", "--days", "0"),
        ("pull", "--from", "2026-01-01", "--to", "2026-01-02", "--days", "2"),
        ("sql", "1", "2"),
        ("init",),
    ],
)
def test_wrong_usage_is_2_and_says_what_is_wrong(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    said = soundlink(*arguments, cwd=tmp_path)
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines()[-1].startswith("Error: ")


def test_ctrl_c_where_nothing_is_said_of_it_is_130_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.soundlink.commands["status"], "callback", interrupted)
    said = soundlink("status", cwd=tmp_path)
    assert (said.code, said.out, said.err.strip()) == (130, "", "Interrupted.")


@pytest.mark.parametrize(
    "arguments",
    [("pull", "--days=3", "--campaign="), ("pull", "--days=3", "--soundlink", " "), ("report", "--campaign=")],
)
def test_an_empty_name_is_refused_before_anything_is_looked_up(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    said = soundlink(*arguments, cwd=tmp_path)
    assert (said.code, said.out) == (2, "")
    assert "an id or a name is needed; leave the option out for all" in said.err


def in_shell(line: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A line of shell, in which `soundlink` is the command."""
    function = f'soundlink() {{ "{sys.executable}" -m soundlink_pipeline.commands.cli "$@"; }}\n'
    environment = {**os.environ, **env}
    return subprocess.run(
        ["sh", "-c", function + line], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
def test_an_output_that_cannot_be_written_is_one_sentence(tmp_path: Path, unbuffered: str) -> None:
    said = in_shell("soundlink --help >/dev/full", tmp_path, PYTHONUNBUFFERED=unbuffered)
    assert said.returncode == 1
    assert re.fullmatch(r"the output.* cannot be .*written \(No space left on device\)\n", said.stderr)


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    said = in_shell("(soundlink --help; echo $? >code) | true", tmp_path, PYTHONUNBUFFERED="")
    assert ((tmp_path / "code").read_text(), said.stderr) == ("1\n", "")


def test_a_file_is_opened_in_the_place_of_no_closed_stream(tmp_path: Path) -> None:
    """What is written to a stream that its caller has closed would go into it."""
    show = "import os; from soundlink_pipeline.commands import cli; cli.main(['--version'])"
    show += "; file = open(os.devnull); open('found', 'w').write(str(file.fileno() > 2))"
    assert in_shell(f'"{sys.executable}" -c "{show}" <&- >&- 2>&-', tmp_path).returncode == 0
    assert (tmp_path / "found").read_text() == "True"


def test_a_folder_that_was_deleted_is_one_sentence(tmp_path: Path) -> None:
    said = in_shell('rmdir "$PWD"; soundlink status', tmp_path)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == "Error: the folder that this shell is in was deleted: cd to another one\n"


def test_an_error_of_the_system_is_one_sentence_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.soundlink.commands["status"], "callback", (tmp_path / "gone").read_text)
    said = soundlink("status", cwd=tmp_path)
    assert (said.code, said.out) == (1, "")
    assert said.err == f"{tmp_path / 'gone'} cannot be read or written (No such file or directory)\n"


@pytest.mark.parametrize("arguments", [("pull", "--days=3", "--campaign=\udcff"), ("sql", "select '\udcff'")])
def test_an_argument_that_is_no_text_is_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    said = soundlink(*arguments, cwd=tmp_path)
    assert (said.code, said.out) == (2, "")
    assert "it is not text in UTF-8" in said.err


def test_help_and_usage_need_neither_dagster_nor_duckdb() -> None:
    loaded = "import sys; import soundlink_pipeline.commands.cli; print(sorted({'dagster', 'duckdb'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_old_names_lead_to_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(cli, "main", lambda arguments: called.append(arguments) or 0)  # type: ignore[func-returns-value]
    assert backfill.main(["2026-01-01", "2026-01-31", "--refetch", "--accept-smaller"]) == 0
    assert rebuild.main() == totals.main() == dev.main(["-h", "127.0.0.1", "-p", "3001"]) == 0
    assert called == [
        ["pull", "--from=2026-01-01", "--to=2026-01-31", "--refetch", "--accept-smaller"],
        ["rebuild"],
        ["totals"],
        ["dev", "--host", "127.0.0.1", "-p", "3001"],
    ]


# What make passes on

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `soundlink` that prints its arguments, a line each."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "soundlink").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (folder / "soundlink").chmod(0o755)
    return folder


def made(shown: Path, *target: str, **env: str) -> list[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--silent", "--old-file=install", f"BIN={shown}", *target]
    return subprocess.run(
        command, cwd=REPOSITORY, env={**inherited, **env}, capture_output=True, text=True, check=True
    ).stdout.splitlines()


@pytest.mark.parametrize(
    "name",
    [
        "Sleep Playlist 1",
        "Don't Stop",
        "Ke$ha",
        "A$AP",
        "$$$",
        "$(shell echo no)",
        '`echo no` "x"; echo no',
        "-x",
        "#1 ü",
    ],
)
def test_make_passes_a_name_on_as_it_was_typed(shown: Path, name: str) -> None:
    assert made(shown, "report", f"CAMPAIGN={name}") == ["report", f"--campaign={name}"]
    assert made(shown, "report", CAMPAIGN=name) == ["report", f"--campaign={name}"]


def test_make_passes_on_ranges_ports_and_folders(shown: Path) -> None:
    pull = made(shown, "backfill", "FROM=2026-01-01", "TO=x'; echo no", "REFETCH=1", "CAMPAIGN=Don't", "SOUNDLINK=A$AP")
    limits = ["--campaign=Don't", "--soundlink=A$AP"]
    assert pull == ["pull", "--from=2026-01-01", "--to=x'; echo no", *limits, "--refetch"]
    # A variable of the shell that is not set is not "all".
    assert made(shown, "backfill", "DAYS=9", "SOUNDLINK=", "CAMPAIGN=")[2:] == ["--campaign=", "--soundlink="]
    assert made(shown, "backfill", "DAYS=90", "REFETCH=1") == ["pull", "--days=90", "--refetch"]
    assert made(shown, "dev") == ["dev", "--port=3000"]
    assert made(shown, "dev", "PORT=3001") == ["dev", "--port=3001"]
    assert made(shown, "backup", "DIR=some where") == ["backup", f"{REPOSITORY}/some where"]
    assert made(shown, "export", "TO=some where") == ["export", f"--to={REPOSITORY}/some where"]
    assert made(shown, "export", "TO=s3://bucket/x") == ["export", "--to=s3://bucket/x"]
    assert made(shown, "export") == ["export"]
    assert made(shown, "report") == ["report"]


def test_every_command_but_init_is_a_target_of_make(shown: Path) -> None:
    given = {"pull": ("backfill", "FROM=a", "TO=b"), "backup": ("backup", "DIR=/a")}
    found = {made(shown, *given.get(name, (name,)))[0] for name in COMMANDS if name != "init"}
    assert found == {*COMMANDS} - {"init"}
    assert isinstance(cli.soundlink, click.Group)
