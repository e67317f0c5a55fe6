"""Loads what has landed: batches of a run, what an interrupted run left, and the whole folder for a rebuild.

A damaged file costs only itself: it is set aside and named in the result, and everything else is loaded.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from soundlink_pipeline.api.key import without_keys
from soundlink_pipeline.contracts.exports import subjects_of
from soundlink_pipeline.contracts.subject import Subject
from soundlink_pipeline.landing.deliveries import Delivery, HashedDelivery, Listing
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.landing.stored import DamagedFile
from soundlink_pipeline.loading.batch import BATCH_BYTES, BatchResult, load_batch
from soundlink_pipeline.loading.listing import save_details, save_listing
from soundlink_pipeline.pulling.outcome import FailedPull, Log, PullResult
from soundlink_pipeline.warehouse.accounts import ExpectedAccount, expect
from soundlink_pipeline.warehouse.home import Home, WarehouseLocked
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.warehouse.sql import is_of_the_engine
from soundlink_pipeline.wording import counted


def load_and_quarantine(
    warehouse: Home, landing: Landing, batch: list[HashedDelivery], result: PullResult, log: Log
) -> BatchResult:
    """Load a batch in one transaction and add to `result` what came of it; rejected deliveries go into quarantine."""
    try:
        done = _load(warehouse, batch)
    except WarehouseLocked:
        raise
    except Exception as error:
        # A file that was whole a moment ago may be gone or damaged by now; if none is, it was something else.
        whole = list(_whole(landing, [item.delivery for item in batch], {}, result, log))
        if len(whole) < len(batch):
            return load_and_quarantine(warehouse, landing, whole, result, log)
        if not is_of_the_engine(error):
            raise
        # Nothing of the batch was loaded, and the engine that failed has been ended: a new one may do it.
        log(f"DuckDB failed to load {counted(len(batch), 'delivery')}, which is tried once more: {error}")
        done = _load(warehouse, batch)
    result.loaded += done.loaded
    for rejected in done.rejected:
        why = without_keys(rejected.reason)
        where = landing.refuse(rejected.delivery, why)
        _fail(rejected.delivery, f"refused: {why}; kept in {where.parent}", result, log)
    return done


def _load(warehouse: Home, batch: list[HashedDelivery]) -> BatchResult:
    with warehouse.write() as connection:
        return load_batch(connection, warehouse.exports, batch)


def _fail(delivery: Delivery, reason: str, result: PullResult, log: Log) -> None:
    failed = FailedPull(delivery.export, delivery.subject_id, delivery.dates, reason, account=delivery.account)
    result.failed.append(failed)
    log(f"{failed.describe()}: {reason}")


def _whole(
    landing: Landing,
    deliveries: Iterable[Delivery],
    checksums: Mapping[str, str],
    result: PullResult,
    log: Log,
) -> Iterator[HashedDelivery]:
    """Those of the deliveries whose files are whole, each read to its end; the others are set aside and have failed.

    `checksums` are the ledger's: a file that holds other bytes than were loaded is damaged, too.
    """
    for delivery in deliveries:
        told = list[str]()
        for candidate in itertools.chain([delivery], landing.other_files(delivery)):
            try:
                hashed = HashedDelivery.of(replace(candidate, loaded=delivery.loaded))
                if checksums.get(delivery.delivery_id, hashed.sha256) != hashed.sha256:
                    raise DamagedFile(candidate.path, "it holds other bytes than those that were loaded")
            except DamagedFile as damage:
                told.append(f"{damage}; {set_aside(landing, candidate, damage)}")
            else:
                for line in told:
                    log(f"{line}. Another file of this delivery is whole: {candidate.path.name}")
                yield hashed
                break
        else:
            if delivery.delivery_id in checksums:
                told.append("its rows are loaded, but a rebuild would lack them")
            _fail(delivery, "; ".join(told), result, log)


def set_aside(landing: Landing, damaged: Delivery | Listing, damage: DamagedFile) -> str:
    """Move a damaged file into quarantine; says what became of it."""
    try:
        if isinstance(damaged, Listing):
            where = landing.refuse_listing(damaged, str(damage))
        else:
            where = landing.refuse(damaged, str(damage))
    except FileNotFoundError:
        return "nothing is left to set aside"
    except OSError as error:
        return f"it could not be set aside ({error.strerror})"
    return f"set aside in {where.parent}"


def archive_quietly(landing: Landing, delivery: Delivery, load_order: int) -> None:
    """Compress a loaded delivery; where that fails (a full disk), the next run's `load_leftovers` sees to it."""
    with contextlib.suppress(OSError, DamagedFile):
        landing.archive(delivery, load_order)


