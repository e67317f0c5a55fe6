"""Where an export is kept, as its steps see it: objects with names, each put or replaced in one step."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from soundlink_pipeline.settings.export_target import BUCKETS


class ExportFailed(Exception):
    """The export has not come to its end, and the next one goes on; one sentence says why and what to do."""


class Store(Protocol):
    """Objects below a target; a name has slashes in it and none at its ends. Every method raises ExportFailed.

    `workers` says how many objects are worth putting at a time.
    """

    where: str
    workers: int

    def read(self, name: str) -> bytes | None:
        """What an object holds; None where there is none."""

    def sizes(self) -> Iterable[tuple[str, int]]:
        """Every object with its bytes."""

    def put(self, file: Path, name: str) -> None:
        """Put a file, which may be gone afterwards, in one step: nobody sees a part of it."""

    def put_bytes(self, content: bytes, name: str) -> None:
        """The same of bytes."""

    def copy(self, name: str, to: str) -> None:
        """Have another object hold the same, in one step; what was there is replaced."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; one that is gone already is no error."""


def is_plain(name: str) -> bool:
    """Whether a name leads to a place below the target, wherever names have folders: no `..`, no root, no NUL."""
    return "\0" not in name and all(part not in ("", ".", "..") for part in name.split("/"))


def open_store(target: str) -> Store:
    """The store at a target of `export_target_of`. Raises ExportFailed where it cannot be used."""
    if target.partition("://")[0] in BUCKETS and "://" in target:
        from soundlink_pipeline.exporting.object_store import open_bucket  # noqa: PLC0415  (its library is optional)

        return open_bucket(target)
    from soundlink_pipeline.exporting.local_folder import LocalFolder  # noqa: PLC0415

    return LocalFolder(Path(target))
