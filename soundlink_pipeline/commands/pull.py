"""`soundlink pull`: the job daily_refresh over a range of days, without a daemon.

The range is checked here, since Dagster answers a wrong one with a traceback; campaigns are looked up before the run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from soundlink_pipeline.commands.display import shown
from soundlink_pipeline.commands.execution import EndedRun, loaded_settings, require_api_of_demo, run_job
from soundlink_pipeline.commands.outcome import CommandFailed, Interrupted
from soundlink_pipeline.commands.project_folder import enter_project, in_use, require_project
from soundlink_pipeline.contracts.days import DateRange, checked_range, last_closed_day
from soundlink_pipeline.contracts.subject import Subject
from soundlink_pipeline.definitions import secret_from_environment
from soundlink_pipeline.orchestration.failures import OPERATOR_ERRORS, sentence, unlisted_of
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH, MODELS_AND_PUBLICATION
from soundlink_pipeline.orchestration.open_accounts import chosen_accounts, named_ids
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.publishing.lag import lag_of
from soundlink_pipeline.pulling.chosen import Names, Unknown, chosen
from soundlink_pipeline.pulling.planning import duration
from soundlink_pipeline.pulling.progress import Progress
from soundlink_pipeline.quality.completeness import missing
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.typed import typed
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.wording import counted, in_words

_COMMAND = "soundlink pull"
# Inode, time of the last change in nanoseconds, and size in bytes.
_File = tuple[int, int, int]


def pull_days(
    wanted: tuple[str, str] | int,
    only: Mapping[Subject, Sequence[str]],
    *,
    accounts: Sequence[str] = (),
    refetch: bool,
    accept_smaller: bool,
    verbose: bool,
) -> None:
    """Pull, show how far it is, and say what came of it. Raises click.ClickException, CommandFailed, Interrupted.

    `wanted` are the first and the last day, or how many days up to yesterday: as many of them as there are partitions.
    `only` has ids or names, where the pull is limited to some; `accounts` are names of the settings, all without any.
    """
    folder = enter_project()
    settings = loaded_settings()
    try:
        chosen_accounts(settings.accounts, accounts)
        dates = _range(wanted, settings.start_date, datetime.now(UTC))
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    require_project(folder)
    require_api_of_demo(settings)
    with in_use(folder, _COMMAND):
        ids = {subject: _ids(settings, subject, names, accounts) for subject, names in only.items() if names}
        _pull(dates, ids, accounts, refetch=refetch, accept_smaller=accept_smaller, verbose=verbose)


def _range(wanted: tuple[str, str] | int, first_day: date, now: datetime) -> DateRange:
    if isinstance(wanted, int):
        newest = last_closed_day(now)
        days = min(wanted - 1, (newest - first_day).days)
        wanted = str(newest - timedelta(days=days)), str(newest)
    return checked_range(*wanted, first_day, now)


def _pull(
    dates: DateRange,
    ids: Mapping[Subject, Sequence[str]],
    accounts: Sequence[str],
    *,
    refetch: bool,
    accept_smaller: bool,
    verbose: bool,
) -> None:
    started, used, published = time.monotonic(), list[Soundlink](), list[_File | None]()

    def watch(soundlink: Soundlink) -> AbstractContextManager[None]:
        used.append(soundlink)
        published.append(_file(soundlink.published_path))
        return nullcontext() if verbose else shown(soundlink)

    step: dict[str, Any] = {"refetch": refetch, "accept_smaller": accept_smaller, "accounts": list(accounts)}
    step |= {subject.table: list(of_it) for subject, of_it in ids.items()}
    limit = in_words([counted(len(of_it), subject.name) for subject, of_it in ids.items()])
    whose = f" of {'account' if len(accounts) == 1 else 'accounts'} {in_words(accounts)}" if accounts else ""
    print(f"Pulling {dates}" + (f" of {limit}" if limit else "") + whose, flush=True)
    ended = run_job(
        DAILY_REFRESH,
        tags={RANGE_START: dates.start.isoformat(), RANGE_END: dates.end.isoformat()},
        config={"ops": {"exports": {"config": step}}},
        verbose=verbose,
        watch=watch,
    )
    soundlink, runs = used[0], [ended]
    limited = bool(ids or accounts)
    if ((limited and ended.succeeded) or _some_accounts_failed(soundlink, ended)) and _is_behind(soundlink):
        # Days that lack others are no materialization, and Dagster skips what would follow one.
        runs.append(run_job(MODELS_AND_PUBLICATION, verbose=verbose, watch=watch))
    for line in _summary(soundlink, dates, runs, time.monotonic() - started, limited, before=published[0]):
        print(line, flush=True)
    if any(run.interrupted for run in runs):
        if _file(soundlink.published_path) != published[0]:
            raise Interrupted("Interrupted at its end: what has arrived is loaded and published.")
        raise Interrupted("Interrupted: what has arrived is kept; the same command goes on from there.")
    if failures := [line for run in runs for line in run.failures]:
        raise CommandFailed("\n".join(failures))


def _some_accounts_failed(soundlink: Soundlink, ended: EndedRun) -> bool:
    """Whether a run failed for some of several accounts only: the others' rows are to be published all the same."""
    result = soundlink.progress.result
    if len(soundlink.settings.accounts) == 1 or ended.succeeded or ended.interrupted or result is None:
        return False
    blocked = any(check.blocking and not check.passed for check in ended.checks)
    return bool(result.failed and result.loaded) and not blocked


