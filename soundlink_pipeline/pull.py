"""A run's pulls (`planning.py`): fetched side by side, loaded in batches as they arrive.

Fetching goes on while a batch is loaded. One campaign's failure does not cost the others; what failed is told at the
end. Whatever interrupts a run, every delivery that arrived whole is loaded, at the latest by the next run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from soundlink_pipeline.api_errors import SoundlinkError
from soundlink_pipeline.api_key import without_keys
from soundlink_pipeline.exports import Export
from soundlink_pipeline.landing import Delivery, Landing
from soundlink_pipeline.loading import BATCH_BYTES, Arrival, Loaded, load_batch
from soundlink_pipeline.pacing import Cancelled, Pacer
from soundlink_pipeline.partitions import DateRange
from soundlink_pipeline.planning import Pull, duration
from soundlink_pipeline.warehouse import Warehouse, WarehouseLocked, WarehouseUnusable

if TYPE_CHECKING:
    from soundlink_pipeline.client import SoundlinkClient

Log = Callable[[str], None]

# Enough to hide the API's latency behind its limit of one request a second.
_FETCHERS = 3
_ARCHIVERS = 2
# What of an export has arrived is loaded when it is all there is to come, or is this much, or when so long has passed
# since the last load. Few, large transactions are cheaper (each compresses the table's last rows again), but a long
# backfill should show its rows as it goes.
_LOAD_AT_BYTES = BATCH_BYTES * 15 // 16
_LOAD_AFTER_SECONDS = 10.0


@dataclass(frozen=True)
class FailedPull:
    """What could not be had or was refused, and why; not `asked` where the run had to stop asking before its turn."""

    export: str
    campaign_id: str
    dates: DateRange
    reason: str
    asked: bool = True

    def describe(self, names: Mapping[str, str] | None = None) -> str:
        """What failed; `names` are the campaigns' by id, as far as they are known."""
        name = (names or {}).get(self.campaign_id)
        campaign = f"{name!r} ({self.campaign_id})" if name else self.campaign_id
        return f"{self.export} of campaign {campaign}, {self.dates}"


@dataclass
class Summary:
    """What a step did; `requests` counts every one that was sent, for whichever export, retries too."""

    requests: int = 0
    loaded: list[Loaded] = field(default_factory=list)
    failed: list[FailedPull] = field(default_factory=list)

    def of(self, export: Export) -> Summary:
        """What of it was about one export."""
        return Summary(
            self.requests,
            [item for item in self.loaded if item.delivery.export == export.name],
            [item for item in self.failed if item.export == export.name],
        )

    @property
    def rows(self) -> int:
        return sum(item.rows for item in self.loaded)

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.loaded)

    @property
    def unknown_fields(self) -> list[str]:
        return sorted({name for item in self.loaded for name in item.unknown_fields})

    def total(self, what: str) -> int:
        return sum(getattr(item, what) for item in self.loaded)


