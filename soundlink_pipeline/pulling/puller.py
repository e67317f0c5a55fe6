"""A run's pulls (`pulling/planning.py`): fetched side by side, loaded in batches as they arrive.

Fetching goes on while a batch is loaded. One campaign's failure does not cost the others; what failed is told at the
end. Whatever interrupts a run, every delivery that arrived whole is loaded, at the latest by the next run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from soundlink_pipeline.api.errors import SoundlinkError
from soundlink_pipeline.api.pacing import Cancelled, Pacer
from soundlink_pipeline.landing.deliveries import Delivery
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.loading.batch import BATCH_BYTES, Arrival, Loaded
from soundlink_pipeline.pulling.landed import adopt, archive_quietly, batches, load_and_quarantine
from soundlink_pipeline.pulling.outcome import FailedPull, Log, Summary
from soundlink_pipeline.pulling.planning import Pull, duration
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.warehouse.native_file import Warehouse

if TYPE_CHECKING:
    from soundlink_pipeline.api.client import SoundlinkClient


# Enough to hide the API's latency behind its limit of one request a second.
_FETCHERS = 3
_ARCHIVERS = 2
# What of an export has arrived is loaded when it is all there is to come, or is this much, or when so long has passed
# since the last load. Few, large transactions are cheaper (each compresses the table's last rows again), but a long
# backfill should show its rows as it goes.
_LOAD_AT_BYTES = BATCH_BYTES * 15 // 16
_LOAD_AFTER_SECONDS = 10.0


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
