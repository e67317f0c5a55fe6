"""`soundlink dev` and `soundlink demo`: how they begin, and what is left of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TextIO

import pytest

from soundlink_pipeline.api.key import DEMO_KEY
from soundlink_pipeline.commands import demo, dev
from soundlink_pipeline.commands.execution import answers
from soundlink_pipeline.commands.outcome import CommandFailed
from soundlink_pipeline.commands.project_folder import served
from soundlink_pipeline.doctor.demo import demo_settings
from soundlink_pipeline.settings.env_file import read_env_file
from soundlink_pipeline_tests.commands.conftest import WITH_A_CHILD, Folder
from soundlink_pipeline_tests.support.deployment import free_port, until
from soundlink_pipeline_tests.support.terminal import soundlink

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


def test_of_a_run_that_is_canceled_the_sentence_stays_and_the_trace_does_not() -> None:
    """Lines as Dagster writes them of such a run, and of one that an error of the code has ended."""
    canceled = """\
2026-11-29 13:30:30 +0000 - dagster - INFO - daily_refresh - 6d0b - exports - Canceled: what arrived is kept.
2026-11-29 13:30:30 +0000 - dagster - ERROR - daily_refresh - 6d0b - 42 - exports - STEP_FAILURE - "exports" failed.

dagster._core.definitions.events.Failure: Canceled: what arrived is kept.

Stack Trace:
  File "/site-packages/dagster/execute_plan.py", line 243, in dagster_event_sequence_for_step
    next_output = next(iterator)
                  ^^^^^^^^^^^^^^

2026-11-29 13:30:30 +0000 - dagster - ERROR - daily_refresh - 6d0b - newest_day - Dependencies for step newest_day
2026-11-29 13:30:30 +0000 - dagster - ERROR - daily_refresh - 6d0b - 42 - RUN_CANCELED - Run was canceled.
""".splitlines(keepends=True)
    broken = """\
2026-11-29 13:30:31 +0000 - dagster - ERROR - daily_refresh - 6d0b - 42 - exports - STEP_FAILURE - "exports" failed.

TypeError: this is a bug

Stack Trace:
  File "/site-packages/soundlink_pipeline/puller.py", line 1, in run
""".splitlines(keepends=True)
    told = list(dev._without_noise(line.encode() for line in canceled + broken))
    assert [line.decode() for line in told] == [*canceled[:5], canceled[-1], *broken]


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


def test_what_dagster_leaves_where_it_was_killed_itself_is_ended(here: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[subprocess.Popen[bytes]] = []
    popen, serves = subprocess.Popen, threading.Event()

    def start(_: list[str], **more: Any) -> subprocess.Popen[bytes]:
        found.append(popen([sys.executable, "-c", WITH_A_CHILD], **more))
        return found[-1]

    def forward(lines: IO[bytes], _: TextIO) -> None:
        with lines:
            for _line in lines:
                serves.set()

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(dev, "answers", lambda *_: os.kill(found[0].pid, signal.SIGKILL) if serves.is_set() else None)
    monkeypatch.setattr(dev, "_forward", forward)
    monkeypatch.setattr(dev, "_LEFT_ENDS_WITHIN_SECONDS", 3.0)
    assert here.soundlink("dev", "--port", str(free_port())).code == 1
    with served(here.path, "soundlink dev"):  # nobody else holds the lock
        pass


def test_a_run_that_outlives_dagster_ends_with_the_command(
    here: Folder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Dagster ends at once and leaves the server of the code to its run, which would go on unseen."""
    popen, begun = subprocess.Popen, here.path / "begun"
    run = f"import pathlib, sys, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(60)"
    program = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {run!r}]); time.sleep(60)"
    monkeypatch.setattr(subprocess, "Popen", lambda _, **more: popen([sys.executable, "-c", program], **more))
    monkeypatch.setattr(dev, "answers", lambda *_: signal.raise_signal(signal.SIGINT) if begun.exists() else None)
    assert here.soundlink("dev", "--port", str(free_port())).code == 130
    with served(here.path, "soundlink dev"):  # nobody else holds the lock
        pass


# The demo's folder


def test_the_demos_api_runs_along_and_its_port_is_checked(tmp_path: Path, busy: int) -> None:
    (tmp_path / ".env").write_text(
        "".join(f"{name}={value}\n" for name, value in demo_settings("2026-01-01", f"http://127.0.0.1:{busy}").items())
    )
    assert demo.is_demo(tmp_path)
    with pytest.raises(CommandFailed, match=f"port {busy} of 127.0.0.1 is in use"), demo.api_of_demo(tmp_path):
        pass


@pytest.mark.parametrize(
    "base_url", ["", "SOUNDLINK_BASE_URL=http://127.0.0.1:8791\nSOUNDLINK_START_DATE=2026-01-01\n"]
)
def test_a_project_with_the_simulators_key_is_no_demo(tmp_path: Path, base_url: str) -> None:
    (tmp_path / ".env").write_text(f"SOUNDLINK_API_KEY={DEMO_KEY}\n{base_url}")
    assert not demo.is_demo(tmp_path)


def test_the_demos_api_ends_where_the_command_was_killed(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / ".env").write_text(
        f"SOUNDLINK_API_KEY={DEMO_KEY}\nSOUNDLINK_BASE_URL=http://127.0.0.1:{port}\nSOUNDLINK_START_DATE=2026-01-01\n"
    )
    program = """
from pathlib import Path
from soundlink_pipeline.commands import demo
with demo.api_of_demo(Path.cwd()):
    print("serves", flush=True)
    input()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "serves\n"
        assert answers("127.0.0.1", port)
        process.kill()
    until(lambda: not answers("127.0.0.1", port), "the API ends", 30)


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
    settings = read_env_file(here.path / ".env")
    settings |= demo_settings("2026-01-01", f"http://127.0.0.1:{free_port()}")
    (here.path / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    for command in (("pull", "--from", "2026-02-10", "--to", "2026-02-12"), ("totals",)):
        said = here.soundlink(*command)
        assert (said.code, said.out) == (1, "")
        (line,) = said.err.splitlines()
        assert "this is the demo, whose API runs only while make dev does" in line
    doctor = " ".join(here.soundlink("doctor").out.split())
    assert "To do: this is the demo, whose API runs only while make dev does: start that in another terminal" in doctor
