"""How a step fails: with one sentence that an operator can act on, never with a traceback."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import dagster as dg

from soundlink_pipeline.api.errors import SoundlinkError
from soundlink_pipeline.contracts.account import ListedId
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.landing.stored import DamagedFile
from soundlink_pipeline.pulling.again import PullAgain
from soundlink_pipeline.pulling.outcome import FailedPull, PullResult
from soundlink_pipeline.quality.row_checks import CheckResult
from soundlink_pipeline.typed import typed
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.warehouse.renamed import AccountRenamed
from soundlink_pipeline.wording import counted, in_words

_MOST_LINES = 40
# In a failure's metadata: why accounts have failed, by name.
_FAILED_ACCOUNTS = "failed accounts"
# As one would type it into the launchpad; `commands/refetch.yaml` is the same.
_REFETCH = "{ops: {exports: {config: {refetch: true}}}}"


def blocking_failure(broken: Sequence[tuple[Export, CheckResult]]) -> dg.Failure:
    lines = [f"{export.name}, {result.check.name}: {result} {result.check.remedy}" for export, result in broken]
    return dg.Failure(
        "Loaded rows failed a blocking check; models and publication were skipped. The checks show the rows.\n"
        + "\n".join(lines),
        allow_retries=False,
    )


def rebuild_failure(result: PullResult, first_day: date) -> dg.Failure:
    """For a rebuild that could not use every landed file; everything else is loaded. `first_day`: of partitions."""
    lines = [*result.lost, *(f"{item.describe()}: {item.reason}" for item in result.failed)]
    shown = lines[:_MOST_LINES]
    if len(lines) > len(shown):
        shown.append(f"and {len(lines) - len(shown)} more")
    return dg.Failure(
        f"{counted(len(lines), 'landed file')} could not be used; {counted(len(result.loaded), 'delivery')} loaded."
        " Models and published file stay as they were: pull what is missing, or rebuild again to publish without it.\n"
        + "\n".join(_pull_again(result.failed, first_day) + shown),
        metadata={"landed files": dg.MetadataValue.md("\n".join(f"- {line}" for line in lines))},
        allow_retries=False,
    )


def _pull_again(failed: Sequence[FailedPull], first_day: date) -> list[str]:
    """How to get again what landed before and cannot be used; nothing where there is none."""
    again = PullAgain.of((item.dates for item in failed if item.needs_refetch), first_day, refetch=True)
    head = (
        "To pull again what these landed files held, settled days too (in the UI: the job daily_refresh over these days"
        f" with the run config {_REFETCH}):"
    )
    return [*([head, *again.commands] if again.commands else []), *([again.before] if again.before else [])]


def pull_failure(
    failed: Sequence[FailedPull],
    loaded: int,
    names: Mapping[ListedId, str],
    first_day: date,
    *,
    several: bool = False,
) -> dg.Failure:
    """What failed of a step that has `loaded` deliveries; `first_day`: of partitions.

    Of `several` accounts each line names its own.
    """
    attempted = [item for item in failed if item.attempted]
    lines = list(dict.fromkeys(f"{_what(item, names, several)}: {item.reason}" for item in attempted))
    not_attempted = len(failed) - len(attempted)
    shown = _each_reason_once(attempted, names, several)[:_MOST_LINES]
    if len(lines) > len(shown):
        shown.append(f"and {len(lines) - len(shown)} more")
    if not_attempted:
        shown.append(f"not attempted after these errors: {counted(not_attempted, 'more pull')}")
    return dg.Failure(
        f"{_how_many(failed, loaded, several)} To pull what is missing, re-execute the run from failure (from a shell:"
        " run the command again).\n" + "\n".join(_pull_again(failed, first_day) + shown),
        metadata={
            "failed pulls": dg.MetadataValue.md("\n".join(f"- {line}" for line in lines)),
            **(of_accounts(_by_account(attempted, names)) if several else {}),
        },
        allow_retries=False,
    )


def of_accounts(failures: Mapping[str, str]) -> dict[str, dg.MetadataValue[Any]]:
    """The metadata of a failure that says why accounts have failed, for `failed_accounts`."""
    return {_FAILED_ACCOUNTS: dg.MetadataValue.json(dict(failures))}


def failed_accounts(instance: dg.DagsterInstance, run_id: str) -> dict[str, str]:
    """Of several accounts those that have failed in a run, by name, each with why in a line."""
    found: dict[str, str] = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        failure = entry.dagster_event and entry.dagster_event.step_failure_data.user_failure_data
        value = failure.metadata.get(_FAILED_ACCOUNTS) if failure else None
        if value and isinstance(value.value, dict):
            found |= {str(name): " ".join(str(reason).split()) for name, reason in value.value.items()}
    return found


def _by_account(failed: Sequence[FailedPull], names: Mapping[ListedId, str]) -> dict[str, str]:
    """Why each account has failed: what all of it fails for, or how many pulls failed and why the first one did."""
    found: dict[str, str] = {}
    for account in dict.fromkeys(item.account for item in failed):
        own = [item for item in failed if item.account == account]
        whole = next((item.reason for item in own if not item.is_pull and not item.no_access), None)
        pulls = sum(item.is_pull for item in own)
        count = f"{counted(pulls, 'pull')} failed, first " if pulls else ""
        found[account] = whole or f"{count}{own[0].describe(names)}: {own[0].reason}"
    return found


def _what(item: FailedPull, names: Mapping[ListedId, str], several: bool) -> str:
    """What failed. Of an account that does not work at all, the account."""
    if not several:
        return item.describe(names)
    if not item.is_pull and not item.no_access:
        return f"account {item.account}, {item.dates}"
    return f"account {item.account}, {item.describe(names)}"


def _each_reason_once(failed: Sequence[FailedPull], names: Mapping[ListedId, str], several: bool) -> list[str]:
    """A line for each that failed, with why: what failed for the same reason follows the first of it, and says so."""
    by_reason: dict[str, dict[str, None]] = {}
    for item in failed:
        by_reason.setdefault(item.reason, {})[_what(item, names, several)] = None
    return [
        f"{what}: {'the same' if number else reason}"
        for reason, of_it in by_reason.items()
        for number, what in enumerate(of_it)
    ]


def unlisted_of(failed: Sequence[FailedPull], several: bool) -> list[str]:
    """Of what no request could be made: exports whose listing was refused, and of `several` accounts whole ones."""
    names = (
        f"account {item.account}" if several and not item.no_access else item.export
        for item in failed
        if not item.is_pull
    )
    return list(dict.fromkeys(names))


def _how_many(failed: Sequence[FailedPull], loaded: int, several: bool) -> str:
    """Of pulls; what has none, since its listing was refused, is named."""
    pulls, unlisted = sum(item.is_pull for item in failed), unlisted_of(failed, several)
    sentences = []
    if pulls:
        rest = {0: "none is loaded", 1: "the other one is loaded"}.get(loaded, f"the other {loaded:,} are loaded")
        sentences.append(f"{pulls:,} of {counted(pulls + loaded, 'pull')} failed; {rest}.")
    if unlisted:
        refused = f"Nothing could be requested of {in_words(unlisted)}"
        sentences.append(f"{refused}." if pulls else f"{refused}; {counted(loaded, 'other pull')} loaded.")
    return " ".join(sentences)


OPERATOR_ERRORS: tuple[type[Exception], ...] = (
    SoundlinkError,
    WarehouseLocked,
    WarehouseUnusable,
    AccountRenamed,
    DamagedFile,
    OSError,
    sqlite3.DatabaseError,  # of requests.sqlite, which counts requests
)
_FULL = (errno.ENOSPC, errno.EDQUOT)


_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST)


@contextmanager
def as_operator_failure(*more: type[Exception]) -> Iterator[None]:
    """Turn errors that an operator can fix (and `more`) into a `dg.Failure` with a one-sentence message."""
    try:
        yield
    except OPERATOR_ERRORS + more as error:
        raise dg.Failure(sentence(error), allow_retries=False) from None


def sentence(error: Exception) -> str:
    """What is wrong and what to do. Our own errors include both; the system's have only a word and a path."""
    number, path = getattr(error, "errno", None), getattr(error, "filename", None)
    what = f"{path}: " if path else ""
    reason = getattr(error, "strerror", None) or str(error)
    if number in _FULL or "disk is full" in reason:
        return (
            f"the disk is full ({what}{reason}). Free space on the disk of SOUNDLINK_DATA_DIR and run again: complete"
            " deliveries are kept and not requested again"
        )
    if number in _NOT_WRITABLE or isinstance(error, sqlite3.OperationalError):
        return (
            f"the data folder cannot be written to ({what}{reason}). Check SOUNDLINK_DATA_DIR, the rights of the user"
            f" that runs Dagster, and the disk: {typed('doctor')} checks all three"
        )
    if isinstance(error, sqlite3.DatabaseError):
        file = next(iter(getattr(error, "__notes__", ())), "requests.sqlite")  # the pacer's note
        return (
            f"requests cannot be counted: {file} in the data folder is damaged ({reason}). Delete it (it holds only the"
            " count of the last hour's requests) and run again"
        )
    return str(error)
