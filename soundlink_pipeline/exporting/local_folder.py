"""A folder as the target of an export.

A copy is a second name of the same file (a hard link) where the disk has such, and so takes no room.

Others may write to the folder. Nothing is written, linked or deleted outside it: symbolic links in it are not followed,
and names that lead out are refused. The folder itself may be one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from soundlink_pipeline.durable import make_folder, move, sync_path
from soundlink_pipeline.exporting.store import ExportFailed, is_plain

# Of a file that is not whole yet. No reader's pattern matches it.
_PART = ".part"
_COPIED_AT_ONCE = 1 << 20


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
                return self._place(name).read_bytes()
            except FileNotFoundError:
                return None

    def sizes(self) -> Iterator[tuple[str, int]]:
        with self._failing("read"):
            yield from _sizes(str(self._folder), "")

    def put(self, file: Path, name: str) -> None:
        with self._failing("written"):
            place = self._place(name)
            make_folder(place.parent)
            part = place.with_name(place.name + _PART)
            try:
                _move(file, part)
                sync_path(part)
                self._name(part, place)
            except OSError:
                part.unlink(missing_ok=True)
                raise

    def put_bytes(self, content: bytes, name: str) -> None:
        with self._failing("written"):
            place = self._place(name)
            make_folder(place.parent)
            part = place.with_name(place.name + _PART)
            with _new_file(part) as written:
                written.write(content)
            sync_path(part)
            # What these bytes name is there after a power cut, too.
            while self._not_durable:
                sync_path(self._not_durable.pop())
            move(part, place)

    def copy(self, name: str, to: str) -> None:
        with self._failing("written"):
            source, place = self._place(name), self._place(to)
            make_folder(place.parent)
            part = place.with_name(place.name + _PART)
            part.unlink(missing_ok=True)
            try:
                os.link(source, part, follow_symlinks=False)
            except OSError:  # such a disk, or so many names already
                _copy(source, part)
                sync_path(part)
            self._name(part, place)
            part.unlink(missing_ok=True)  # POSIX: of two names of one file, none is moved onto the other

    def delete(self, names: Iterable[str]) -> None:
        with self._failing("written"):
            for name in names:
                place = self._place(name)
                place.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # until one that is not empty
                    for folder in place.relative_to(self._folder).parents:
                        if folder != Path():
                            (self._folder / folder).rmdir()

    def _place(self, name: str) -> Path:
        """Raises ExportFailed for a name that leads out of the folder, by itself or by a link on its way."""
        if not is_plain(name):
            raise ExportFailed(f"{name!a} leads out of {self.where}: name another folder, or empty this one")
        place = self._folder / name
        for folder in place.relative_to(self._folder).parents:
            if folder != Path() and (self._folder / folder).is_symlink():
                raise _is_link(self._folder / folder)
        return place

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
    """Without files that begin with a dot, and such folders right here: the system's own.

    A link has the length -1, so that it is never what was put.
    """
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name.startswith(".") and not (is_folder and below):
            continue
        if is_folder:
            yield from _sizes(entry.path, f"{below}{entry.name}/")
        elif entry.is_dir():
            raise _is_link(Path(entry.path))
        else:
            length = -1 if entry.is_symlink() else entry.stat(follow_symlinks=False).st_size
            yield f"{below}{entry.name}", length


def _is_link(folder: Path) -> ExportFailed:
    return ExportFailed(
        f"{folder} is a symbolic link, and an export writes to nothing outside its folder: name the folder that is"
        " meant as the target, or remove the link"
    )


def _move(file: Path, to: Path) -> None:
    """Like `shutil.move`, which would write into what a link at `to` leads to."""
    to.unlink(missing_ok=True)
    try:
        file.rename(to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(file, to)  # the folder is on another disk
        file.unlink()


def _copy(file: Path, to: Path) -> None:
    with file.open("rb") as source, _new_file(to) as target:
        shutil.copyfileobj(source, target, _COPIED_AT_ONCE)


def _new_file(place: Path) -> BinaryIO:
    """Opened for writing; what a killed export or another program has left there goes, and no link is followed."""
    place.unlink(missing_ok=True)
    return os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "wb")
