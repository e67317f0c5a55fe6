"""One evaluation of the sensor `marketing_alerts`: is there a new file, what do the rules find in it, who is told."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import duckdb

from soundlink_pipeline.channels.harmless import hidden
from soundlink_pipeline.channels.receiver import NotDelivered
from soundlink_pipeline.channels.send import send
from soundlink_pipeline.channels.sent_log import SentLog, Slot
from soundlink_pipeline.marketing.findings import Finding
from soundlink_pipeline.marketing.message import in_messages
from soundlink_pipeline.marketing.rules import Limits, find_all
from soundlink_pipeline.publishing.file_copy import read_published
from soundlink_pipeline.settings.receivers import Receiver
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.wording import counted

_KIND = "marketing"
# Dagster stops a tick after 60 s.
_TICK_SECONDS = 25.0
# 1 min, 2 min, … , 4 h: then the next publication, which is tomorrow's as a rule, has better news.
TRIES = 9
_FIRST_PAUSE_SECONDS = 60.0


@dataclass
class State:
    """The sensor's cursor. `seen`: the file that was dealt with last; `due`: the next attempt (Unix seconds).

    `problem` is why something could not be delivered, until something is.
    """

    seen: str = ""
    tries: int = 0
    due: float = 0.0
    problem: str = ""

    @classmethod
    def read(cls, cursor: str | None) -> Self:
        try:
            return cls(**json.loads(cursor or "{}"))
        except (ValueError, TypeError):  # of another version, or edited by hand
            return cls()

    def text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


def tick(state: State, receivers: Sequence[Receiver], settings: Settings, now: datetime) -> str:
    """Send what the newest file's findings are and nobody was told today; what to say of it. Changes `state`."""
    file = settings.data_dir / "soundlink.duckdb"
    version = _version(file)
    if not version:
        return "Nothing is published yet."
    if version == state.seen:
        return "Nothing has been published since the last look."
    if now.timestamp() < state.due:
        return f"Waiting to try again: {state.problem}"
    try:
        with read_published(file) as connection:
            limits = Limits(dict(settings.max_cost_per_follower), dict(settings.max_cost_per_listener))
            findings = find_all(connection, limits)
    except (duckdb.BinderException, duckdb.CatalogException) as error:
        state.seen = version
        return (
            f"The published file lacks what the rules read ({str(error).splitlines()[0]}): its models are of another"
            " version. Rebuild them."
        )
    except duckdb.Error as error:
        # Perhaps it is of another version; the next publication is not.
        state.seen = version
        return f"The published file could not be read: {str(error).splitlines()[0]}"
    try:
        sent, problems, passing = _tell(findings, receivers, settings.data_dir, now)
    except sqlite3.Error as error:
        sent, problems, passing = 0, [f"sent.sqlite in the data folder cannot be used: {error}"], True
    _note_outcome(state, version, problems, passing=passing, now=now)
    found = [f"- {finding.text}" for finding in findings]
    told = f"Sent {counted(sent, 'message')}." if sent else "Nothing to send: all of it was sent today."
    summary = [f"Found {counted(len(findings), 'alert')}. {told if findings else ''}".strip(), *found]
    return "\n".join([*problems, *summary])


def _version(file: Path) -> str:
    """Another one for each publication, which replaces the file; empty where there is none."""
    try:
        found = file.stat()
    except OSError:
        return ""
    return f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}"


def _tell(
    findings: Sequence[Finding], receivers: Sequence[Receiver], folder: Path, now: datetime
) -> tuple[int, list[str], bool]:
    """How many messages were sent, what went wrong, and whether a retry may help with any of that."""
    log, until = SentLog(folder), time.monotonic() + _TICK_SECONDS
    sent, problems, passing = 0, list[str](), False
    day = now.astimezone(UTC).date().isoformat()
    for number, receiver in enumerate(receivers):
        slot = Slot(_KIND, number, day)
        # A receiver that does not answer leaves the others their share of the time.
        ends = time.monotonic() + (until - time.monotonic()) / (len(receivers) - number)
        claimed = set(log.claim(slot, [finding.key for finding in findings], now))
        new = [finding for finding in findings if finding.key in claimed]
        for part, message in in_messages(new):
            keys = [finding.key for finding in part]
            try:
                note = send(receiver, message, ends - time.monotonic())
            except Exception as error:
                unsent = [finding.key for finding in new[new.index(part[0]) :]]
                log.release(slot, unsent)
                # A NotDelivered has nothing of the URL, and would lose words that a URL has too, such as starttls.
                is_ours = isinstance(error, NotDelivered)
                reason = str(error) if is_ours else hidden(receiver.url, f"{type(error).__name__}: {error}")
                problems.append(f"Receiver {number + 1} of {len(receivers)}: {reason}")
                passing |= not isinstance(error, NotDelivered) or error.passing
                break
            log.finish(slot, keys)
            sent += 1
            problems += [note] if note else []
    return sent, problems, passing


def _note_outcome(state: State, version: str, problems: Sequence[str], *, passing: bool, now: datetime) -> None:
    state.problem = "; ".join(problems)
    if passing and state.tries + 1 < TRIES:
        state.tries += 1
        state.due = now.timestamp() + _FIRST_PAUSE_SECONDS * 2 ** (state.tries - 1)
    else:
        state.seen, state.tries, state.due = version, 0, 0.0
