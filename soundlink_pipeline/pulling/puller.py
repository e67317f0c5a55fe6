"""Makes a run's requests (`pulling/planning.py`) side by side, and loads the deliveries in batches as they arrive.

Fetching goes on while a batch is loaded. One failure does not cost the others; the result names what failed.
Whatever interrupts a run, every delivery that arrived whole is loaded, at the latest by the next run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING

from soundlink_pipeline.api.errors import ScopeMissing, SoundlinkError
from soundlink_pipeline.api.pacing import Cancelled, Pacer
from soundlink_pipeline.landing.deliveries import Delivery, HashedDelivery, digest_of
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.loading.batch import BATCH_BYTES, Loaded
from soundlink_pipeline.pulling.landed import archive_quietly, batches, load_and_quarantine, load_leftovers
from soundlink_pipeline.pulling.outcome import FailedPull, Log, PullResult
from soundlink_pipeline.pulling.planning import PullRequest
from soundlink_pipeline.pulling.progress import Lines, Progress
from soundlink_pipeline.pulling.shrinking import (
    NOTHING_HELD,
    HeldRows,
    NotBelieved,
    ShrunkenDay,
    describe,
    miss_the_same_keys,
)
from soundlink_pipeline.typed import typed
from soundlink_pipeline.warehouse.home import Home, WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.wording import counted

if TYPE_CHECKING:
    from soundlink_pipeline.api.client import SoundlinkClient


# Enough to hide the API's latency behind its limit of one request a second.
_FETCHERS = 3
_ARCHIVERS = 2
# The arrived deliveries of an export are loaded when no more are pending, or when they are this much, or when so long
# has passed since the last load. Few, large transactions are cheaper (each compresses the table's last rows again), but
# a long backfill should show its rows as it goes.
_LOAD_AT_BYTES = BATCH_BYTES * 15 // 16
_LOAD_AFTER_SECONDS = 10.0


class _NoAccess(Exception):
    """A request was not made, for another of its scope was refused; the message is that refusal's."""


