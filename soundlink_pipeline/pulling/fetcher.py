"""Fetches the deliveries of one account: asked for, held against what the warehouse holds, landed.

Thread-safe: several threads make an account's requests. What the API would refuse just so again is not asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from soundlink_pipeline.api.errors import ScopeMissing, SoundlinkError
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.contracts.account import DEFAULT_ACCOUNT
from soundlink_pipeline.landing.deliveries import Delivery, HashedDelivery, digest_of
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.pulling.outcome import Log
from soundlink_pipeline.pulling.planning import PullRequest
from soundlink_pipeline.pulling.progress import Progress
from soundlink_pipeline.pulling.shrinking import (
    NOTHING_HELD,
    HeldRows,
    NotBelieved,
    ShrunkenDay,
    describe,
    miss_the_same_keys,
)
from soundlink_pipeline.typed import typed
from soundlink_pipeline.warehouse.home import Home

if TYPE_CHECKING:
    from soundlink_pipeline.api.client import SoundlinkClient


class NoAccess(Exception):
    """A request was not made, for another of its scope was refused; the message is that refusal's."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """An account as a pull sees it: who asks, within which limits, and what is `held` of it.

    An answer that holds far fewer rows than `held` is asked for once more; by default every answer is taken. Accounts
    of one `lane` share their limits, though not the pacer, which also tells when an account has ended; without a lane
    it has limits of its own.
    """

    client: SoundlinkClient
    pacer: Pacer
    account: str = DEFAULT_ACCOUNT
    lane: str | None = None
    held: HeldRows = NOTHING_HELD


class Fetcher:
    """Fetches from one source; `log` takes a line for people."""

    def __init__(
        self, source: Source, *, landing: Landing, warehouse: Home, run_id: str, log: Log, progress: Progress
    ) -> None:
        self.source = source
        self._client = source.client
        self._held = source.held
        self._landing = landing
        self._warehouse = warehouse
        self._run_id = run_id
        self.log = log
        self._progress = progress
        self._refused_scopes: dict[str, ScopeMissing] = {}

    def cancel(self) -> None:
        """End every request now, also one that waits for a silent server."""
        self.source.pacer.cancelled.set()
        self._client.abort()

    @property
    def has_ended(self) -> bool:
        """Whether the API would refuse whatever else is asked, or the pull was cancelled."""
        return self.source.pacer.cancelled.is_set()

    def fetch(self, request: PullRequest) -> HashedDelivery:
        """One delivery, landed. Raises SoundlinkError, Cancelled, NotBelieved, ValueError, WarehouseLocked."""
        if refused := self._refused_scopes.get(request.export.scope):
            raise NoAccess(str(refused))
        try:
            with self._answer(request) as answer:
                shrunken = self._held.shrunken_days(request, answer.delivery.path)
                return self._confirmed(request, answer, shrunken) if shrunken else self._landed(answer)
        except ScopeMissing as error:
            # The API would refuse its others just so; those that are under way say it in the words of the first.
            raise self._refused_scopes.setdefault(request.export.scope, error) from None
        except SoundlinkError as error:
            if error.fatal:
                self.source.pacer.cancelled.set()  # the API would refuse all others of this account just so
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
                account=self.source.account,
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
        self.log(f"{request.describe()}: {what}; asked for once more")
        with contextlib.ExitStack() as stack:
            try:
                second = stack.enter_context(self._answer(request))
            except SoundlinkError as error:
                error.add_note(f"This was the second request: {what}, and is not taken without another like it")
                raise
            answers = (first.delivery.path, second.delivery.path)
            again = self._held.shrunken_days(request, second.delivery.path)
            if not again:
                self.log(f"{request.describe()}: the second answer is taken, the first was dropped")
                return self._landed(second)
            subjects = [self._held.subject_of(request, answer) for answer in answers]
            if miss_the_same_keys(self._warehouse, request.export, request.dates, subjects, answers):
                self.log(f"{request.describe()}: the second answer misses the same rows, and is believed")
                return self._landed(second)
            reason = (
                f"{what}, and the second one {describe(again)}, but other ones: neither is taken. Pull"
                " again; if Soundlink says that so few rows are right, with accept_smaller: true in the run's config"
                f" ({typed('pull --from=… --to=… --refetch --accept-smaller')})"
            )
            kept = {self._landing.refuse(answer.delivery, reason).parent for answer in (first, second)}
            raise NotBelieved(f"{reason}; both are kept in {', '.join(map(str, kept))}")
