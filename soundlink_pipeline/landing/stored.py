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

from soundlink_pipeline.durable import sync

COMPRESSED = ".zst"
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


def compress(source: Path, target: Path) -> tuple[int, str]:
    """Write the bytes of a plain file to `target` as one frame, durably, and read them back.

    Returns their size and SHA-256. Raises DamagedFile where other bytes are read back, or `source` changes meanwhile.
    """
    with source.open("rb") as plain, target.open("wb") as file:
        found = _write_frame(source, plain, file)
        sync(file)
    with _damage_told(target), zstd.open(target, "rb") as written:
        if size_and_sha256(cast(BinaryIO, written)) != found:
            raise DamagedFile(target, f"it does not hold the bytes of {source} that were written to it")
    return found


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
