"""What a check reports: one finding for each subject it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Level = Literal["ok", "warn", "FAULT"]


@dataclass(frozen=True)
class Finding:
    """The state of one subject (`what`), and what to do about it; `fix` may be empty where `message` includes it.

    A fault makes a run fail. A warning does not, but an operator should know of it.
    """

    level: Level
    what: str
    message: str
    fix: str = ""


def ok(what: str, message: str) -> Finding:
    return Finding("ok", what, message)


def warn(what: str, message: str, fix: str = "") -> Finding:
    return Finding("warn", what, message, fix)


def fault(what: str, message: str, fix: str = "") -> Finding:
    return Finding("FAULT", what, message, fix)


def minute(moment: datetime) -> str:
    """A moment in UTC for people; without a zone it is UTC."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return f"{aware:%Y-%m-%d %H:%M} UTC"


def first_line(text: object) -> str:
    """The first line of an exception's message or of a text. Of faults that Dagster lists below it: the first."""
    line = str(text).strip().partition("\n")[0].rstrip(":") or type(text).__name__
    errors = getattr(text, "errors", None)
    if isinstance(errors, list) and errors and isinstance(first := getattr(errors[0], "message", None), str):
        # Behind it stands all that Dagster would have taken there: a screen full.
        return f"{line.rstrip('.:')}: {first.partition(' Expected: ')[0]}"
    return line
