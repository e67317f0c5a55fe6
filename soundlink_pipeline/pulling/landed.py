"""Loads what has landed: batches of a run, what an interrupted run left, and the whole folder for a rebuild."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from soundlink_pipeline.api.key import without_keys
from soundlink_pipeline.landing.deliveries import Delivery, HashedDelivery
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.loading.batch import BATCH_BYTES, BatchResult, load_batch
from soundlink_pipeline.loading.listing import save_listing
from soundlink_pipeline.pulling.outcome import FailedPull, Log, PullResult
from soundlink_pipeline.warehouse.home import Home
from soundlink_pipeline.warehouse.ledger import Ledger


def load_and_quarantine(
    warehouse: Home, landing: Landing, batch: list[HashedDelivery], result: PullResult, log: Log
) -> BatchResult:
    """Load a batch in one transaction and add to `result` what came of it; rejected deliveries go into quarantine."""
    with warehouse.write() as connection:
        done = load_batch(connection, warehouse.exports, batch)
    result.loaded += done.loaded
    for rejected in done.rejected:
        why = without_keys(rejected.reason)
        where = landing.refuse(rejected.delivery, why)
        reason = f"refused: {why}; kept in {where.parent}"
        delivery = rejected.delivery
        failed = FailedPull(delivery.export, delivery.campaign_id, delivery.dates, reason)
        result.failed.append(failed)
        log(f"{failed.describe()} {reason}")
    return done


def archive_quietly(landing: Landing, delivery: Delivery, load_order: int) -> None:
    """Compress a loaded delivery; where that fails (a full disk), the next run's `load_leftovers` does it."""
    with contextlib.suppress(OSError):
        landing.archive(delivery, load_order)


def load_leftovers(warehouse: Home, landing: Landing, log: Log) -> PullResult:
    """Finish what an earlier run began: load deliveries that landed but were not loaded, compress those that were."""
    result = PullResult()
    leftovers = landing.not_archived()
    if not leftovers:
        return result
    known = 0
    for batch in batches(map(HashedDelivery.of, sorted(leftovers, key=lambda delivery: delivery.delivery_id))):
        done = load_and_quarantine(warehouse, landing, batch, result, log)
        known += len(done.known)
        orders = done.known | {item.delivery.delivery_id: item.load_order for item in done.loaded}
        for item in batch:
            if item.delivery.delivery_id in orders:
                archive_quietly(landing, item.delivery, orders[item.delivery.delivery_id])
    if missing := len(leftovers) - known:
        log(f"loaded {missing} deliveries that an earlier run fetched but did not load")
    return result


def rebuild(warehouse: Home, landing: Landing, log: Log) -> PullResult:
    """Load every landed delivery that the warehouse does not have, in the order of loading; makes no request.

    An empty warehouse becomes equal to the one the landing was loaded into: rows, history, ledger and campaigns.
    """
    result = PullResult()
    with warehouse.write() as connection:
        for listing in landing.listings():
            save_listing(connection, listing)
        known = Ledger(connection).load_orders()
    missing = [d for d in landing.deliveries() if d.delivery_id not in known]
    log(f"{len(missing)} landed deliveries to load, {len(known)} are there already")
    for batch in batches(map(HashedDelivery.of, missing)):
        for item in load_and_quarantine(warehouse, landing, batch, result, log).loaded:
            if item.delivery.loaded is None:
                archive_quietly(landing, item.delivery, item.load_order)
        log(f"{len(result.loaded)} of {len(missing)} deliveries, {result.rows:,} rows")
    return result


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
