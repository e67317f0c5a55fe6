"""What is wrong in the folder, as values: an error costs what needs the place it names, a notice costs nothing."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from pathlib import Path

NOT_HONOURED = "not honoured by soundlink: "


class ModelError(Exception):
    """Something that cannot be built or run: file, line (None if unknown) and reason."""

    def __init__(self, file: Path, line: int | None, reason: str) -> None:
        super().__init__(file, line, reason)
        self.file, self.line, self.reason = file, line, reason

    @property
    def place(self) -> str:
        """The file, and the line where it is known."""
        return f"{readable(self.file)}{f', line {self.line}' if self.line else ''}"

    def __str__(self) -> str:
        return f"{self.place}: {readable(self.reason)}"


class NotHonoured(Exception):
    """dbt would do it, this runner does not. The message is the whole sentence."""

    def __init__(self, what: str) -> None:
        super().__init__(NOT_HONOURED + what)


@dataclass(frozen=True)
class Notice:
    """Something that dbt reads or does and this runner does not, where no table and no test depends on it.

    `model` is the model it stands with, None where it belongs to the whole folder.
    """

    file: Path
    line: int | None
    reason: str
    model: str | None = None

    def __str__(self) -> str:
        return str(ModelError(self.file, self.line, self.reason))


def readable(text: object) -> str:
    """`text` without what no database or page takes: halves of characters, from names and bytes that are not UTF-8."""
    return str(text).encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{SYMBOL FOR NULL}")


def shown(value: object) -> str:
    """A value from YAML or a template for a message: short, however large or entangled it is."""
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