class Puller:
    """Makes requests with one client, and loads the deliveries that arrive. `log` takes a line for people.

    An answer that holds far fewer rows than `held` is asked for once more; by default every answer is taken.
    """

    def __init__(
        self,
        client: SoundlinkClient,
        pacer: Pacer,
        *,
        landing: Landing,
        warehouse: Home,
        run_id: str,
        log: Log,
        held: HeldRows = NOTHING_HELD,
        progress: Progress | None = None,
    ) -> None:
        self._client = client
        self._pacer = pacer
        self._landing = landing
        self._warehouse = warehouse
        self._run_id = run_id
        self._log = log
        self._held = held
        self._progress = progress or Progress()
        self._refused_scopes: dict[str, ScopeMissing] = {}

    def run(self, requests: Sequence[PullRequest]) -> PullResult:
        """Fetch and load. Raises only what no delivery is to blame for: a locked warehouse, a full disk, a cancel."""
        result = PullResult()
        before = self._client.requests
        try:
            self._fetch_and_load(requests, result)
        except (WarehouseLocked, WarehouseUnusable):
            raise  # what has landed waits for the next run
        except BaseException:
            with contextlib.suppress(Exception):
                load_leftovers(self._warehouse, self._landing, self._log)
            raise
        result.requests = self._client.requests - before
        return result

    def _fetch_and_load(self, requests: Sequence[PullRequest], result: PullResult) -> None:
        self._progress.plan(requests)
        lines, last_load = Lines(self._progress), time.monotonic()
        with ThreadPoolExecutor(_ARCHIVERS, "archive") as archive, ThreadPoolExecutor(_FETCHERS, "fetch") as fetchers:
            try:
                futures = {fetchers.submit(self._fetch, request): request for request in requests}
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
                        self._log(lines.next() + f", {counted(self._pacer.left_this_hour(), 'request')} left this hour")
                self._archive(to_archive, archive)
            except BaseException:
                # Cancelled or broken: a request that waits for a silent server must not hold up the end.
                self._pacer.cancelled.set()
                self._client.abort()
                fetchers.shutdown(cancel_futures=True)
                raise

    def _fetch(self, request: PullRequest) -> HashedDelivery:
        """One delivery, landed. Raises SoundlinkError, Cancelled, NotBelieved, ValueError, WarehouseLocked."""
        if refused := self._refused_scopes.get(request.export.scope):
            raise _NoAccess(str(refused))
        try:
            with self._answer(request) as answer:
                shrunken = self._held.shrunken_days(request, answer.delivery.path)
                return self._confirmed(request, answer, shrunken) if shrunken else self._landed(answer)
        except ScopeMissing as error:
            # The API would refuse its others just so; those that are under way say it in the words of the first.
            raise self._refused_scopes.setdefault(request.export.scope, error) from None
        except SoundlinkError as error:
            if error.fatal:
                self._pacer.cancelled.set()  # the API would refuse all others just so
            raise

    @contextlib.contextmanager
    def _answer(self, request: PullRequest) -> Iterator[HashedDelivery]:
        """What the API answers, whole and under a temporary name, which is free again when the block ends."""
        temporary = self._landing.temporary_file()
        try:
            download = self._client.download(
                request.export,
                request.subject_id,
                request.dates,
                temporary,
                received=lambda size: self._progress.receive(request.export.name, size),
            )
            delivery = Delivery(
                export=request.export.name,
                subject_id=request.subject_id,
                dates=request.dates,
                requested_at=download.requested_at,
                received_at=download.received_at,
                server_date=download.server_date,
                declared_rows=download.declared_rows,
                run_id=self._run_id,
                path=temporary,
                digest=digest_of(download.sha256),
            )
            yield HashedDelivery.of(delivery, (download.bytes, download.sha256))
        finally:
            temporary.unlink(missing_ok=True)

    def _landed(self, answer: HashedDelivery) -> HashedDelivery:
        return replace(answer, delivery=self._landing.land(answer.delivery))

    def _confirmed(
        self, request: PullRequest, first: HashedDelivery, shrunken: Sequence[ShrunkenDay]
    ) -> HashedDelivery:
        """A second answer, landed: if it is whole, or misses the same keys as the `first`. Else none is taken."""
        what = f"the first answer holds {describe(shrunken)} that the warehouse holds"
        self._log(f"{request.describe()}: {what}; asked for once more")
        with contextlib.ExitStack() as stack:
            try:
                second = stack.enter_context(self._answer(request))
            except SoundlinkError as error:
                error.add_note(f"This was the second request: {what}, and is not taken without another like it")
                raise
            answers = (first.delivery.path, second.delivery.path)
            again = self._held.shrunken_days(request, second.delivery.path)
            if not again:
                self._log(f"{request.describe()}: the second answer is taken, the first was dropped")
                return self._landed(second)
            subjects = [self._held.subject_of(request, answer) for answer in answers]
            if miss_the_same_keys(self._warehouse, request.export, request.dates, subjects, answers):
                self._log(f"{request.describe()}: the second answer misses the same rows, and is believed")
                return self._landed(second)
            reason = (
                f"{what}, and the second one {describe(again)}, but other ones: neither is taken. Pull"
                " again; if Soundlink says that so few rows are right, with accept_smaller: true in the run's config"
                f" ({typed('pull --from=… --to=… --refetch --accept-smaller')})"
            )
            kept = {self._landing.refuse(answer.delivery, reason).parent for answer in (first, second)}
            raise NotBelieved(f"{reason}; both are kept in {', '.join(map(str, kept))}")

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
            self._progress.answer(request.export.name)
            try:
                deliveries.append(future.result())
            except Cancelled:
                result.failed.append(_failed(request, "not attempted", attempted=False))
            except (ScopeMissing, _NoAccess) as error:
                attempted = not isinstance(error, _NoAccess)
                result.failed.append(replace(_failed(request, str(error), attempted=attempted), no_access=True))
                if attempted:
                    self._log(f"{request.describe()} failed: {error}")
            except (SoundlinkError, NotBelieved, ValueError) as error:
                reason = ". ".join([str(error), *getattr(error, "__notes__", ())])
                result.failed.append(_failed(request, reason))
                self._log(f"{request.describe()} failed: {reason}")
        return deliveries

    def _archive(self, loaded: list[Loaded], archive: ThreadPoolExecutor) -> None:
        while loaded:
            item = loaded.pop()
            archive.submit(archive_quietly, self._landing, item.delivery, item.load_order)


def _failed(request: PullRequest, reason: str, *, attempted: bool = True) -> FailedPull:
    return FailedPull(request.export.name, request.subject_id, request.dates, reason, attempted)


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
