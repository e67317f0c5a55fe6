"""Whether a Dagster daemon runs: by its heartbeats in the instance, and by the processes of this machine.

A heartbeat outlives its daemon by minutes, so that it alone would promise runs that nothing starts.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from soundlink_pipeline.doctor.finding import Finding, first_line, minute, ok, warn
from soundlink_pipeline.typed import typed

# Daemons report a heartbeat every 30 s.
_HEARTBEAT = timedelta(minutes=3)
_PROCESSES = Path("/proc")
# `dagster-daemon run`, and what `dagster dev` starts: `python -m dagster._daemon run`.
_DAEMONS = ("dagster-daemon", "dagster._daemon")


def daemon_state(instance: dg.DagsterInstance, now: datetime, home: Path | None) -> Finding:
    """Whether the daemons run that launch what the schedules request.

    `home` is the instance's DAGSTER_HOME, where its storage is files of this machine. Without it the daemon may be on
    another machine, and the heartbeats alone tell.
    """
    beats = instance.get_daemon_heartbeats()
    needed = {"SCHEDULER": "the scheduler", "QUEUED_RUN_COORDINATOR": "the run queue"}
    last = {name: datetime.fromtimestamp(beats[name].timestamp, UTC) for name in needed if name in beats}
    dead = [words for name, words in needed.items() if name not in last or now - last[name] > _HEARTBEAT]
    fix = f"keep {typed('dev')}, or a Dagster daemon, running for the daily refresh; {typed('pull')} needs none"
    if dead:
        seen = f"last seen {minute(max(last.values()))}" if last else "never seen"
        return warn("daemon", f"not running: {' and '.join(dead)} ({seen})", fix)
    if home is not None and runs_here(home) is False:
        return warn("daemon", f"not running: it has ended (last seen {minute(max(last.values()))})", fix)
    errors = [error for name in needed for error in beats[name].errors or ()]
    if errors:
        return warn("daemon", f"is running, with an error: {first_line(errors[0].message)}")
    return ok("daemon", "is running")


def runs_here(home: Path) -> bool | None:
    """Whether a process of this machine is the daemon of `home`; None where the system does not show its processes.

    One whose environment may not be read, since it is another user's, counts: nobody knows whose daemon it is.
    """
    if not (_PROCESSES / "self" / "cmdline").exists():  # no Linux
        return None
    return any(_is_daemon(process) and _home_of(process) in (home.resolve(), None) for process in _PROCESSES.iterdir())


def _is_daemon(process: Path) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:  # no process, or it has ended by now
        return False
    return any(Path(os.fsdecode(word)).name in _DAEMONS for word in words)


def _home_of(process: Path) -> Path | None:
    """The DAGSTER_HOME of a process; None if it cannot be read."""
    try:
        variables = (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return None
    found = [os.fsdecode(item.partition(b"=")[2]) for item in variables if item.startswith(b"DAGSTER_HOME=")]
    return Path(found[0]).resolve() if found else Path()
