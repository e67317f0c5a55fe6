"""How a step fails: one sentence an operator can act on, never a traceback."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import dagster as dg

from soundlink_pipeline.api.errors import SoundlinkError
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.pulling.outcome import FailedPull
from soundlink_pipeline.quality.row_checks import CheckResult
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable

_MOST_LINES = 40


def blocked(broken: Sequence[tuple[Export, CheckResult]]) -> dg.Failure:
    lines = [f"{export.name}: {result}. {result.check.remedy}" for export, result in broken]
    return dg.Failure(
        "The rows are loaded but wrong, so no model is built and nothing published. The checks show which rows.\n"
        + "\n".join(lines),
        allow_retries=False,
    )


def failure(failed: Sequence[FailedPull], loaded: int, names: Mapping[str, str]) -> dg.Failure:
    lines = [f"{item.describe(names)}: {item.reason}" for item in failed if item.attempted]
    not_asked = sum(not item.attempted for item in failed)
    shown = lines[:_MOST_LINES]
    if len(lines) > len(shown):
        shown.append(f"and {len(lines) - len(shown)} more")
    if not_asked:
        shown.append(f"{not_asked} more were not asked for: no request would have been answered")
    return dg.Failure(
        f"{len(failed)} of {len(failed) + loaded} pulls failed; the other {loaded} are loaded."
        " Re-execute the run from failure (a run from a shell: give the command again) to ask for the missing ones.\n"
        + "\n".join(shown),
        metadata={"failed pulls": dg.MetadataValue.md("\n".join(f"- {line}" for line in lines))},
        allow_retries=False,
    )


_TO_MEND: tuple[type[Exception], ...] = (
    SoundlinkError,
    WarehouseLocked,
    WarehouseUnusable,
    OSError,
    sqlite3.OperationalError,  # of requests.sqlite, where requests are counted
)
_FULL = (errno.ENOSPC, errno.EDQUOT)


_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST)


@contextmanager
def told_to_people(*more: type[Exception]) -> Iterator[None]:
    """What an operator can mend, and `more`, fails the step with its own sentence, not with a traceback."""
    try:
        yield
    except _TO_MEND + more as error:
        raise dg.Failure(_sentence(error), allow_retries=False) from None


def _sentence(error: Exception) -> str:
    """What is wrong and what to do. Our own errors say so themselves; those of the system say a word and a path."""
    number, path = getattr(error, "errno", None), getattr(error, "filename", None)
    what = f"{path}: " if path else ""
    reason = getattr(error, "strerror", None) or str(error)
    if number in _FULL or "disk is full" in reason:
        return (
            f"the disk is full ({what}{reason}). Free space where SOUNDLINK_DATA_DIR is and run again: what arrived"
            " whole is kept, and is not asked for again"
        )
    if number in _NOT_WRITABLE or isinstance(error, sqlite3.OperationalError):
        return (
            f"the data folder cannot be written to ({what}{reason}). Is SOUNDLINK_DATA_DIR right, may the user that"
            " runs Dagster write there, is the disk full? make doctor tells"
        )
    return str(error)
