"""`soundlink dev`: the Dagster UI with its daemon, in the project folder, until Ctrl-C.

On the demo's folder the demo's Soundlink API runs along.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TextIO

from soundlink_pipeline.commands import cli
from soundlink_pipeline.commands.execution import answers, checked_env_file, checked_settings, opened_instance
from soundlink_pipeline.commands.outcome import CommandFailed
from soundlink_pipeline.commands.project_folder import (
    WORKSPACE_FILE,
    Lock,
    enter_project,
    in_use,
    require_project,
    require_workspace,
    served,
)
from soundlink_pipeline.commands.signals import ended_by_signals, ignore_signals
from soundlink_pipeline.typed import typed

_COMMAND = "soundlink dev"
_UI_URL = "SOUNDLINK_UI_URL"
# dagster dev gives its webserver and its daemon a minute each.
_ENDS_WITHIN_SECONDS = 130.0
_LEFT_ENDS_WITHIN_SECONDS = 20.0
_LOOKS_EVERY_SECONDS = 0.2
_LAST_WORDS_SECONDS = 5.0
# Of each run's events, whatever the log level; of a home in which no daemon has run yet; of each step after a failed
# one. Levels are coloured.
_NOISE = re.compile(rb" - (\x1b\[\d+m)?DEBUG(\x1b\[0m)? - | - No cursor for event type | - Dependencies for step ")
# What ends a step with a sentence for people: where in the code it was raised tells them nothing.
_TOLD = re.compile(rb"dagster\._core\.(definitions\.events\.Failure|errors\.DagsterExecutionInterruptedError)\b")
_TRACE = b"Stack Trace:"
# Of `dagster dev`, which is what we want: `dg` is another package.
_SUPERSEDED = "ignore:Function `dev_command` is superseded"


def serve(host: str, port: int, *, verbose: bool) -> None:
    """Serve until interrupted. Raises CommandFailed, Interrupted."""
    from soundlink_pipeline.commands.demo import api_of_demo, is_demo  # noqa: PLC0415

    folder = enter_project()
    # Not put into the environment: there it would hide later changes of the file from Dagster.
    given = {**checked_env_file(), **os.environ}
    checked_settings(given)
    require_project(folder)
    require_workspace(folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(in_use(folder, _COMMAND))
        lock = stack.enter_context(served(folder, _COMMAND))
        check_port(host, port, f"{typed(f'dev --port={port + 1}')} takes another")
        with opened_instance(Path(os.environ["DAGSTER_HOME"])):
            pass  # what dagster.yaml has that Dagster does not take is a sentence here, and a screen full there
        stack.enter_context(ended_by_signals(f"Stopped: no scheduled run starts until the next {typed('dev')}."))
        if is_demo(folder):
            stack.enter_context(api_of_demo(folder))
        # Where nothing else is said, links lead to the UI that is started here.
        url = {} if given.get(_UI_URL, "").strip() else {_UI_URL: f"http://{_shown(host)}:{port}"}
        _serve(host, port, url, lock, verbose=verbose)


def check_port(host: str, port: int, otherwise: str) -> None:
    """Raises CommandFailed, which ends with what to do otherwise, if nobody could listen there now."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        why = (
            "is in use by another program" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        )
        raise CommandFailed(f"port {port} of {host} {why}: stop that, or {otherwise}") from None


def _serve(host: str, port: int, settings: Mapping[str, str], lock: Lock, *, verbose: bool) -> None:
    level = "info" if verbose else "warning"
    command = [sys.executable, "-m", "dagster", "dev", "-h", host, "-p", str(port)]
    command += ["--log-level", level, "--code-server-log-level", level]
    if Path(WORKSPACE_FILE).is_file():  # named, or a pyproject.toml beside it would go before
        command += ["-w", WORKSPACE_FILE]
    warnings = [os.environ["PYTHONWARNINGS"]] if os.environ.get("PYTHONWARNINGS") else []
    environment = {**os.environ, **settings, "PYTHONWARNINGS": ",".join([*warnings, _SUPERSEDED])}
    print("Starting Dagster …", flush=True)
    # In a process group of its own: a Ctrl-C in the terminal reaches it once, from here. Standard input is the lock's
    # file: webserver and daemon inherit that, and no other file that Dagster opens, so that they hold the lock along.
    piped = None if verbose else subprocess.PIPE
    server = subprocess.Popen(  # noqa: S603
        command, env=environment, process_group=0, stdin=lock.file, stdout=piped, stderr=piped
    )
    lock.add_group(server.pid, _COMMAND)
    pipes = ((server.stdout, sys.stdout), (server.stderr, sys.stderr))
    forwarding = [threading.Thread(target=_forward, args=pipe, daemon=True) for pipe in pipes]
    for thread in forwarding:
        thread.start()
    try:
        announced = False
        while server.poll() is None:
            if not announced and answers(host, port):
                announced = True
                print(f"Dagster UI: http://{_shown(host)}:{port}. Ctrl-C stops it.", flush=True)
            time.sleep(_LOOKS_EVERY_SECONDS)
        raise CommandFailed(f"Dagster has ended by itself (exit code {server.returncode}): see the lines above")
    finally:
        _end(server)
        for thread in forwarding:
            thread.join(_LAST_WORDS_SECONDS)


def _shown(host: str) -> str:
    """A host as it stands in a URL that leads there from this machine."""
    if host in ("0.0.0.0", "::"):  # noqa: S104  (every address)
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _forward(lines: IO[bytes] | None, to: TextIO) -> None:
    """Write what Dagster writes, without its noise, until it has ended; nothing if it writes by itself."""
    if lines is None:
        return
    with lines:
        for line in _without_noise(lines):
            to.write(line.decode(errors="replace"))
            to.flush()


def _without_noise(lines: Iterable[bytes]) -> Iterator[bytes]:
    told = in_trace = False
    for line in lines:
        if line.strip() and not line.startswith((b" ", _TRACE)):
            told, in_trace = bool(_TOLD.match(line)), False
        in_trace |= told and line.startswith(_TRACE)
        if not in_trace and not _NOISE.search(line):
            yield line


def _end(server: subprocess.Popen[bytes]) -> None:
    """End Dagster; another Ctrl-C meanwhile does not leave half of it running."""
    ignore_signals()
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)  # as Ctrl-C to Dagster; but before it has begun, without a word
        try:
            server.wait(_ENDS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    _end_group(server.pid)


def _end_group(group: int) -> None:
    """End what Dagster has left: a run goes on, and serves the folder; a killed one's daemon would start more."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter for one that has ended, on macOS
        os.killpg(group, signal.SIGTERM)
        deadline = time.monotonic() + _LEFT_ENDS_WITHIN_SECONDS
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(_LOOKS_EVERY_SECONDS)
        os.killpg(group, signal.SIGKILL)


def main(arguments: Sequence[str]) -> int:
    """The old name, for one release: `python -m soundlink_pipeline.commands.dev [-h HOST] [-p PORT]`."""
    return cli.main(["dev", *("--host" if option == "-h" else option for option in arguments)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
