"""What lies in a folder in dbt's layout, whatever it is: files by kind, and their text.

Links are followed, each folder once. Nothing here raises anything but ModelError.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from soundlink_pipeline.models.errors import ModelError

# A file that a person wrote is smaller by far.
LARGEST_BYTES = 4_000_000


def files(root: Path, *suffixes: str) -> Iterator[Path]:
    """All entries below `root` with one of these suffixes, sorted; folders with such a name, too: they are errors."""
    found: list[Path] = []
    seen: set[str] = set()
    for at, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(at)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        found += (Path(at, name) for name in [*names, *folders] if name.lower().endswith(suffixes))
        folders[:] = [name for name in folders if not name.startswith(".")]
    yield from sorted(found)


def read_text(path: Path) -> str:
    """The text of a file. Raises ModelError: for what is no regular file, too large, or not UTF-8."""
    try:
        if not path.is_file():
            raise ModelError(path, None, "is a folder" if path.is_dir() else "is not a file that can be read")
        if path.stat().st_size > LARGEST_BYTES:
            raise ModelError(path, None, f"is larger than {LARGEST_BYTES // 1_000_000} MB")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(path, None, f"cannot be read: {error.strerror or error}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ModelError(path, line, f"cannot be read: {error.reason} (it must be UTF-8)") from None


def subfolders(folder: Path, named: object, default: Sequence[str]) -> list[Path]:
    """The folders that a setting of dbt_project.yml names, such as model-paths. Raises ValueError."""
    if named is None:
        named = list(default)
    if isinstance(named, str):
        named = [named]
    if not isinstance(named, list) or not all(isinstance(name, str) and name for name in named):
        raise ValueError("must be a list of folders")
    found = [folder / name for name in named]
    for path in found:
        if not Path(os.path.normpath(path)).is_relative_to(folder) or path == folder:
            raise ValueError("must be a list of folders below the one of dbt_project.yml")
    return found


def line_of(text: str, word: str) -> int | None:
    """The first line of `text` with this word."""
    at = text.find(word)
    while at != -1:
        before, after = text[at - 1 : at], text[at + len(word) : at + len(word) + 1]
        if not (before.isalnum() or before == "_" or after.isalnum() or after == "_"):
            return text.count("\n", 0, at) + 1
        at = text.find(word, at + 1)
    return None
