"""What a check says: one finding per thing it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Level = Literal["ok", "warn", "FAULT"]


@dataclass(frozen=True)
class Finding:
    """What was found of one thing, and what to do about it; `fix` may be empty where `says` tells.

    A fault makes a run fail. A warning does not, but somebody should know.
    """

    level: Level
    what: str
    says: str
    fix: str = ""


def ok(what: str, says: str) -> Finding:
    return Finding("ok", what, says)


def warn(what: str, says: str, fix: str = "") -> Finding:
    return Finding("warn", what, says, fix)


def fault(what: str, says: str, fix: str = "") -> Finding:
    return Finding("FAULT", what, says, fix)


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def minute(moment: datetime) -> str:
    """A moment in UTC for people; without a zone it is UTC."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return f"{aware:%Y-%m-%d %H:%M} UTC"


def first_line(said: object) -> str:
    """Of an exception or a text what fits a finding."""
    return str(said).strip().partition("\n")[0].rstrip(":") or type(said).__name__