class Puller:
    """Makes pulls with one client, and loads what arrives. `log` takes a line for people."""

    def __init__(
        self,
        client: SoundlinkClient,
        pacer: Pacer,
        *,
        landing: Landing,
        warehouse: Warehouse,
        run_id: str,
        log: Log,
    ) -> None:
        self._client = client
        self._pacer = pacer
        self._landing = landing
        self._warehouse = warehouse
        self._run_id = run_id
        self._log = log

    def run(self, pulls: Sequence[Pull]) -> Summary:
        """Fetch and load. Raises only what no delivery is to blame for: a locked warehouse, a full disk, a cancel."""
        summary = Summary()
        before = self._client.requests
        try:
            self._fetch_and_load(pulls, summary)
        except (WarehouseLocked, WarehouseUnusable):
            raise  # what has landed waits for the next run
        except BaseException:
            with contextlib.suppress(Exception):
                adopt(self._warehouse, self._landing, self._log)
            raise
        summary.requests = self._client.requests - before
        return summary

    def _fetch_and_load(self, pulls: Sequence[Pull], summary: Summary) -> None:
        progress = _Progress(len(pulls), self._pacer, self._log)
        with ThreadPoolExecutor(_ARCHIVERS, "archive") as archive, ThreadPoolExecutor(_FETCHERS, "fetch") as fetchers:
            try:
                futures = {fetchers.submit(self._fetch, pull): pull for pull in pulls}
                waiting, arrived, to_archive = set(futures), list[Arrival](), list[Loaded]()
                while waiting or arrived:
                    done, waiting = wait(waiting, timeout=progress.until_next(), return_when=FIRST_COMPLETED)
                    arrived += self._results(done, futures, summary)
                    to_come = {futures[future].export.name for future in waiting}
                    batch, arrived = _ready(arrived, to_come, at_once=progress.due())
                    if batch:
                        to_archive += self._load(batch, summary)
                        progress.tell(len(pulls) - len(waiting), summary)
                    else:  # time to spare, since the API is slower than we are
                        self._archive(to_archive, archive)
                self._archive(to_archive, archive)
            except BaseException:
                # Cancelled or broken: a request that waits for a silent server must not hold up the end.
                self._pacer.cancelled.set()
                self._client.abort()
                fetchers.shutdown(cancel_futures=True)
                raise

    def _fetch(self, pull: Pull) -> Arrival:
        """One delivery, landed."""
        temporary = self._landing.temporary_file()
        try:
            download = self._client.download(pull.export, pull.campaign_id, pull.dates, temporary)
            delivery = self._landing.land(
                Delivery(
                    export=pull.export.name,
                    campaign_id=pull.campaign_id,
                    dates=pull.dates,
                    requested_at=download.requested_at,
                    received_at=download.received_at,
                    server_date=download.server_date,
                    declared_rows=download.declared_rows,
                    run_id=self._run_id,
                    path=temporary,
                )
            )
        except SoundlinkError as error:
            if error.fatal:
                self._pacer.cancelled.set()  # the others would be refused just so
            raise
        finally:
            temporary.unlink(missing_ok=True)
        return Arrival.of(delivery, (download.bytes, download.sha256))

    def _results(
        self, done: Iterable[Future[Arrival]], futures: dict[Future[Arrival], Pull], summary: Summary
    ) -> list[Arrival]:
        """The arrivals among finished fetches; failures go into the summary."""
        arrivals = []
        for future in done:
            pull = futures[future]
            try:
                arrivals.append(future.result())
            except Cancelled:
                summary.failed.append(_failed(pull, "not asked", asked=False))
            except (SoundlinkError, ValueError) as error:
                summary.failed.append(_failed(pull, str(error)))
                self._log(f"{pull.describe()} failed: {error}")
        return arrivals

    def _load(self, batch: list[Arrival], summary: Summary) -> list[Loaded]:
        loaded, failed = load_and_quarantine(self._warehouse, self._landing, batch, self._log)
        summary.loaded += loaded
        summary.failed += failed
        return loaded

    def _archive(self, loaded: list[Loaded], archive: ThreadPoolExecutor) -> None:
        while loaded:
            item = loaded.pop()
            archive.submit(archive_quietly, self._landing, item.delivery, item.load_order)


def _failed(pull: Pull, reason: str, *, asked: bool = True) -> FailedPull:
    return FailedPull(pull.export.name, pull.campaign_id, pull.dates, reason, asked)


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


def _ready(arrived: list[Arrival], to_come: set[str], *, at_once: bool) -> tuple[list[Arrival], list[Arrival]]:
    """A batch to load now, of one export, and the rest. Empty if it is better to wait for more."""
    for export in dict.fromkeys(arrival.delivery.export for arrival in arrived):
        own = [arrival for arrival in arrived if arrival.delivery.export == export]
        if at_once or export not in to_come or sum(arrival.size for arrival in own) >= _LOAD_AT_BYTES:
            batch = next(batches(own))
            taken = {id(arrival) for arrival in batch}
            return batch, [arrival for arrival in arrived if id(arrival) not in taken]
    return [], arrived


class _Progress:
    """Tells how far a long step is, at most every few seconds."""

    def __init__(self, total: int, pacer: Pacer, log: Log) -> None:
        self._total = total
        self._pacer = pacer
        self._log = log
        self._started = self._last = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._last >= _LOAD_AFTER_SECONDS

    def until_next(self) -> float:
        return max(_LOAD_AFTER_SECONDS - (time.monotonic() - self._last), 0.0)

    def tell(self, done: int, summary: Summary) -> None:
        self._last = time.monotonic()
        left = self._total - done
        seconds = (self._last - self._started) / max(done, 1) * left
        self._log(
            f"{done} of {self._total} exports fetched, {summary.rows:,} rows and {summary.bytes / 1e6:.1f} MB loaded, "
            f"{self._pacer.left_this_hour()} requests left this hour"
            + (f", about {duration(seconds)} to go" if left else "")
        )
