"""Asks a client all questions. Its script says how: `answer(ask)`, where `ask` takes SQL and returns its one value."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from questions import QUESTIONS, VERSION

FILE, NEWER = (Path(argument) for argument in sys.argv[1:3])


def answer(ask: Callable[[str], object], **further: Callable[[], object]) -> None:
    """Print each answer, or why there is none, as a line of JSON. `further` are questions of this client alone.

    At last the file is replaced, as a publication does it, and its version asked for.
    """
    for name, sql in QUESTIONS.items():
        _print(name, partial(ask, sql))
    for name, question in further.items():
        _print(name, question)
    beside = FILE.with_suffix(".next")
    shutil.copyfile(NEWER, beside)
    beside.replace(FILE)
    _print("next publication", partial(ask, VERSION))


def _print(name: str, question: Callable[[], object]) -> None:
    told: dict[str, str | None]
    try:
        value = question()
        told = {"answer": None if value is None else str(value)}
    except Exception as error:  # whatever a client raises is what is asked for
        told = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    print(json.dumps({"question": name, **told}), flush=True)
