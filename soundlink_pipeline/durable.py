"""Writes and renames that survive a power cut: what is not fsynced may be gone, a new name too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO


def sync(file: BinaryIO) -> None:
    """Bring what was written to a file onto the disk."""
    file.flush()
    os.fsync(file.fileno())


def move(source: Path, target: Path) -> Path:
    """Rename durably, replacing what is there; the target's folder is made if need be."""
    make_folder(target.parent)
    source.replace(target)
    sync_path(target.parent)
    return target


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably; nothing happens where it is there."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_path(folder.parent)


def sync_path(path: Path) -> None:
    """Make a file durable, or what was renamed or made in a folder: a new name lasts only once its folder is synced."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
