"""On which line of a TOML text each table and key stands: `tomllib` tells lines of syntax errors only."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

TomlPath = tuple[str, ...]


class TooMuch(Exception):
    """A statement is more than the parser can bear, as tables in tables in tables; `line` is where it begins."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


# What may end a value that spans several lines. Only there is a further attempt worth its time.
_ENDS = ("]", "}", '"""', "'''")


def lines_of(text: str) -> dict[TomlPath, int]:
    """The line, from 1 on, on which each table and key begins, by its path from the root.

    The text must be TOML. Each of its statements, a header or a key with its value, is read alone. Raises TooMuch.
    """
    found: dict[TomlPath, int] = {}
    table: TomlPath = ()
    statement, begun = "", 0
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        first = not statement
        begun = number if first else begun
        statement += line + "\n"
        if not first and not any(end in line for end in _ENDS):
            continue
        try:
            paths = list(_paths(tomllib.loads(statement)))
        except tomllib.TOMLDecodeError:  # it goes on in the next line
            continue
        except (ValueError, RecursionError):
            raise TooMuch(begun) from None
        if statement.lstrip().startswith("["):
            table = paths[-1]
        else:
            paths = [table + path for path in paths]
        for path in paths:
            found.setdefault(path, begun)
        statement = ""
    return found


def _paths(table: dict[str, object]) -> Iterator[TomlPath]:
    """The paths of everything in a table, each after those that lead to it."""
    for name, value in table.items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, *rest) for rest in _paths(value))
