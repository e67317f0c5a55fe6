"""`soundlink dev`, and what keeps commands in one folder from hurting each other."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.api.key import DEMO_KEY
from soundlink_pipeline.commands import demo, dev
from soundlink_pipeline.commands.outcome import CommandFailed
from soundlink_pipeline.commands.project_folder import alone, in_use, served
from soundlink_pipeline_tests.commands.conftest import Folder
from soundlink_pipeline_tests.support.project import KEY
from soundlink_pipeline_tests.support.terminal import Said, soundlink

# Instead of `dagster dev`: it says how it was started, and what ended it.
STAND_IN = """
import signal, sys, time
def end(number, _):
    print("ended by", signal.Signals(number).name, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print(*sys.argv[1:], flush=True)
time.sleep(60)
"""


@pytest.fixture
def busy() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The stand-ins that were started."""
    found: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(command: list[str], **more: Any) -> subprocess.Popen[bytes]:
        assert command[:4] == [sys.executable, "-m", "dagster", "dev"]
        assert "`dev_command` is superseded" in more["env"]["PYTHONWARNINGS"]
        found.append(popen([sys.executable, "-c", STAND_IN, *command[3:]], **more))
        return found[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    return found


def test_a_busy_port_is_one_sentence_and_nothing_is_started(
    here: Folder, busy: int, started: list[subprocess.Popen[bytes]]
) -> None:
    said = here.soundlink("dev", "--port", str(busy))
    assert (said.code, said.out, started) == (1, "", [])
    (line,) = said.err.splitlines()
    assert line.startswith(f"port {busy} of 127.0.0.1 is in use by another program: stop that, or make dev PORT=")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_dagster_and_says_so_in_one_line(
    here: Folder, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell has it in the background of a script
    monkeypatch.setattr(dev, "answers", lambda *_: signal.raise_signal(number))
    try:
        said = here.soundlink("dev", "--port", str(free_port()))
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert said.code == 130
    assert said.err.splitlines() == ["Stopped: no scheduled run starts until the next make dev."]
    (server,) = started
    assert server.returncode is not None


def test_dagsters_noise_is_left_out_unless_it_is_asked_for(
    here: Folder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    noise = (
        r"\x1b[32m2026-11-29 03:12:32\x1b[0m - dagster - \x1b[34mDEBUG\x1b[0m - daily_refresh - STEP_START - begun",
        "2026-11-29 03:12:32 +0000 - dagster.daemon.X - WARNING - No cursor for event type RUN_FAILURE, ignoring",
    )
    program = f"import sys; sys.stderr.write({chr(10).join(noise) + chr(10)!r}.encode().decode('unicode_escape'))"
    program += "; sys.stderr.write('a real warning\\n'); sys.exit(3)"
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **more: popen([sys.executable, "-c", program], **more))
    said = here.soundlink("dev", "--port", str(free_port()))
    assert said.code == 1
    assert said.err.splitlines()[0] == "a real warning"
    assert "DEBUG" not in said.err
    here.soundlink("dev", "--port", str(free_port()), "--verbose")
    assert "DEBUG" in capfd.readouterr().err


def test_links_lead_to_the_port_that_dev_was_given(here: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[dict[str, str]] = []
    popen = subprocess.Popen

    def start(_: list[str], **more: Any) -> subprocess.Popen[bytes]:
        found.append(more["env"])
        return popen([sys.executable, "-c", ""], **more)

    monkeypatch.setattr(subprocess, "Popen", start)
    port = free_port()
    here.soundlink("dev", "--port", str(port))
    here.soundlink("dev", "--port", str(port), "--host", "0.0.0.0")
    assert [environment["SOUNDLINK_UI_URL"] for environment in found] == [f"http://127.0.0.1:{port}"] * 2
    with (here.path / ".env").open("a") as settings:
        settings.write("SOUNDLINK_UI_URL=https://dagster.example.com\n")
    here.soundlink("dev", "--port", str(port))
    assert "SOUNDLINK_UI_URL" not in found[-1]  # Dagster reads it from the file


def test_dagster_that_ends_by_itself_fails_the_command(
    here: Folder, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev, "answers", lambda *_: os.kill(started[0].pid, signal.SIGKILL))
    said = here.soundlink("dev", "--port", str(free_port()))
    assert said.code == 1
    assert "Dagster has ended by itself (exit code -9)" in said.err


# Two commands


def another(code: str, folder: Path) -> subprocess.Popen[str]:
    """A lock held by another process, until it is ended."""
    program = f"""
from pathlib import Path
from soundlink_pipeline.commands.project_folder import alone, in_use, served
with {code}:
    print("held", flush=True)
    input()
"""
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_dev_in_one_folder_is_refused(here: Folder, started: list[subprocess.Popen[bytes]]) -> None:
    with served(here.path, "soundlink dev"):
        said = here.soundlink("dev", "--port", str(free_port()))
    assert (said.code, started) == (1, [])
    (line,) = said.err.splitlines()
    assert line.startswith(f"soundlink dev (process {os.getpid()}) already serves {here.path}: ")


def test_a_demo_is_not_made_anew_below_a_command_that_works_on_it(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    (home / "data").mkdir(parents=True)
    (home / ".env").write_text("SOUNDLINK_API_KEY=mine\n")
    other = another("in_use(Path.cwd(), 'soundlink dev')", home)
    try:
        said = soundlink("demo", cwd=tmp_path)
    finally:
        other.kill()
        other.communicate()
    assert (said.code, said.out) == (1, "")
    (line,) = said.err.splitlines()
    assert line.startswith(f"soundlink dev (process {other.pid}) is at work in {home}, which soundlink demo would make")
    assert (home / ".env").read_text() == "SOUNDLINK_API_KEY=mine\n"
    with alone(home, "soundlink demo"):  # whoever was killed holds up nobody
        pass


def test_of_several_that_work_in_a_folder_those_are_named_that_still_do(tmp_path: Path) -> None:
    first = another("in_use(Path.cwd(), 'soundlink dev')", tmp_path)
    second = another("in_use(Path.cwd(), 'soundlink pull')", tmp_path)
    killed = another("in_use(Path.cwd(), 'soundlink rebuild')", tmp_path)
    try:
        killed.kill()
        killed.communicate()
        second.communicate("\n")  # it ends, though it came later than the first
        with pytest.raises(CommandFailed) as refused, alone(tmp_path, "soundlink demo"):
            pass
        (tmp_path / ".soundlink.lock").write_text("")  # an earlier version kept no line for each
        with pytest.raises(CommandFailed, match=r"^another soundlink command is at work"), alone(tmp_path, "x"):
            pass
    finally:
        first.kill()
        first.communicate()
    assert str(refused.value).startswith(f"soundlink dev (process {first.pid}) is at work in ")


@pytest.mark.parametrize("command", [("pull", "--from", "2026-02-10", "--to", "2026-02-12"), ("rebuild",), ("dev",)])
def test_nothing_works_in_a_demo_that_is_being_made(here: Folder, command: tuple[str, ...]) -> None:
    with alone(here.path, "soundlink demo"):
        said: Said = here.soundlink(*command)
    assert (said.code, said.out) == (1, "")
    (line,) = said.err.splitlines()
    assert line.startswith(f"soundlink demo (process {os.getpid()}) is making {here.path} anew: ")


def test_commands_that_wait_for_each_other_may_work_side_by_side(tmp_path: Path) -> None:
    with in_use(tmp_path, "soundlink pull"), in_use(tmp_path, "soundlink rebuild"), served(tmp_path, "soundlink dev"):
        pass
    with pytest.raises(CommandFailed, match="cannot be written"), in_use(tmp_path / "nowhere", "soundlink pull"):
        pass


# The demo's folder


def test_the_demos_api_runs_along_and_its_port_is_checked(tmp_path: Path, busy: int) -> None:
    (tmp_path / ".env").write_text(
        f"SOUNDLINK_API_KEY={DEMO_KEY}\nSOUNDLINK_BASE_URL=http://127.0.0.1:{busy}\nSOUNDLINK_START_DATE=2026-01-01\n"
    )
    assert demo.is_demo(tmp_path)
    with pytest.raises(CommandFailed, match=f"port {busy} of 127.0.0.1 is in use"), demo.api_of_demo(tmp_path):
        pass
    (tmp_path / ".env").write_text("SOUNDLINK_API_KEY=sk_mine\n")
    assert not demo.is_demo(tmp_path)


def test_the_demo_takes_no_port_that_is_in_use(tmp_path: Path, busy: int) -> None:
    said = soundlink("demo", "--port", str(busy), cwd=tmp_path)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"port {busy} of 127.0.0.1 is in use by another program: stop that, or soundlink demo")
    assert list(tmp_path.iterdir()) == []


def content(folder: Path) -> dict[str, str]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_text() for name, path in found.items() if not name.endswith(".lock")}


def a_demo(home: Path) -> None:
    (home / "data").mkdir(parents=True)
    (home / ".dagster").mkdir()
    for name in (".env", "dagster.yaml", "workspace.yaml", "data/soundlink.duckdb", ".dagster/runs.db", "mine.txt"):
        (home / name).write_text(f"earlier {name}")


def begin(home: Path) -> None:
    (home / "data").mkdir()
    (home / "data" / "warehouse.duckdb").write_text("half")


def begin_and_stop(home: Path, stop: type[BaseException]) -> None:
    with demo._new_folder(home):
        assert not (home / ".env").exists()  # no half demo is taken for one
        begin(home)
        raise stop


@pytest.mark.parametrize("stop", [KeyboardInterrupt, CommandFailed, SystemExit])
def test_a_demo_that_is_not_made_leaves_the_earlier_one(tmp_path: Path, stop: type[BaseException]) -> None:
    home = tmp_path / "demo"
    a_demo(home)
    before = content(home)
    with pytest.raises(stop):
        begin_and_stop(home, stop)
    assert content(home) == before


def test_a_demo_that_is_not_made_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        begin_and_stop(tmp_path / "demo", KeyboardInterrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_demo_whose_process_was_killed_leaves_the_earlier_one_for_the_next(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    a_demo(home)
    before = content(home)
    (home / demo._BEFORE).mkdir()
    demo._move(home, home / demo._BEFORE)
    begin(home)  # and here it is killed
    with pytest.raises(KeyboardInterrupt), demo._new_folder(home):
        raise KeyboardInterrupt
    assert content(home) == before


def test_a_demo_that_is_made_replaces_the_earlier_one_and_leaves_other_files(tmp_path: Path) -> None:
    home = tmp_path / "demo"
    a_demo(home)
    with demo._new_folder(home):
        begin(home)
        (home / ".env").write_text("new")
    found = content(home)
    assert found[".env"] == "new"
    assert found["data/warehouse.duckdb"] == "half"
    assert found["mine.txt"] == "earlier mine.txt"
    assert not any(text.startswith("earlier ") for name, text in found.items() if name != "mine.txt")


def test_without_its_api_a_command_on_the_demo_says_what_runs_it(here: Folder) -> None:
    settings = (here.path / ".env").read_text()
    settings = settings.replace(f"SOUNDLINK_API_KEY={KEY}", f"SOUNDLINK_API_KEY={DEMO_KEY}")
    (here.path / ".env").write_text(settings.replace(here.sim.base_url, f"http://127.0.0.1:{free_port()}"))
    for command in (("pull", "--from", "2026-02-10", "--to", "2026-02-12"), ("totals",)):
        said = here.soundlink(*command)
        assert (said.code, said.out) == (1, "")
        (line,) = said.err.splitlines()
        assert "this is the demo, whose API runs only while make dev does" in line
    doctor = " ".join(here.soundlink("doctor").out.split())
    assert "To do: this is the demo, whose API runs only while make dev does: start that in another terminal" in doctor
