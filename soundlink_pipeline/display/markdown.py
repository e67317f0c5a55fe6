"""Rows as a Markdown table, for what the UI shows beside an asset or a check."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

# Names come from outside: a backslash makes what Markdown would obey the character itself. An underscore within a word
# (as ids have them) means nothing there.
_MARKUP = re.compile(r"[\\`*{}\[\]<>|!&~#]|(?<![^\W_])_|_(?![^\W_])")
# Dagster's UI shows a shorter text in the narrow column of its own table, where a wide table is cut off on the right,
# and a longer one in a dialog.
SHOWN_IN_A_DIALOG = 1000
_MOST_COLUMNS_IN_A_CELL = 4


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with one line per row: texts to the letter, numbers with all their digits, nothing for None.

    A wide one is filled up with blanks, so that the UI shows it in a dialog.
    """
    lines = [list(columns), ["---"] * len(columns), *([_cell(value) for value in row] for row in rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return table.ljust(SHOWN_IN_A_DIALOG) if len(columns) > _MOST_COLUMNS_IN_A_CELL else table


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return _MARKUP.sub(r"\\\g<0>", " ".join(value.split()))
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return str(value)
