"""Makes a run's requests (`pulling/planning.py`) side by side, and loads the deliveries in batches as they arrive.

Fetching goes on while a batch is loaded, of each account within its own limits; what arrives is loaded in one place,
those of all accounts together. One failure does not cost the others; the result names what failed.
Whatever interrupts a run, every delivery that arrived whole is loaded, at the latest by the next run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from itertools import zip_longest

from soundlink_pipeline.api.errors import ScopeMissing, SoundlinkError
from soundlink_pipeline.api.pacing import Cancelled
from soundlink_pipeline.landing.deliveries import HashedDelivery
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.loading.batch import BATCH_BYTES, Loaded
from soundlink_pipeline.pulling.fetcher import Fetcher, NoAccess, Source
from soundlink_pipeline.pulling.landed import archive_quietly, batches, load_and_quarantine, load_leftovers
from soundlink_pipeline.pulling.outcome import FailedPull, Log, PullResult
from soundlink_pipeline.pulling.planning import PullRequest
from soundlink_pipeline.pulling.progress import Lines, Progress
from soundlink_pipeline.pulling.shrinking import NotBelieved
from soundlink_pipeline.warehouse.home import Home, WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.wording import counted

# Enough to hide the API's latency behind its limit of one request a second.
_FETCHERS = 3
_ARCHIVERS = 2
# The arrived deliveries of an export are loaded when no more are pending, or when they are this much, or when so long
# has passed since the last load. Few, large transactions are cheaper (each compresses the table's last rows again), but
# a long backfill should show its rows as it goes.
_LOAD_AT_BYTES = BATCH_BYTES * 15 // 16
_LOAD_AFTER_SECONDS = 10.0


class Puller:
    """Makes requests of one or several accounts, each from its source, and loads the deliveries that arrive.

    `log` takes a line for people.
    """

    def __init__(
        self,
        *sources: Source,
        landing: Landing,
        warehouse: Home,
        run_id: str,
        log: Log,
        progress: Progress | None = None,
    ) -> None:
        self._landing = landing
        self._warehouse = warehouse
        self._log = log
        self._progress = progress or Progress()
        self._fetchers = {
            source.account: Fetcher(
                source,
                landing=landing,
                warehouse=warehouse,
                run_id=run_id,
                log=log if len(sources) == 1 else partial(_say, log, source.account),
                progress=self._progress,
            )
            for source in sources
        }

    @property
    def ended(self) -> set[str]:
        """The accounts of which the API would refuse whatever else is asked."""
        return {account for account, fetcher in self._fetchers.items() if fetcher.has_ended}

    def run(self, requests: Sequence[PullRequest]) -> PullResult:
        """Fetch and load. Raises only what no delivery is to blame for: a locked warehouse, a full disk, a cancel."""
        result = PullResult()
        before = self._requests
        try:
            self._fetch_and_load(requests, result)
        except (WarehouseLocked, WarehouseUnusable):
            raise  # what has landed waits for the next run
        except BaseException:
            with contextlib.suppress(Exception):
                load_leftovers(self._warehouse, self._landing, self._log)
            raise
        result.requests = self._requests - before
        return result

    @property
    def _requests(self) -> int:
        return sum(fetcher.source.client.requests for fetcher in self._fetchers.values())

    def _fetch_and_load(self, requests: Sequence[PullRequest], result: PullResult) -> None:
        self._progress.plan(requests)
        lines, last_load = Lines(self._progress), time.monotonic()
        with ThreadPoolExecutor(_ARCHIVERS, "archive") as archive, contextlib.ExitStack() as stack:
            lanes = [
                (stack.enter_context(ThreadPoolExecutor(_FETCHERS, "fetch")), of_lane)
                for of_lane in self._lanes(requests)
            ]
            try:
                futures = {
                    threads.submit(self._fetch, request): request for threads, of_lane in lanes for request in of_lane
                }
                waiting, arrived, to_archive = set(futures), list[HashedDelivery](), list[Loaded]()
                while waiting or arrived:
                    done, waiting = wait(waiting, timeout=lines.until_next(), return_when=FIRST_COMPLETED)
                    arrived += self._arrived(done, futures, result)
                    pending_exports = {futures[future].export.name for future in waiting}
                    at_once = time.monotonic() - last_load >= _LOAD_AFTER_SECONDS
                    batch, arrived = _ready(arrived, pending_exports, at_once=at_once)
                    if batch:
                        loaded = load_and_quarantine(self._warehouse, self._landing, batch, result, self._log).loaded
                        self._progress.load(loaded)
                        to_archive += loaded
                        last_load = time.monotonic()
                    else:  # time to spare, since the API is slower than we are
                        self._archive(to_archive, archive)
                    if batch or lines.due():
                        self._log(lines.next() + self._left())
                self._archive(to_archive, archive)
            except BaseException:
                # Cancelled or broken: a request that waits for a silent server must not hold up the end.
                for fetcher in self._fetchers.values():
                    fetcher.cancel()
                for threads, _ in lanes:
                    threads.shutdown(cancel_futures=True)
                raise

    def _lanes(self, requests: Sequence[PullRequest]) -> list[list[PullRequest]]:
        """The requests that share their limits, each lane in the order in which they are made.

        Accounts of one lane take turns, and the one that has most to ask begins.
        """
        lanes: dict[str, dict[str, list[PullRequest]]] = {}
        for request in requests:
            lane = self._fetchers[request.account].source.lane or f"account {request.account}"
            lanes.setdefault(lane, {}).setdefault(request.account, []).append(request)
        in_turns = [zip_longest(*sorted(of_lane.values(), key=len, reverse=True)) for of_lane in lanes.values()]
        return [[request for turn in turns for request in turn if request] for turns in in_turns]

    def _fetch(self, request: PullRequest) -> HashedDelivery:
        return self._fetchers[request.account].fetch(request)

    def _left(self) -> str:
        """How much the limits leave; not told of several, for each has its own."""
        left = [fetcher.source.pacer.left_this_hour() for fetcher in self._fetchers.values()]
        return f", {counted(left[0], 'request')} left this hour" if len(left) == 1 else ""

    def _arrived(
        self,
        done: Iterable[Future[HashedDelivery]],
        futures: dict[Future[HashedDelivery], PullRequest],
        result: PullResult,
    ) -> list[HashedDelivery]:
        """The deliveries of finished fetches; failures are added to `result`."""
        deliveries = []
        for future in done:
            request = futures[future]
            log = self._fetchers[request.account].log
            self._progress.answer(request.export.name)
            try:
                deliveries.append(future.result())
            except Cancelled:
                result.failed.append(_failed(request, "not attempted", attempted=False))
            except (ScopeMissing, NoAccess) as error:
                attempted = not isinstance(error, NoAccess)
                result.failed.append(replace(_failed(request, str(error), attempted=attempted), no_access=True))
                if attempted:
                    log(f"{request.describe()} failed: {error}")
            except (SoundlinkError, NotBelieved, ValueError) as error:
                reason = ". ".join([str(error), *getattr(error, "__notes__", ())])
                result.failed.append(_failed(request, reason))
                log(f"{request.describe()} failed: {reason}")
        return deliveries

    def _archive(self, loaded: list[Loaded], archive: ThreadPoolExecutor) -> None:
        while loaded:
            item = loaded.pop()
            archive.submit(archive_quietly, self._landing, item.delivery, item.load_order)


def _failed(request: PullRequest, reason: str, *, attempted: bool = True) -> FailedPull:
    return FailedPull(
        request.export.name, request.subject_id, request.dates, reason, attempted, account=request.account
    )


def _say(log: Log, account: str, line: str) -> None:
    log(f"{account}: {line}")


def _ready(
    arrived: list[HashedDelivery], pending_exports: set[str], *, at_once: bool
) -> tuple[list[HashedDelivery], list[HashedDelivery]]:
    """A batch to load now, of one export, and the rest. Empty if it is better to wait for more."""
    for export in dict.fromkeys(item.delivery.export for item in arrived):
        own = [item for item in arrived if item.delivery.export == export]
        if at_once or export not in pending_exports or sum(item.size for item in own) >= _LOAD_AT_BYTES:
            batch = next(batches(own))
            taken = {id(item) for item in batch}
            return batch, [item for item in arrived if id(item) not in taken]
    return [], arrived
