"""The locks of a project folder: what keeps commands in one folder from hurting each other."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from soundlink_pipeline.commands.execution import opened_instance
from soundlink_pipeline.commands.outcome import CommandFailed
from soundlink_pipeline.commands.project_folder import alone, in_use, served
from soundlink_pipeline_tests.commands.conftest import WITH_A_CHILD, Folder
from soundlink_pipeline_tests.support.deployment import free_port, until
from soundlink_pipeline_tests.support.terminal import Said, soundlink

DEMO = "soundlink demo"
# `soundlink dev`, whose Dagster is that.
SERVING = f"""
import subprocess, sys
from soundlink_pipeline.commands import cli
popen = subprocess.Popen
def start(command, **more):
    return popen([sys.executable, "-c", {WITH_A_CHILD!r}] if "dagster" in command else command, **more)
subprocess.Popen = start
sys.exit(cli.main(["dev", "--port", sys.argv[1]]))
"""


@contextlib.contextmanager
def serving(here: Folder) -> Iterator[subprocess.Popen[str]]:
    """`soundlink dev` in a process of its own, once its Dagster serves; afterwards nothing of it is left."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SOUNDLINK_", "DAGSTER_", "PYTEST"))}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVING, str(free_port())],
        cwd=here.path,
        env={**environment, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        while process.stdout.readline() != "serves\n":
            assert process.poll() is None
        yield process
    finally:
        left = re.findall(r"process group (\d+)", (here.path / ".soundlink-dev.lock").read_text())
        for group in left:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(group), signal.SIGKILL)
        process.kill()
        process.communicate()


def test_what_a_killed_dev_has_left_running_serves_the_folder_until_it_is_ended_as_the_next_one_says(
    here: Folder,
) -> None:
    with serving(here) as process:
        (line,) = here.soundlink("dev", "--port", str(free_port())).err.splitlines()
        assert line.startswith(f"soundlink dev (process {process.pid}) already serves {here.path}: ")
        process.kill()
        process.wait()
        said = here.soundlink("dev", "--port", str(free_port()))
        (line,) = said.err.splitlines()
        found = re.fullmatch(
            r"what a killed soundlink dev has left running \(process group (\d+)\) still serves (.*): two would start"
            r" each scheduled run twice; stop it first: (kill -- -\1)",
            line,
        )
        assert (said.code, bool(found)) == (1, True), line
        assert found is not None
        assert found[2] == str(here.path)
        with pytest.raises(CommandFailed, match="soundlink demo would make that anew"), alone(here.path, DEMO):
            pass
        # Dagster is killed, too, and its daemon is not.
        os.kill(int(found[1]), signal.SIGKILL)
        assert here.soundlink("dev", "--port", str(free_port())).err.splitlines() == [line]
        subprocess.run(["bash", "-c", found[3]], check=True)
        until(lambda: is_free(here.path), "the folder is free", 30)


def is_free(folder: Path) -> bool:
    with contextlib.suppress(CommandFailed), alone(folder, DEMO):
        return True
    return False


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


def test_a_second_dev_in_one_folder_is_refused(here: Folder) -> None:
    with served(here.path, "soundlink dev"):
        said = here.soundlink("dev", "--port", str(free_port()))
    assert (said.code, said.out) == (1, "")
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


# A full disk


@pytest.fixture
def full() -> Iterator[None]:
    """No file can grow, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("full")
def test_a_lock_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(CommandFailed, match=r"\.soundlink\.lock cannot be written \(File too large\)"),
        in_use(tmp_path, "soundlink pull"),
    ):
        pass


def test_dagsters_storage_that_cannot_be_made_is_one_sentence(
    here: Folder, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(here.path)
    request.getfixturevalue("full")
    with (
        pytest.raises(CommandFailed, match=r"^Dagster's storage cannot be opened: .*(disk|readonly)[^\n]*$"),
        opened_instance(here.path),
    ):
        pass