def load_leftovers(warehouse: Home, landing: Landing, log: Log) -> PullResult:
    """Finish what an earlier run began: load deliveries that landed but were not loaded, compress those that were."""
    result = PullResult()
    leftovers = landing.not_archived()
    if not leftovers:
        return result
    with warehouse.write() as connection:
        checksums = Ledger(connection).checksums()
    in_order = sorted(leftovers, key=lambda delivery: delivery.delivery_id)
    for batch in batches(_whole(landing, in_order, checksums, result, log)):
        done = load_and_quarantine(warehouse, landing, batch, result, log)
        orders = done.known | {item.delivery.delivery_id: item.load_order for item in done.loaded}
        for item in batch:
            if item.delivery.delivery_id in orders:
                archive_quietly(landing, item.delivery, orders[item.delivery.delivery_id])
    if result.loaded:
        log(f"loaded {counted(len(result.loaded), 'delivery')} that an earlier run fetched but did not load")
    return _of_earlier_runs(result)


def rebuild(warehouse: Home, landing: Landing, log: Log, accounts: Sequence[ExpectedAccount] = ()) -> PullResult:
    """Load every landed delivery that the warehouse does not have, in the order of loading; makes no request.

    An empty warehouse becomes equal to the one the landing was loaded into: rows, history, ledger and campaigns, with
    the `accounts` of the settings. Files that were loaded before are verified.
    """
    result = PullResult()
    for folder, why in landing.unreadable_folders().items():
        result.lost.append(f"the landed files in {folder} cannot be seen ({why}): let the pipeline's user read it")
    with warehouse.write() as connection:
        ledger = Ledger(connection)
        if accounts:
            expect(connection, accounts)
        for subject in subjects_of(warehouse.exports):
            save = partial(save_listing, connection, subject)
            result.lost += _save_listings(landing, subject, save, ledger, log)
            result.lost += _save_details(landing, subject, partial(save_details, connection, subject))
        orders, checksums = ledger.load_orders(), ledger.checksums()
    for line in result.lost:
        log(line)
    landed = landing.deliveries()
    missing = [d for d in landed if d.delivery_id not in orders]
    log(f"{counted(len(missing), 'landed delivery')} to load, {len(orders):,} there already")
    for batch in batches(_whole(landing, missing, {}, result, log)):
        for item in load_and_quarantine(warehouse, landing, batch, result, log).loaded:
            if item.delivery.loaded is None:
                archive_quietly(landing, item.delivery, item.load_order)
        log(f"{len(result.loaded)} of {counted(len(missing), 'delivery')}, {counted(result.rows, 'row')}")
    known = (delivery for delivery in landed if delivery.delivery_id in orders)
    for whole in _whole(landing, known, checksums, result, log):
        if whole.delivery.loaded is None:
            archive_quietly(landing, whole.delivery, orders[whole.delivery.delivery_id])
    return _of_earlier_runs(result)


def _of_earlier_runs(result: PullResult) -> PullResult:
    return replace(result, failed=[replace(item, needs_refetch=True) for item in result.failed])


def _save_listings(
    landing: Landing, subject: Subject, save: Callable[[Listing], object], ledger: Ledger, log: Log
) -> list[str]:
    """Save every landed listing of a subject; what is lost of them, in sentences."""
    saved, damaged = set[tuple[str, datetime, str]](), list[tuple[Listing, str]]()
    for listing in landing.listings(subject):
        try:
            save(listing)
            saved.add((listing.account, listing.requested_at, listing.run_id))
        except DamagedFile as damage:
            damaged.append((listing, f"{damage}; {set_aside(landing, listing, damage)}"))
    moments = ledger.listed_at(subject)
    lost = []
    for listing, line in damaged:
        newest = moments.get(listing.account)
        if (listing.account, listing.requested_at, listing.run_id) in saved:
            log(f"{line}. Another file of this listing is whole")
        elif newest is None:
            lost.append(f"{line}. No {subject.name} is known until the next run lists them")
        elif newest < listing.listed_at:
            lost.append(
                f"{line}. The {subject.plural} are as listed at {newest:%Y-%m-%d %H:%M} UTC, until the next run lists"
                " them"
            )
        elif newest == listing.listed_at:
            lost.append(f"{line}. The warehouse has its {subject.plural}")
        else:
            lost.append(f"{line}. Newer listings are there")
    return lost


def _save_details(landing: Landing, subject: Subject, save: Callable[[Listing], object]) -> list[str]:
    """Save all landed details of a subject; what is lost of them, in sentences."""
    lost = []
    for details in landing.details(subject):
        try:
            save(details)
        except DamagedFile as damage:
            where = set_aside(landing, details, damage)
            lost.append(f"{damage}; {where}. The next runs ask for the details that no other file has")
    return lost


def batches(deliveries: Iterable[HashedDelivery]) -> Iterator[list[HashedDelivery]]:
    """Deliveries in their order, in batches of at most BATCH_BYTES; a larger one comes alone."""
    batch: list[HashedDelivery] = []
    for delivery in deliveries:
        if batch and not _fits(batch, delivery):
            yield batch
            batch = []
        batch.append(delivery)
    if batch:
        yield batch


def _fits(batch: list[HashedDelivery], delivery: HashedDelivery) -> bool:
    return sum(item.size for item in batch) + delivery.size <= BATCH_BYTES