def _is_behind(soundlink: Soundlink) -> bool:
    """Whether the published file lacks deliveries. Where that cannot be read, the run that publishes says why."""
    try:
        return bool(lag_of(soundlink.warehouse, soundlink.published_path))
    except (WarehouseLocked, WarehouseUnusable):
        return True


def _ids(settings: Settings, subject: Subject, wanted: Sequence[str], accounts: Sequence[str]) -> list[str]:
    """The listed ids of those wanted: as the warehouse knows them, else as the API lists them now."""
    soundlink = Soundlink(settings, secret_from_environment)
    try:
        names = _known(soundlink, subject)
        try:
            return chosen(subject, wanted, names)
        except Unknown:
            if all(named_ids(account, subject) for account in settings.accounts):  # nothing else is listed
                raise
        listed = dict[str, str]()
        for account in chosen_accounts(settings.accounts, accounts):
            with soundlink.connect(lambda _: None, account) as (client, _):
                listed |= {subject.id_of(item): subject.name_of(item) for item in client.listed(subject).items}
        return chosen(
            subject, wanted, {listed_id: (*names.get(listed_id, ()), name) for listed_id, name in listed.items()}
        )
    except (Unknown, ValueError) as error:
        raise CommandFailed(str(error)) from None
    except OPERATOR_ERRORS as error:
        raise CommandFailed(sentence(error)) from None


def _known(soundlink: Soundlink, subject: Subject) -> Names:
    """What those of a subject may be called, by the warehouse: as listed, as in their rows, and by the id in these."""
    if not soundlink.warehouse.exists():
        ids = [listed_id for account in soundlink.settings.accounts for listed_id in named_ids(account, subject)]
        return dict.fromkeys(ids, ())
    with soundlink.warehouse.read() as connection:
        ledger = Ledger(connection)
        names, of_listing = dict[str, set[str]](), ledger.listed(subject)
        for listed_id, listed in of_listing.items():
            names.setdefault(listed_id.id, set()).add(subject.name_of(listed))
        exports = [export for export in soundlink.warehouse.exports if export.subject == subject]
        for listed_id, name in ledger.names(exports).items():
            if listed_id.id in names:
                names[listed_id.id].add(name)
        for account in {listed_id.account for listed_id in of_listing}:
            for (export_name, name), row_subject_id in ledger.row_subject_ids(account).items():
                if name in names and export_name in {export.name for export in exports}:
                    names[name].add(row_subject_id)
    return {name: found - {""} for name, found in names.items()}


def _file(path: Path) -> _File | None:
    """Tells a published file from the one that replaces it; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _summary(
    soundlink: Soundlink,
    dates: DateRange,
    runs: Sequence[EndedRun],
    seconds: float,
    limited: bool,
    *,
    before: _File | None,
) -> list[str]:
    """What came of the runs, a line for each fact; `before` them the published file was this one."""
    lines = [f"warning: {line}" for run in runs for line in run.warnings]
    lines += [line for run in runs for line in run.check_lines()]
    lines.append(_what_came(soundlink.progress, several=len(soundlink.settings.accounts) > 1))
    if soundlink.warehouse.exists():
        lines += _what_is_there(soundlink, dates, limited)
    file = soundlink.published_path
    # A run that was interrupted at its end, or that failed in what follows, may have published all the same.
    now = _file(file)
    if now is not None and (runs[-1].succeeded or now != before):
        lines.append(f"Published: {file} ({now[2] / 1e6:.1f} MB); {typed('sql')} asks it")
    else:
        lines.append(f"Not published: {file} " + ("stays as it was" if now else "is not there yet"))
    lines.append(f"Took {duration(seconds)}; run {' and '.join(run.run_id for run in runs)}")
    return lines


def _what_came(progress: Progress, *, several: bool = False) -> str:
    result = progress.result
    if result is None and not progress.requests:
        return "Loaded: nothing; no export was requested"
    if result is None:
        answered = f"{progress.done:,} of {counted(progress.requests, 'request')}"
        return f"Loaded so far: {counted(progress.rows, 'row')}; {answered} answered"
    refused = sum(item.attempted and item.is_pull for item in result.failed)
    unlisted = unlisted_of(result.failed, several)
    return (
        f"Loaded: {counted(result.rows, 'row')}, of which {result.total('inserted'):,} new,"
        f" {result.total('updated'):,} revised; {counted(result.requests, 'request')} for exports,"
        f" {refused:,} refused or failed"
        + (f"; nothing could be requested of {in_words(unlisted)}" if unlisted else "")
    )


def _what_is_there(soundlink: Soundlink, dates: DateRange, limited: bool) -> list[str]:
    exports = soundlink.warehouse.exports
    try:
        with soundlink.warehouse.read() as connection:
            settled = Ledger(connection).newest_settled_day(exports)
            lacking = {item.listed_id for export in exports for item in missing(connection, export, dates)}
    except (WarehouseLocked, WarehouseUnusable) as error:
        return [f"What is settled cannot be read: {error}"]
    lines = [f"Settled up to {settled}: these numbers are final" if settled else "Settled: no day yet"]
    if limited and lacking:
        lines.append(
            f"Not pulled: days of {counted(len(lacking), 'other')}, so these days stay missing in the UI; the same"
            " command without --campaign, --soundlink and --account pulls them"
        )
    return lines
