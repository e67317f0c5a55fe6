"""Which files of the folder can become a table, and why the others cannot."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

FOLDER = "own"
# Each publication copies every byte; what is larger is better attached beside the published file.
LARGEST_BYTES = 1 << 30
ENDINGS = (".csv", ".parquet")
# Notes about the files may lie beside them.
_NOTES = (".md", ".txt")
# A file that has changed so shortly ago may still be on its way.
_STILL_SECONDS = 5
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class Version:
    """What tells whether a file has been written to, or taken away and put back.

    `modified_ns` may be set by whoever owns the file; `changed_ns` is the system's own and moves with every renaming.
    """

    inode: int
    bytes: int
    modified_ns: int
    changed_ns: int

    @property
    def modified_at(self) -> datetime:
        """In UTC without saying so, as a TIMESTAMP is. Whole microseconds, rounded down."""
        seconds, nanoseconds = divmod(self.modified_ns, 10**9)
        moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)
        return moment.replace(tzinfo=None)


@dataclass(frozen=True)
class FoundFile:
    """A file of the folder: its table's name, or the `problem` for which it becomes none."""

    path: Path
    table: str
    version: Version
    problem: str | None = None

    @property
    def name(self) -> str:
        """For people and for the database: of bytes that are no UTF-8, and of what no page shows, their numbers."""
        return "".join(
            letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in self.path.name
        )


def version_of(path: Path) -> Version:
    """Of the file itself, not of what it leads to. Raises OSError."""
    return _version(path.lstat())


def found_files(folder: Path, now: datetime) -> list[FoundFile]:
    """All that is to become a table, and all that looks as if it were, by name. Raises OSError.

    Hidden files are passed over: programs keep what is not finished in them. So are notes (.md, .txt).
    """
    if not os.path.lexists(folder):  # a link that leads nowhere is no folder that is missing
        return []
    entries = [
        entry
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)
        if not entry.name.startswith(".") and Path(entry.name).suffix.lower() not in _NOTES
    ]
    names = Counter(
        _table(entry.name)
        for entry in entries
        if Path(entry.name).suffix.lower() in ENDINGS and not entry.is_dir(follow_symlinks=False)
    )
    found = []
    for entry in entries:
        with contextlib.suppress(FileNotFoundError):  # it has gone meanwhile
            found.append(_found(Path(entry.path), entry.stat(follow_symlinks=False), names, now))
    return found


def _found(path: Path, status: os.stat_result, names: Counter[str], now: datetime) -> FoundFile:
    table = _table(path.name)
    problem = _problem(path, status, now)
    if problem is None and names[table] > 1:
        problem = f"another file would become the table own.{table}, too: rename one"
    return FoundFile(path, table, _version(status), problem)


def _problem(path: Path, status: os.stat_result, now: datetime) -> str | None:
    is_link, is_folder = stat.S_ISLNK(status.st_mode), stat.S_ISDIR(status.st_mode)
    too_large = f"it has {status.st_size / 1e6:,.0f} MB, and {LARGEST_BYTES / 1e6:,.0f} are the most: attach it instead"
    faults = (
        (is_link, "it is a symbolic link, which may lead to what nobody wants published: put the file itself here"),
        (is_folder, "it is a folder, which is not looked into"),
        (not stat.S_ISREG(status.st_mode), "it is no regular file"),
        (path.suffix.lower() not in ENDINGS, f"only {' and '.join(ENDINGS)} are read"),
        (
            not _NAME.fullmatch(_table(path.name)),
            "its name cannot be a table's: use letters a to z, digits and _, no digit first, 63 at most",
        ),
        (status.st_size == 0, "it is empty"),
        (status.st_size > LARGEST_BYTES, too_large),
        (
            0 <= now.timestamp() - status.st_mtime < _STILL_SECONDS,
            "it has only just been written to: the next publication reads it",
        ),
    )
    return next((reason for is_so, reason in faults if is_so), None)


def _table(name: str) -> str:
    return Path(name).stem.lower()


def _version(status: os.stat_result) -> Version:
    return Version(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
