"""Where a published file lies and who may read it: both are the operator's to say."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from soundlink_pipeline.warehouse.home import Publishable


class BadLink(Exception):
    """A symbolic link that leads to no place for a published file; the message goes on after "a link that"."""


def place_of(target: Path, warehouse: Publishable) -> Path:
    """Where the file lies that is replaced: `target`, or what it leads to as a symbolic link. Raises BadLink."""
    if not target.is_symlink():
        return target
    place = Path(os.path.realpath(target))
    if place.is_symlink():
        raise BadLink("leads in a circle")
    if warehouse.is_kept_in(place):
        raise BadLink("leads to the warehouse itself")
    if "?" in str(place) or "\\" in str(place):  # what DuckDB takes for options and for a /
        raise BadLink(f"leads to {place}, where DuckDB can keep no file")
    if place.is_dir():
        raise BadLink(f"leads to {place}, which is a folder")
    if not place.parent.is_dir():
        raise BadLink(f"leads to {place}, and there is no folder {place.parent} (is a disk not mounted?)")
    return place


@dataclass(frozen=True)
class Access:
    """Who may read a published file: its mode, without any write bit, and its group; None for this process's own."""

    mode: int
    group: int | None

    @classmethod
    def of_next(cls, place: Path, mode: int) -> Access:
        """As the operator left it on the file at `place`; the first one may be read by whom `mode` lets."""
        try:
            last = place.stat()
        except FileNotFoundError:
            return cls(mode & 0o444, None)
        return cls(last.st_mode & 0o444 | 0o400, last.st_gid)  # the pipeline reads it, too

    def give_to(self, file: int) -> int | None:
        """Apply to an open file. The group that this user may not give away, if so: then no group may read more."""
        if self.group in (None, os.fstat(file).st_gid):
            os.fchmod(file, self.mode)
            return None
        try:
            os.fchown(file, -1, self.group)  # first: it is in no wrong hands in between
        except PermissionError:
            others_may = bool(self.mode & 0o004)
            os.fchmod(file, self.mode if others_may else self.mode & ~0o040)
            return None if others_may else self.group
        os.fchmod(file, self.mode)
        return None
