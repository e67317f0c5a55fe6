"""Damages to a landed file, as disks, power cuts and people make them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def _rewritten(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return damage


def cut(by: int) -> Callable[[Path], None]:
    """The last `by` bytes are missing."""
    return _rewritten(lambda body: body[:-by])


def flipped(body: bytes, at: int, bit: int = 0) -> bytes:
    """One bit is another."""
    return body[:at] + bytes([body[at] ^ (1 << bit)]) + body[at + 1 :]


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _a_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


# Each leaves a file that does not hold what landed, whether it was compressed or not.
DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut by 1 byte": cut(1),
    "cut by 4 bytes": cut(4),
    "cut by 40 bytes": cut(40),
    "cut in half": _rewritten(lambda body: body[: len(body) // 2]),
    "no bytes": _rewritten(lambda _: b""),
    "zeros": _rewritten(lambda body: bytes(len(body))),
    "a flipped bit": _rewritten(lambda body: flipped(body, len(body) // 2)),
    "garbage at the end": _rewritten(lambda body: body + b"garbage"),
    "zeros at the end": _rewritten(lambda body: body + bytes(512)),
    "not a file of its kind": _rewritten(lambda _: b"<html>not found</html>"),
    "a folder": _a_folder,
    "a pipe": _a_pipe,
    "a link to itself": _a_link_to_itself,
}
