"""The project folder that a command works in, and the locks that keep commands from hurting each other there.

A project is a folder with `.env`, `dagster.yaml`, `workspace.yaml` and `data/`. Runs wait for each other by themselves
(`orchestration/turn.py`). What these locks add: one `soundlink dev` a folder, since two daemons would
start each scheduled run twice; and no demo is made anew below a command that works on it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterable, Iterator
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
_PROCESS = re.compile(r"\(process (\d+)\)$")


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
    if os.environ.get("DAGSTER_HOME") or (not for_runs and (folder / ENV_FILE).exists()):
        return
    raise click.ClickException(
        f"there is no project in {folder}: cd to one; soundlink init DIR makes one, soundlink demo one with made-up"
        " data"
    )


@contextlib.contextmanager
def in_use(folder: Path, command: str) -> Iterator[None]:
    """Work in the folder, beside others that do. Raises CommandFailed while the demo is made anew there."""
    with _locked(folder / _IN_USE, fcntl.LOCK_SH, command) as holder:
        if holder is not None:
            raise CommandFailed(f"{holder} is making {folder} anew: wait until it has ended")
        yield


@contextlib.contextmanager
def alone(folder: Path, command: str) -> Iterator[None]:
    """Make the folder anew: nothing else may be at work there. Raises CommandFailed, which names what is."""
    with _locked(folder / _IN_USE, fcntl.LOCK_EX, command) as holder:
        if holder is not None:
            raise CommandFailed(
                f"{holder} is at work in {folder}, which {command} would make anew: stop it first, or run"
                f" {command} in another folder"
            )
        yield


@contextlib.contextmanager
def served(folder: Path, command: str) -> Iterator[None]:
    """Be the one that serves the folder. Raises CommandFailed where another does."""
    with _locked(folder / _SERVED, fcntl.LOCK_EX, command) as holder:
        if holder is not None:
            raise CommandFailed(
                f"{holder} already serves {folder}: two would start each scheduled run twice; stop that one first"
            )
        yield


@contextlib.contextmanager
def _locked(path: Path, kind: int, command: str) -> Iterator[str | None]:
    """The lock for the block, given back whatever ends the process; or who has it, where it is taken.

    The file stays, since deleting it would let two in. It has a line for each that holds the lock, and of those that
    were killed; only the living are named.
    """
    own = f"{command} (process {os.getpid()})"
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written ({error.strerror}): commands lock their folder by it") from None
    with file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            yield " and ".join(_holders(file)) or "another soundlink command"
            return
        _write(file, [*_holders(file), own])
        try:
            yield None
        finally:
            others = _holders(file)
            if own in others:
                others.remove(own)
            _write(file, others)


def _holders(file: TextIO) -> list[str]:
    """Who holds the lock, as far as its process lives."""
    file.seek(0)
    lines = file.read().splitlines()
    return [line for line in lines if (process := _PROCESS.search(line)) and _lives(int(process[1]))]


def _write(file: TextIO, lines: Iterable[str]) -> None:
    file.truncate(0)
    file.write("".join(f"{line}\n" for line in lines))
    file.flush()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:  # somebody else's
        return True
    except (OSError, OverflowError):
        return False
    return True
