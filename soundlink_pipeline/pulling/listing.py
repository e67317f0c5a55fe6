"""What a run goes by: its campaigns and soundlinks, listed by the API once a run, landed, saved to the warehouse."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from soundlink_pipeline.api.errors import ScopeMissing, SoundlinkError
from soundlink_pipeline.contracts.subject import Listed, Subject, left_out
from soundlink_pipeline.landing.deliveries import Listing
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.landing.stored import DamagedFile
from soundlink_pipeline.loading.listing import save_listing
from soundlink_pipeline.pulling.landed import set_aside
from soundlink_pipeline.pulling.outcome import Log
from soundlink_pipeline.warehouse.home import Home
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.warehouse.row_ids import note_row_ids

if TYPE_CHECKING:
    from soundlink_pipeline.api.client import SoundlinkClient

T = TypeVar("T")


def list_subject(
    client: SoundlinkClient,
    subject: Subject,
    landing: Landing,
    *,
    run_id: str,
    lineage: Sequence[str],
    only: Sequence[str] = (),
    log: Log = lambda _: None,
) -> Listing:
    """The landed listing of this run: fixed to the ids `only`, or else listed by the API. Raises SoundlinkError.

    `lineage` is the run and those it resumes: what one of them has listed is not requested again. A damaged listing is
    set aside, and the one before it stands.
    """
    fixed = [{subject.id_field: listed_id} for listed_id in only]
    for earlier in reversed([listing for listing in landing.listings(subject) if listing.run_id in lineage]):
        try:
            items = earlier.items(subject)
        except DamagedFile as damage:
            log(f"{damage}; {set_aside(landing, earlier, damage)}")
            continue
        # Within a run no setting changes. An API may list ids alone, as the settings do, and is asked again then.
        of_other_run = earlier.run_id != run_id
        named = of_other_run and bool(items) and all(item.keys() == {subject.id_field} for item in items)
        if items == fixed or not (fixed or named):
            return earlier
        break  # the setting is another by now
    found = Listed(fixed, datetime.now(UTC), _server_time(client)) if fixed else client.listed(subject)
    lines = [json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode() for item in found.items]
    return landing.land_listing(subject, lines, found.requested_at, found.server_date, run_id)


def _server_time(client: SoundlinkClient) -> datetime | None:
    """The server's time, which orders listings and says which days have closed; None if a ping does not tell.

    Raises SoundlinkError if no other request will work.
    """
    try:
        return client.ping()
    except SoundlinkError as error:
        if error.fatal:
            raise
        return None


def left_out_of_named(
    client: SoundlinkClient, subject: Subject, ids: Sequence[str], start_date: date
) -> tuple[str | None, str | None]:
    """Two sentences about those that the settings name: `left_out`, and of how many that is not known.

    Either is None where there is nothing to say. Makes a request for each, until one says that no other will work:
    nothing lists them, so that nothing else tells when they were created.
    """
    found, reason = list[dict[str, Any]](), "no createdAt that can be read"
    for listed_id in ids:
        try:
            found.append(client.item(subject, listed_id))
        except SoundlinkError as error:
            reason = str(error)
            if error.fatal or isinstance(error, ScopeMissing):
                break
    unknown = len(ids) - sum(subject.created_on(item) is not None for item in found)
    return (
        left_out(subject, found, start_date),
        _left_out_is_unknown(len(ids), unknown, start_date, reason) if unknown else None,
    )


def _left_out_is_unknown(named: int, unknown: int, start_date: date, reason: str) -> str:
    """A sentence about campaigns that SOUNDLINK_CAMPAIGN_IDS names and of which nobody knows when they were created."""
    return (
        f"whether days before SOUNDLINK_START_DATE ({start_date}) are left out is not known of {unknown} of the {named}"
        f" campaigns in SOUNDLINK_CAMPAIGN_IDS, because the API does not say when they were created: {reason}. Look it"
        " up in Soundlink, and set SOUNDLINK_START_DATE to the earliest day that you need"
    )


def save_and_ask(
    warehouse: Home, landing: Landing, listings: Mapping[Subject, Listing], question: Callable[[Ledger], T]
) -> T:
    """Save landed listings, unless that was done, and ask the ledger what a run must know before it pulls.

    Opens the warehouse once. The file of a listing that is saved now gets another name: read its `items` before. Raises
    WarehouseLocked, WarehouseUnusable.
    """
    new = {subject: listing for subject, listing in listings.items() if not listing.archived}
    if not new and warehouse.exists():
        with warehouse.read() as connection:
            return question(Ledger(connection))
    with warehouse.write() as connection:
        for subject, listing in new.items():
            save_listing(connection, subject, listing)
        note_row_ids(connection, warehouse.exports)  # of what was pulled before it was listed
        answer = question(Ledger(connection))
    for listing in new.values():
        landing.archive_listing(listing)
    return answer
