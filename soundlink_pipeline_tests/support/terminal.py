"""The command `soundlink`: called in this process, or run in a terminal of its own (a pseudo-terminal)."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from soundlink_pipeline.commands import cli

# What a terminal reads as an order to itself: colours, where the cursor goes.
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Said:
    """How a command has ended, and what it has written."""

    code: int
    out: str
    err: str


def soundlink(*arguments: str, cwd: Path, **env: str) -> Said:
    """Call the command in this process, which is afterwards where and as it was."""
    out, err = io.StringIO(), io.StringIO()
    before, here = dict(os.environ), Path.cwd()
    try:
        for name in [name for name in os.environ if name.startswith(("SOUNDLINK_", "DAGSTER_"))]:
            del os.environ[name]
        os.environ.update(env)
        os.chdir(cwd)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = cli.main(list(arguments))
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 1
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)
    return Said(code, out.getvalue(), err.getvalue())


class Terminal:
    """A process in a pseudo-terminal of 100 columns, of which it is the leader."""

    def __init__(self, pid: int, screen: int) -> None:
        self._pid = pid
        self._screen = screen
        self._raw = b""
        self._seen = 0

    @property
    def text(self) -> str:
        """All that was written so far, without what moves the cursor."""
        return _CONTROL.sub("", self._raw.decode(errors="replace")).replace("\r\n", "\n")

    def press(self, keys: str) -> None:
        """`^C` and `^D` are keys, too."""
        os.write(self._screen, keys.replace("^C", "\x03").replace("^D", "\x04").encode())

    def until(self, words: str, seconds: float = 60) -> None:
        """Wait for words that come after those that were waited for last."""
        deadline = time.monotonic() + seconds
        while (found := self.text.find(words, self._seen)) < 0:
            assert self._read(deadline), f"{words!r} is not in:\n{self.text}"
        self._seen = found + len(words)

    def end(self, seconds: float = 60) -> int:
        """The exit code, once the process has ended."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._screen)

    def _read(self, deadline: float) -> bool:
        """Whether anything more may come; fails when the time is over."""
        ready, _, _ = select.select([self._screen], [], [], max(deadline - time.monotonic(), 0))
        assert ready, f"nothing comes any more after:\n{self.text}"
        try:
            found = os.read(self._screen, 1 << 16)
        except OSError:  # the other side is closed
            return False
        self._raw += found
        return bool(found)


@contextlib.contextmanager
def in_terminal(*arguments: str, cwd: Path, env: Mapping[str, str]) -> Iterator[Terminal]:
    """The command in a process of its own; after the block it is gone."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SOUNDLINK_", "DAGSTER_", "PYTEST"))}
    everything = {**inherited, "COLUMNS": "100", "LINES": "24", "TERM": "xterm", "PYTHONWARNINGS": "ignore", **env}
    command = [sys.executable, "-m", "soundlink_pipeline.commands.cli", *arguments]
    pid, screen = pty.fork()
    if pid == 0:
        try:
            os.chdir(cwd)
            os.execve(command[0], command, everything)
        finally:
            os._exit(127)
    terminal = Terminal(pid, screen)
    try:
        yield terminal
    finally:
        terminal.close()
