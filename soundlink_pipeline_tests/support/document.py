"""The shell blocks of the documents, run as they stand: by a shell, with the key put in by an editor."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from soundlink_pipeline_tests.support.project import KEY

_BLOCKS = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Puts the key where a user would type it.
_EDITOR = """#!/bin/sh
sed -i.bak 's/^SOUNDLINK_API_KEY=$/SOUNDLINK_API_KEY={key}/' "$1" && rm "$1.bak"
"""


def shell_blocks(document: Path, heading: str = "") -> list[str]:
    """Those of a document, or of the part below a heading, up to the next of its level."""
    text = document.read_text(encoding="utf-8")
    if heading:
        level = heading.partition(" ")[0]
        text = re.split(rf"^#{{1,{len(level)}}} ", text.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[
            0
        ]
    return _BLOCKS.findall(text)


def programs(folder: Path, **commands: str) -> dict[str, str]:
    """An environment in which these commands are found, each a line of shell, and in which EDITOR enters the key."""
    folder.mkdir()
    for name, line in {**commands, "enter-key": ""}.items():
        script = folder / name
        script.write_text(_EDITOR.format(key=KEY) if name == "enter-key" else f'#!/bin/sh\nexec {line} "$@"\n')
        script.chmod(0o755)
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SOUNDLINK_", "DAGSTER_", "MAKE", "PYTEST"))
    }
    # A dozen processes import the package: each compiles all of it where Python may not keep what it has compiled.
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    path = f"{folder}{os.pathsep}{inherited['PATH']}"
    return {**inherited, "PATH": path, "EDITOR": str(folder / "enter-key"), "PYTHONWARNINGS": "ignore"}


def run_shell(script: str, folder: Path, environment: Mapping[str, str], seconds: float = 240) -> str:
    """What a script writes, which must end well; it ends at the first command that does not."""
    done = subprocess.run(
        ["bash", "-e"],
        input=script,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class Serving:
    """A command that serves until Ctrl-C, in a process group of its own; `written` is what it has written."""

    def __init__(self, command: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.log = folder / "serving.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def written(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def until(self, words: str, seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while words not in self.written:
            assert self._process.poll() is None, self.written
            assert time.monotonic() < deadline, self.written
            time.sleep(0.3)

    def end(self) -> int:
        """The exit code after Ctrl-C."""
        os.killpg(self._process.pid, signal.SIGINT)
        return self._process.wait(150)

    def kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(150)
