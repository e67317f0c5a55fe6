"""A folder as the target of an export.

A copy is a second name of the same file (a hard link) where the disk has such, and so takes no room.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from soundlink_pipeline.durable import make_folder, move, sync_path
from soundlink_pipeline.exporting.store import ExportFailed

# Of a file that is not whole yet. No reader's pattern matches it.
_PART = ".part"


class LocalFolder:
    """A folder, which is made with the first file; see `Store`."""

    workers = 1

    def __init__(self, folder: Path) -> None:
        self.where = str(folder)
        self._folder = folder
        self._not_durable: set[Path] = set()  # folders with new names
        if folder.exists() and not folder.is_dir():
            raise ExportFailed(f"{folder} is a file: name a folder to export to")

    def read(self, name: str) -> bytes | None:
        with self._failing("read"):
            try:
                return (self._folder / name).read_bytes()
            except FileNotFoundError:
                return None

    def sizes(self) -> Iterator[tuple[str, int]]:
        with self._failing("read"):
            yield from _sizes(str(self._folder), "")

    def put(self, file: Path, name: str) -> None:
        with self._failing("written"):
            place = self._folder / name
            make_folder(place.parent)
            part = place.with_name(place.name + _PART)
            try:
                shutil.move(file, part)  # a copy where the folder is on another disk
                sync_path(part)
                self._name(part, place)
            except OSError:
                part.unlink(missing_ok=True)
                raise

    def put_bytes(self, content: bytes, name: str) -> None:
        with self._failing("written"):
            place = self._folder / name
            make_folder(place.parent)
            part = place.with_name(place.name + _PART)
            part.write_bytes(content)
            sync_path(part)
            # What these bytes name is there after a power cut, too.
            while self._not_durable:
                sync_path(self._not_durable.pop())
            move(part, place)

    def copy(self, name: str, to: str) -> None:
        with self._failing("written"):
            place = self._folder / to
            make_folder(place.parent)
            part = place.with_name(place.name + _PART)
            part.unlink(missing_ok=True)
            try:
                part.hardlink_to(self._folder / name)
            except OSError:  # such a disk, or so many names already
                shutil.copyfile(self._folder / name, part)
                sync_path(part)
            self._name(part, place)
            part.unlink(missing_ok=True)  # POSIX: of two names of one file, none is moved onto the other

    def delete(self, names: Iterable[str]) -> None:
        with self._failing("written"):
            for name in names:
                place = self._folder / name
                place.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # until one that is not empty
                    for folder in place.relative_to(self._folder).parents:
                        if folder != Path():
                            (self._folder / folder).rmdir()

    def _name(self, part: Path, place: Path) -> None:
        part.replace(place)
        self._not_durable.add(place.parent)

    @contextlib.contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = error.filename2 or error.filename or self.where
            raise ExportFailed(f"{place} cannot be {what} ({error.strerror or error})") from None


def _sizes(folder: str, below: str) -> Iterator[tuple[str, int]]:
    """Without what begins with a dot: the system's own."""
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _sizes(entry.path, f"{below}{entry.name}/")
        else:
            yield f"{below}{entry.name}", entry.stat(follow_symlinks=False).st_size
