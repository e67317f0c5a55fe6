"""The project folder that a command works in, and the locks that keep commands from hurting each other there.

A project is a folder with `.env`, `dagster.yaml`, `workspace.yaml` and `data/`. Runs wait for each other by themselves
(`orchestration/turn.py`). What these locks add: one `soundlink dev` a folder, since two daemons would
start each scheduled run twice; and no demo is made anew below a command that works on it.

A lock is the operating system's, on an open file. Processes that inherit the file hold it along, so that a folder
counts as served for as long as any of them lives, also after the command itself was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import click

from soundlink_pipeline.commands.outcome import CommandFailed

ENV_FILE = ".env"
INSTANCE_FILE = "dagster.yaml"
WORKSPACE_FILE = "workspace.yaml"
ACCOUNTS_EXAMPLE = "accounts.example.toml"
DEMO = Path("demo")
# Held shared by whatever works in the folder, alone by what makes it anew; and by the one that serves it.
_IN_USE, _SERVED = ".soundlink.lock", ".soundlink-dev.lock"
_ANOTHER_FILE = "put the project's own there; soundlink init DIR makes one to copy"
_HOLDER = re.compile(r"\(process( group)? (\d+)\)$")


def enter_project() -> Path:
    """Make the project's folder the working directory and, unless it is set, DAGSTER_HOME; returns it, absolute.

    The folder is this one, or the demo's where only that has settings.
    """
    here = Path.cwd()
    folder = here if (here / ENV_FILE).exists() or not (here / DEMO / ENV_FILE).exists() else here / DEMO
    os.chdir(folder)
    if (folder / INSTANCE_FILE).is_file():
        os.environ.setdefault("DAGSTER_HOME", str(folder))
    return folder


def require_project(folder: Path, *, for_runs: bool = True) -> None:
    """Raises click.ClickException where there is no project, or `for_runs` no Dagster instance of one."""
    has_settings = (folder / ENV_FILE).exists()
    if home := os.environ.get("DAGSTER_HOME"):
        if for_runs:
            check_instance_file(Path(home))
        return
    if has_settings and not for_runs:
        return
    if has_settings:
        raise click.ClickException(f"{folder / INSTANCE_FILE} is missing: {_ANOTHER_FILE}")
    raise click.ClickException(
        f"there is no project in {folder}: cd to one; soundlink init DIR makes one, soundlink demo one with made-up"
        " data"
    )


def check_instance_file(home: Path) -> None:
    """Raises click.ClickException if Dagster could not read its settings, which it tells with a traceback."""
    import yaml  # noqa: PLC0415  (a command's help needs it not)

    file = home / INSTANCE_FILE
    if not file.exists():
        return
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        reason = "" if isinstance(settings, dict) else "it has no settings"
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
    if reason:
        raise click.ClickException(f"{file} cannot be read as YAML in UTF-8 ({reason}): {_ANOTHER_FILE}")


def require_workspace(folder: Path) -> None:
    """Raises click.ClickException if Dagster would find nothing there that says what to load."""
    if (folder / WORKSPACE_FILE).is_file():
        return
    try:
        tool = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("tool", {})
    except (OSError, ValueError):
        tool = {}
    if not {"dagster", "dg"} & set(tool):
        raise click.ClickException(f"{folder / WORKSPACE_FILE} is missing: {_ANOTHER_FILE}")


def require_data(folder: Path) -> None:
    """For what only reads: raises click.ClickException where there is no project, nor data without one."""
    if not os.environ.get("SOUNDLINK_DATA_DIR") and not (folder / "data").is_dir():
        require_project(folder, for_runs=False)


@dataclass(frozen=True)
class Lock:
    """A lock's open file. `holders` are those who have it; without any it is ours, and `own` are our lines in it."""

    file: TextIO
    holders: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        """Name one more that holds the lock with us."""
        self.own.append(line)
        _write(self.file, [*_holders(self.file), line])

    def add_group(self, group: int, command: str) -> None:
        """Name a process group that has inherited the file, for when it outlives the command."""
        self.add(f"what a killed {command} has left running (process group {group})")


@contextlib.contextmanager
def in_use(folder: Path, command: str) -> Iterator[None]:
    """Work in the folder, beside others that do. Raises CommandFailed while the demo is made anew there."""
    with _locked(folder / _IN_USE, fcntl.LOCK_SH, command) as lock:
        if lock.holders:
            raise CommandFailed(f"{' and '.join(lock.holders)} is making {folder} anew: wait until it has ended")
        yield


@contextlib.contextmanager
def alone(folder: Path, command: str) -> Iterator[None]:
    """Make the folder anew: nothing else may be at work there. Raises CommandFailed, which names what is."""
    with _locked(folder / _IN_USE, fcntl.LOCK_EX, command) as lock:
        if lock.holders:
            raise CommandFailed(
                f"{' and '.join(lock.holders)} {'is' if len(lock.holders) == 1 else 'are'} at work in {folder}, which"
                f" {command} would make anew: stop it first, or run {command} in another folder"
            )
        with served(folder, command, f"{command} would make that anew"):
            yield


@contextlib.contextmanager
def served(folder: Path, command: str, why: str = "two would start each scheduled run twice") -> Iterator[Lock]:
    """Be the one that serves the folder; `why` there is one only. Raises CommandFailed where another does."""
    with _locked(folder / _SERVED, fcntl.LOCK_EX, command) as lock:
        if lock.holders:
            holder, *_ = lock.holders
            left = _HOLDER.search(holder)
            if left and left[1]:
                raise CommandFailed(f"{holder} still serves {folder}: {why}; stop it first: kill -- -{left[2]}")
            raise CommandFailed(f"{holder} already serves {folder}: {why}; stop that one first")
        yield lock


@contextlib.contextmanager
def _locked(path: Path, kind: int, command: str) -> Iterator[Lock]:
    """The lock for the block, given back whatever ends the process; or who has it, where it is taken.

    The file stays, since deleting it would let two in. It has a line for each that holds the lock, and of those that
    were killed; only the living are named.
    """
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise _not_writable(path, error) from None
    with file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            yield Lock(file, _holders(file) or ["another soundlink command"])
            return
        lock = Lock(file)
        lock.add(f"{command} (process {os.getpid()})")
        try:
            yield lock
        finally:
            others = _holders(file)
            for line in lock.own:
                if line in others:
                    others.remove(line)
            _write(file, others)


def _holders(file: TextIO) -> list[str]:
    """Who holds the lock, as far as its processes live."""
    file.seek(0)
    lines = file.read().splitlines()
    return [line for line in lines if (holder := _HOLDER.search(line)) and _lives(int(holder[2]), bool(holder[1]))]


def _write(file: TextIO, lines: Iterable[str]) -> None:
    """Raises CommandFailed. Past the file's buffer: what did not fit would be tried again when it is closed."""
    try:
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), "".join(f"{line}\n" for line in lines).encode())
    except OSError as error:
        raise _not_writable(Path(file.name), error) from None


def _not_writable(path: Path, error: OSError) -> CommandFailed:
    return CommandFailed(f"{path} cannot be written ({error.strerror}): commands lock their folder by it")


def _lives(number: int, is_group: bool) -> bool:
    try:
        (os.killpg if is_group else os.kill)(number, 0)
    except PermissionError:  # somebody else's
        return True
    except (OSError, OverflowError):
        return False
    # Not at the top: Dagster's import is what a command's help should not pay.
    from soundlink_pipeline.orchestration.orphaned_runs import has_ended  # noqa: PLC0415

    return is_group or not has_ended(number)
