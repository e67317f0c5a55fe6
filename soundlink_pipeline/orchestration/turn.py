"""One run at a time works in a data folder; a run that must wait says for whom.

Not Dagster's pools: a run that waits for a slot there keeps a processor busy, says nothing after its first message, and
waits for ever for the slot of a run that was killed (DECISIONS.md). The lock here is the operating system's, on a file
in the data folder. It is released when its process ends, however it ends, and it holds for runs of any Dagster instance
and of none.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import dagster as dg

from soundlink_pipeline.orchestration.canceling import is_canceled
from soundlink_pipeline.orchestration.orphaned_runs import fail_orphan
from soundlink_pipeline.orchestration.run_tags import described

_SAY_EVERY_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 0.5
_WAITING = "Waiting for "
_SO_FAR = re.compile(r" \(\d+ s so far\)")

Log = Callable[[str], None]


@contextmanager
def turn(
    data_dir: Path,
    run: dg.DagsterRun,
    instance: dg.DagsterInstance,
    say: Log,
    *,
    note: Log = lambda _: None,
    say_every_seconds: float = _SAY_EVERY_SECONDS,
) -> Iterator[None]:
    """Wait until no other run works in `data_dir`, and keep the others waiting until the block ends.

    `say` gets a line for the log now and then, `note` the same at every look, for who watches.
    Without a word where the folder cannot be written to: the step that needs it fails with the reason.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        opened = (data_dir / "run.lock").open("a+", encoding="utf-8")
    except OSError:
        yield
        return
    with opened as file:
        try:
            _wait(file, say, note, say_every_seconds)
        except dg.DagsterExecutionInterruptedError:
            if is_canceled(instance, run.run_id):
                say("Canceled while it was waiting: it has requested and changed nothing.")
            raise
        # The file is empty unless the process of the run that had the last turn was killed.
        if (last := _read(file)) and last.get("run") != run.run_id:
            fail_orphan(instance, str(last.get("run")))
        _write(file, json.dumps(_holder(run)))
        try:
            yield
        finally:
            with suppress(OSError):  # a full disk
                _write(file, "")


def run_at_work(data_dir: Path) -> str | None:
    """The id of the run that has the turn in `data_dir`, or had it when its process was killed."""
    try:
        with (data_dir / "run.lock").open(encoding="utf-8") as file:
            return _read(file).get("run")
    except OSError:
        return None


def waiting_line(instance: dg.DagsterInstance, run_id: str) -> str:
    """What a run says that waits for its turn, without how long it had waited then; empty if it does not wait."""
    newest = instance.get_records_for_run(run_id, limit=1, ascending=False).records
    said = newest[0].event_log_entry.user_message if newest else ""
    return _SO_FAR.sub("", said) if said.startswith(_WAITING) else ""


def _wait(file: TextIO, say: Log, note: Log, say_every_seconds: float) -> None:
    began, said = time.monotonic(), None
    while not _taken(file):
        now = time.monotonic()
        line = f"{_WAITING}{_who(_read(file))} to end: one run at a time ({now - began:.0f} s so far)."
        note(line)
        if said is None or now - said >= say_every_seconds:
            said = now
            say(line)
        time.sleep(_LOOK_EVERY_SECONDS)
    if said is not None:
        say(f"Its turn, after {time.monotonic() - began:.0f} s.")


def _taken(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(run: dg.DagsterRun) -> dict[str, str]:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"run": run.run_id, "what": described(run), "since": since, "process": str(os.getpid())}


def _who(holder: Mapping[str, str]) -> str:
    if not holder:
        return "another run"
    since = str(holder.get("since"))[:16].replace("T", " ")
    return (
        f"run {str(holder.get('run'))[:8]} ({holder.get('what')}), which has been working since {since} UTC in process"
        f" {holder.get('process')},"
    )


def _read(file: TextIO) -> Mapping[str, str]:
    """What the run that has the turn wrote; nothing while it is writing."""
    file.seek(0)
    try:
        found = json.loads(file.read())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write(file: TextIO, text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()
