"""Details: the fields that the API gives only of one campaign or soundlink by itself, one request each.

A run asks for them once its exports are there, of what is new or has changed (`Subject.lacks_details`), newest first.
It never waits for them, and never fails for want of them: what did not come is asked for by the next run. What came is
landed, for it is not asked for again.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice
from typing import TYPE_CHECKING

from soundlink_pipeline.api.errors import RateLimited, ScopeMissing, SoundlinkError, Unreachable
from soundlink_pipeline.api.pacing import Cancelled, Pacer
from soundlink_pipeline.contracts.subject import Item, Subject
from soundlink_pipeline.landing.deliveries import Listing
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.landing.stored import DamagedFile
from soundlink_pipeline.loading.listing import save_details
from soundlink_pipeline.pulling.landed import set_aside
from soundlink_pipeline.pulling.outcome import Log
from soundlink_pipeline.warehouse.home import Home, WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.wording import counted

if TYPE_CHECKING:
    from soundlink_pipeline.api.client import SoundlinkClient

# In a run. A twelfth of what the API takes of an account in an hour, and fewer than it takes in a minute, so that the
# run after this one lists at once: forty daily refreshes fill an account of 2,000 campaigns.
MOST_PER_ACCOUNT = 50
# Of all accounts together: details are small beside the exports, however many accounts a run has.
MOST_PER_RUN = 200
# What comes after a run's exports waits no longer for details, however slow the API is.
_LONGEST_SECONDS = 30.0


@dataclass(frozen=True)
class Lacking:
    """One whose details are to be asked for, as it is listed."""

    subject: Subject
    item: Item


def lacking_details(ledger: Ledger, listed: Mapping[Subject, Iterable[Item]], account: str) -> list[Lacking]:
    """Those of an account that are `listed` and whose details are not there, or stale; the newest first."""
    found = [
        Lacking(subject, item)
        for subject, items in listed.items()
        if subject.details
        for had_for in [ledger.details_had_for(subject, account)]
        for item in items
        if subject.lacks_details(item, had_for.get(subject.id_of(item)))
    ]
    return sorted(found, key=lambda one: one.subject.created_on(one.item) or date.min, reverse=True)


def places(lacking: Sequence[int]) -> list[int]:
    """How many details a run asks of each account, by how many each lacks: at least one, and the same of all.

    What an account does not need of its share goes to those that lack more.
    """
    given, left = [0] * len(lacking), MOST_PER_RUN
    for others, index in enumerate(sorted(range(len(lacking)), key=lambda index: lacking[index])):
        share = max(1, left // (len(lacking) - others))
        given[index] = min(lacking[index], MOST_PER_ACCOUNT, share)
        left -= given[index]
    return given


def _in_turn(lacking: Sequence[Lacking], most: int, run_id: str) -> list[Lacking]:
    """Newest first, but for the last fifth of a run's places, which go by lot: new ones that always fail bar nobody.

    With fewer than five places the lot decides in as many runs whether the last one goes by it.
    """
    lot = random.Random(run_id)  # noqa: S311  # a lot, no secret
    first = most - int(most / 5 + lot.random())
    newest, older = list(lacking[:first]), list(lacking[first:])
    lot.shuffle(older)
    return newest + older


class Details:
    """Asks for the details of an account and lands them. `client` asks once, and `pacer` never waits."""

    def __init__(
        self, client: SoundlinkClient, pacer: Pacer, landing: Landing, *, account: str, run_id: str, log: Log
    ) -> None:
        self._client, self._pacer, self._landing = client, pacer, landing
        self._account, self._run_id, self._log = account, run_id, log
        self._lines: dict[Subject, list[bytes]] = {}
        self._refused: set[Subject] = set()
        self._failures: list[str] = []
        self._server_date: datetime | None = None

    def ask(self, lacking: Sequence[Lacking], most: int) -> list[tuple[Subject, Listing]]:
        """Ask for at most so many, and land what comes: a file for each subject."""
        if not lacking:
            return []
        requested_at = datetime.now(UTC)
        timer = threading.Timer(_LONGEST_SECONDS, self.stop)
        timer.start()
        try:
            not_refused = (one for one in _in_turn(lacking, most, self._run_id) if one.subject not in self._refused)
            for one in islice(not_refused, most):
                if not self._ask(one):
                    break
        finally:
            timer.cancel()
        self._say(lacking)
        try:
            return [(subject, self._land(subject, requested_at)) for subject in self._lines]
        except OSError as error:
            self._log(f"the details could not land, and are asked for again: {error}")
            return []

    def stop(self) -> None:
        """End the request that is under way, and make no other."""
        self._pacer.cancelled.set()
        self._client.abort()

    def _land(self, subject: Subject, requested_at: datetime) -> Listing:
        lines, run_id = self._lines[subject], self._run_id
        return self._landing.land_details(
            subject, lines, requested_at, self._server_date, run_id, account=self._account
        )

    def _ask(self, one: Lacking) -> bool:
        """Whether another request makes sense."""
        subject, listed_id = one.subject, one.subject.id_of(one.item)
        try:
            detail, date = self._client.dated_item(subject, listed_id)
            kept = {subject.id_field: listed_id, "listed": one.item, "detail": detail}
            # ValueError: what is no JSON, or no text, though Python's parser lets it pass.
            line = json.dumps(kept, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except Cancelled:
            return False
        except (SoundlinkError, ValueError) as error:
            self._failures.append(f"{subject.name} {listed_id}: {error}")
            if isinstance(error, ScopeMissing):
                self._refused.add(subject)  # the key may have the scope of the others
            return not isinstance(error, (RateLimited, Unreachable)) and not getattr(error, "fatal", False)
        self._server_date = self._server_date or date
        self._lines.setdefault(subject, []).append(line)
        return True

    def _say(self, lacking: Sequence[Lacking]) -> None:
        came = sum(len(lines) for lines in self._lines.values())
        left = len(lacking) - came
        said = f"details: {came} of {len(lacking)} came"
        if left:
            said += f", {left} {'is' if left == 1 else 'are'} left to the next runs"
        if self._failures:
            said += f"; {counted(len(self._failures), 'request')} failed, the first of {self._failures[0]}"
        self._log(said)


def keep_details(warehouse: Home, landing: Landing, landed: Sequence[tuple[Subject, Listing]], log: Log) -> None:
    """Save landed details. Where that cannot be now, `keep_landed_details` of the next run does it."""
    if not landed:
        return
    saved = list[Listing]()
    try:
        with warehouse.write() as connection:
            for subject, details in landed:
                try:
                    save_details(connection, subject, details)
                    saved.append(details)
                except DamagedFile as damage:
                    log(f"{damage}; {set_aside(landing, details, damage)}. They are asked for again")
    except (WarehouseLocked, WarehouseUnusable) as error:
        log(f"details have landed and are saved by the next run: {error}")
        return
    for details in saved:
        with suppress(OSError, DamagedFile):
            landing.archive_listing(details)


def keep_landed_details(warehouse: Home, landing: Landing, subjects: Iterable[Subject], log: Log) -> None:
    """Save the details that an earlier run landed and did not save."""
    landed = [
        (subject, details)
        for subject in subjects
        if subject.details
        for details in landing.details(subject)
        if not details.archived
    ]
    keep_details(warehouse, landing, landed, log)
