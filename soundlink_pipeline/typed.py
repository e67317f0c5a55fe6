"""How texts name a command, as it is to be typed here: `make backfill FROM=…` in a clone, else `soundlink pull …`.

This is the one place that decides it.
"""

from __future__ import annotations

import re
from pathlib import Path

_CLONE = Path(__file__).parents[1]
_SQL = "dbt_like_sql"
# Where make calls a command by another name, or takes its argument as a variable.
_TARGETS = {"pull": "backfill"}
_ARGUMENTS = {"backup": "DIR"}


def typed(command: str) -> str:
    """`command` is what follows `soundlink`: `doctor`, `pull --from=2026-01-01 --to=2026-01-31 --refetch`.

    Its words hold no blanks, and its options are those that the Makefile takes.
    """
    if not _with_make():
        return f"soundlink {command}"
    name, *words = command.split()
    return " ".join(["make", _TARGETS.get(name, name), *(_variable(name, word) for word in words)])


def installing() -> str:
    """What puts the package and what it needs in place."""
    return "make install" if _with_make() else "pip install with the wheel"


def rebuilding() -> str:
    """What makes the warehouse anew from the landed files: the command, and the job for those who have only the UI."""
    return f"{typed('rebuild')} (in the UI: the job rebuild_from_landing)"


def _with_make() -> bool:
    """Whether the package lies in a clone, and the project has no SQL of its own: `soundlink init` has not made it.

    The clone's own folder and its demo belong to it; so does a server's folder, for which `make` has HOME_DIR.
    """
    here = Path.cwd()
    return (_CLONE / "Makefile").is_file() and (here.is_relative_to(_CLONE) or not (here / _SQL).is_dir())


def _variable(name: str, word: str) -> str:
    """An option as one of the Makefile's variables; one without a value is switched on by 1."""
    if not (option := re.fullmatch(r"--([a-z-]+)(?:=(.*))?", word)):
        return f"{_ARGUMENTS[name]}={word}"
    return f"{option[1].upper().replace('-', '_')}={option[2] or 1}"
