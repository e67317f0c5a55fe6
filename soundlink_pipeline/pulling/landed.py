"""Loads what has landed: batches of a run, what an interrupted run left, and the whole folder for a rebuild."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from soundlink_pipeline.api.key import without_keys
from soundlink_pipeline.landing.deliveries import Delivery
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.loading.batch import BATCH_BYTES, Arrival, Loaded, load_batch
from soundlink_pipeline.pulling.outcome import FailedPull, Log, Summary
from soundlink_pipeline.warehouse.native_file import Warehouse


def load_and_quarantine(
    warehouse: Warehouse, landing: Landing, batch: list[Arrival], log: Log
) -> tuple[list[Loaded], list[FailedPull]]:
    """Load a batch in one transaction; what is refused goes into quarantine and is returned as failed."""
    with warehouse.write() as connection:
        result = load_batch(connection, warehouse.exports, batch)
    failed = []
    for refused in result.refused:
        why = without_keys(refused.reason)
        where = landing.refuse(refused.delivery, why)
        reason = f"refused: {why}; kept in {where.parent}"
        delivery = refused.delivery
        failed.append(FailedPull(delivery.export, delivery.campaign_id, delivery.dates, reason))
        log(f"{failed[-1].describe()} {reason}")
    return result.loaded, failed


def archive_quietly(landing: Landing, delivery: Delivery, load_order: int) -> None:
    """Compress a loaded delivery; where that fails (a full disk), the next run's `adopt` does it."""
    with contextlib.suppress(OSError):
        landing.archive(delivery, load_order)


def adopt(warehouse: Warehouse, landing: Landing, log: Log) -> Summary:
    """Finish what an earlier run began: load deliveries that landed but were not loaded, compress those that were."""
    summary = Summary()
    leftover = landing.not_archived()
    if not leftover:
        return summary
    orders = warehouse.load_orders()
    missing = sorted((d for d in leftover if d.delivery_id not in orders), key=lambda d: d.delivery_id)
    if missing:
        log(f"loading {len(missing)} deliveries that an earlier run fetched but could not load")
    for _ in _load_landed(warehouse, landing, missing, summary, log):
        pass
    orders = {**orders, **{item.delivery.delivery_id: item.load_order for item in summary.loaded}}
    for delivery in leftover:
        if delivery.delivery_id in orders:
            archive_quietly(landing, delivery, orders[delivery.delivery_id])
    return summary


def rebuild(warehouse: Warehouse, landing: Landing, log: Log) -> Summary:
    """Load every landed delivery that the warehouse does not have, in the order of loading; makes no request.

    An empty warehouse becomes equal to the one the landing was loaded into: rows, history, ledger and campaigns.
    """
    summary = Summary()
    for listing in landing.listings():
        warehouse.save_listing(listing)
    known = warehouse.load_orders()
    missing = [d for d in landing.deliveries() if d.delivery_id not in known]
    log(f"{len(missing)} landed deliveries to load, {len(known)} are there already")
    for loaded in _load_landed(warehouse, landing, missing, summary, log):
        for item in loaded:
            if item.delivery.loaded is None:
                archive_quietly(landing, item.delivery, item.load_order)
        log(f"{len(summary.loaded)} of {len(missing)} deliveries, {summary.rows:,} rows")
    return summary


def _load_landed(
    warehouse: Warehouse, landing: Landing, deliveries: Iterable[Delivery], summary: Summary, log: Log
) -> Iterator[list[Loaded]]:
    """Load deliveries in their order, in batches; yields what of each was loaded."""
    for batch in batches(Arrival.of(delivery) for delivery in deliveries):
        loaded, failed = load_and_quarantine(warehouse, landing, batch, log)
        summary.loaded += loaded
        summary.failed += failed
        yield loaded


def batches(arrivals: Iterable[Arrival]) -> Iterator[list[Arrival]]:
    """Deliveries in their order, in batches of at most BATCH_BYTES; a larger one comes alone."""
    batch: list[Arrival] = []
    for arrival in arrivals:
        if batch and not _fits(batch, arrival):
            yield batch
            batch = []
        batch.append(arrival)
    if batch:
        yield batch


def _fits(batch: list[Arrival], arrival: Arrival) -> bool:
    return sum(a.size for a in batch) + arrival.size <= BATCH_BYTES
