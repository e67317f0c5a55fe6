"""The campaigns that a run goes by: listed by the API once a run, landed, and saved to the warehouse."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from soundlink_pipeline.api.errors import SoundlinkError
from soundlink_pipeline.contracts.campaigns import CampaignPages, created_on, left_out, left_out_is_unknown
from soundlink_pipeline.landing.deliveries import Listing
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.landing.stored import DamagedFile
from soundlink_pipeline.loading.listing import save_listing
from soundlink_pipeline.pulling.landed import set_aside
from soundlink_pipeline.pulling.outcome import Log
from soundlink_pipeline.warehouse.home import Home
from soundlink_pipeline.warehouse.ledger import Ledger

if TYPE_CHECKING:
    from soundlink_pipeline.api.client import SoundlinkClient

T = TypeVar("T")


def list_campaigns(
    client: SoundlinkClient,
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
    fixed = [{"campaignId": campaign_id} for campaign_id in only]
    for earlier in reversed([listing for listing in landing.listings() if listing.run_id in lineage]):
        try:
            items = earlier.items()
        except DamagedFile as damage:
            log(f"{damage}; {set_aside(landing, earlier, damage)}")
            continue
        named = bool(items) and all(item.keys() == {"campaignId"} for item in items)
        if items == fixed or not (fixed or named):
            return earlier
        break  # the setting is another by now
    pages = CampaignPages(fixed, datetime.now(UTC), _server_time(client)) if fixed else client.campaigns()
    lines = [json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode() for item in pages.items]
    return landing.land_listing(lines, pages.requested_at, pages.server_date, run_id)


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
    client: SoundlinkClient, campaign_ids: Sequence[str], start_date: date
) -> tuple[str | None, str | None]:
    """Two sentences about campaigns that the settings name: `left_out`, and of how many that is not known.

    Either is None where there is nothing to say. Makes a request for each, until one says that no other will work:
    nothing lists these campaigns, so that nothing else tells when they were created.
    """
    found, reason = list[dict[str, Any]](), "no createdAt that can be read"
    for campaign_id in campaign_ids:
        try:
            found.append(client.campaign(campaign_id))
        except SoundlinkError as error:
            reason = str(error)
            if error.fatal:
                break
    unknown = len(campaign_ids) - sum(created_on(campaign) is not None for campaign in found)
    return (
        left_out(found, start_date),
        left_out_is_unknown(len(campaign_ids), unknown, start_date, reason) if unknown else None,
    )


def save_and_ask(warehouse: Home, landing: Landing, listing: Listing, question: Callable[[Ledger], T]) -> T:
    """Save a landed listing, unless that was done, and ask the ledger what a run must know before it pulls.

    Opens the warehouse once. The file of a listing that is saved now gets another name: read its `items` before. Raises
    WarehouseLocked, WarehouseUnusable.
    """
    if listing.archived and warehouse.exists():
        with warehouse.read() as connection:
            return question(Ledger(connection))
    with warehouse.write() as connection:
        save_listing(connection, listing)
        answer = question(Ledger(connection))
    landing.archive_listing(listing)
    return answer
