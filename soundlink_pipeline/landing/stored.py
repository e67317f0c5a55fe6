"""The bytes of landed files: read to the end or called damaged, and compressed so that nothing is lost on the way.

A compressed file is one Zstandard frame with the size and a checksum of its content, so that it proves itself. Frames
without them, which earlier versions wrote, and several frames in one file are read as well.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from soundlink_pipeline.durable import move, sync

COMPRESSED = ".zst"
TEMPORARY = ".part"
CHUNK = 1 << 20

# What the system says where a file is to blame, or its disk; anything else (no memory, too many open files) is not.
_UNREADABLE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EIO, errno.EISDIR, errno.ENOTDIR, errno.ELOOP)
_FRAME: dict[int, int] = {
    zstd.CompressionParameter.compression_level: 1,
    zstd.CompressionParameter.content_size_flag: 1,
    zstd.CompressionParameter.checksum_flag: 1,
}


class DamagedFile(Exception):
    """A landed file that cannot be read to its end or does not hold what arrived; `why` says which, in words."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"the landed file {path} is damaged: {why}")
        self.path, self.why = path, why


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A landed file's bytes as they arrived, whether it is compressed by now or not.

    Raises DamagedFile, also while the bytes are read.
    """
    with _damage_told(path):
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would keep its reader waiting for ever
            raise DamagedFile(path, "it is not a regular file")
        with path.open("rb") as file, contextlib.ExitStack() as stack:
            compressed = path.suffix == COMPRESSED
            yield cast(BinaryIO, stack.enter_context(zstd.open(file, "rb"))) if compressed else file


@contextlib.contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except EOFError:
        raise DamagedFile(path, "it is cut short, its compressed data has no end") from None
    except zstd.ZstdError as error:
        raise DamagedFile(path, f"its compressed data is broken ({error})") from None
    except OSError as error:
        if error.errno not in _UNREADABLE:
            raise
        raise DamagedFile(path, f"it cannot be read ({error.strerror})") from None


def size_and_sha256(file: BinaryIO) -> tuple[int, str]:
    """Of all that is left to read in a file."""
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def compress(source: Path, target: Path, digest: str | None) -> Path:
    """Put a compressed `source` in place as `target`, and only once it has been read back in full delete `source`.

    `digest` is what the SHA-256 of the bytes must begin with, if that is known. Raises DamagedFile, or OSError where
    the disk is full, with `source` as it was.
    """
    temporary = target.with_name(f".{os.urandom(8).hex()}{TEMPORARY}")
    try:
        with source.open("rb") as plain, temporary.open("wb") as file:
            size, sha256 = _write_frame(source, plain, file)
            sync(file)
        if digest is not None and not sha256.startswith(digest):
            raise DamagedFile(source, "it does not hold the bytes that arrived, their SHA-256 is another")
        with _damage_told(temporary), zstd.open(temporary, "rb") as file_again:
            if size_and_sha256(cast(BinaryIO, file_again)) != (size, sha256):
                raise DamagedFile(temporary, f"it does not hold the bytes of {source} that it was compressed from")
        move(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    source.unlink()
    return target


def _write_frame(source: Path, plain: BinaryIO, file: BinaryIO) -> tuple[int, str]:
    """Size and SHA-256 of what was compressed."""
    digest, size = hashlib.sha256(), os.fstat(plain.fileno()).st_size
    compressor = zstd.ZstdCompressor(options=_FRAME)
    compressor.set_pledged_input_size(size)
    try:
        while chunk := plain.read(CHUNK):
            digest.update(chunk)
            file.write(compressor.compress(chunk))
        file.write(compressor.flush())
    except zstd.ZstdError:  # the frame begins with the size
        raise DamagedFile(source, "it changed while it was compressed") from None
    return size, digest.hexdigest()
