"""What a run goes by: its campaigns and soundlinks, listed by the API once a run, landed, saved to the warehouse."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from soundlink_pipeline.api.errors import RequestRefused, ScopeMissing, SoundlinkError
from soundlink_pipeline.contracts.account import DEFAULT_ACCOUNT
from soundlink_pipeline.contracts.exports import subjects_of
from soundlink_pipeline.contracts.subject import Listed, Subject, left_out
from soundlink_pipeline.landing.deliveries import Listing
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.landing.stored import DamagedFile
from soundlink_pipeline.loading.listing import save_listing
from soundlink_pipeline.pulling.landed import set_aside
from soundlink_pipeline.pulling.outcome import Log
from soundlink_pipeline.warehouse.accounts import ExpectedAccount
from soundlink_pipeline.warehouse.home import Home
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.warehouse.renamed import AccountRenamed, keep_accounts
from soundlink_pipeline.warehouse.row_ids import note_row_ids
from soundlink_pipeline.wording import counted

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
    account: str = DEFAULT_ACCOUNT,
    only: Sequence[str] = (),
    log: Log = lambda _: None,
) -> Listing:
    """An account's landed listing of this run: fixed to the ids `only`, or else listed by the API.

    `lineage` is the run and those it resumes: what one of them has listed is not requested again. A damaged listing is
    set aside, and the one before it stands. Raises SoundlinkError.
    """
    fixed = [{subject.id_field: listed_id} for listed_id in only]
    landed = [item for item in landing.listings(subject, account) if item.run_id in lineage]
    for earlier in reversed(landed):
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
    return landing.land_listing(subject, lines, found.requested_at, found.server_date, run_id, account=account)


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


@dataclass(frozen=True)
class Named:
    """Those that the settings name: sentences on the days before the first partition, and by id why some are `refused`.

    The refused ones are not in the sentences: the API knows no such id.
    """

    left_out: list[str]
    refused: dict[str, RequestRefused]


def look_up_named(
    client: SoundlinkClient,
    subject: Subject,
    ids: Sequence[str],
    start_date: date,
    *,
    setting: str,
    first_day_setting: str,
) -> Named:
    """Look up each of those that the settings name: nothing lists them, so that nothing else tells of them.

    `setting` is the one that names them, and `first_day_setting` that of `start_date`, as sentences call them. Makes a
    request for each, until one says that no other will work.
    """
    found, reason, refused = list[dict[str, Any]](), "no createdAt that can be read", dict[str, RequestRefused]()
    for listed_id in ids:
        try:
            found.append(client.item(subject, listed_id))
        except SoundlinkError as error:
            if isinstance(error, RequestRefused):
                refused[listed_id] = error
                continue
            reason = str(error)
            if error.fatal or isinstance(error, ScopeMissing):
                break
    unknown = len(ids) - len(refused) - sum(subject.created_on(item) is not None for item in found)
    named = f"{counted(len(ids), subject.name)} in {setting}"
    sentences = [left_out(subject, found, start_date, first_day_setting)]
    if unknown:
        sentences.append(_left_out_is_unknown(f"{unknown} of {named}", start_date, first_day_setting, reason))
    return Named([sentence for sentence in sentences if sentence], refused)


def _left_out_is_unknown(whom: str, start_date: date, setting: str, reason: str) -> str:
    """A sentence about those that a setting names and of which nobody knows when they were created."""
    return (
        f"whether days before {setting} ({start_date}) are left out is not known of {whom}, because"
        f" the API does not say when they were created: {reason}. Look it up in Soundlink, and set {setting}"
        " to the earliest day that you need"
    )


def save_and_ask(
    warehouse: Home,
    landing: Landing,
    listings: Iterable[tuple[Subject, Listing]],
    question: Callable[[Ledger], T],
    accounts: Sequence[ExpectedAccount] = (),
) -> T:
    """Save landed listings, unless that was done, and ask the ledger what a run must know before it pulls.

    `accounts` are those that the settings name; they are kept, too. Opens the warehouse once. The file of a listing
    that is saved now gets another name: read its `items` before. Raises AccountRenamed, with that account's listings
    set aside; WarehouseLocked, WarehouseUnusable.
    """
    new = [(subject, listing) for subject, listing in listings if not listing.archived]
    if not new and warehouse.exists():
        with warehouse.read() as connection:
            return question(Ledger(connection))
    with warehouse.write() as connection:
        if accounts:
            listed = [(listing.account, subject, listing.items(subject)) for subject, listing in new]
            try:
                keep_accounts(connection, listed, accounts, subjects_of(warehouse.exports))
            except AccountRenamed as error:
                for _, listing in new:
                    if listing.account == error.account:
                        landing.refuse_listing(listing, str(error))
                raise
        for subject, listing in new:
            save_listing(connection, subject, listing)
        note_row_ids(connection, warehouse.exports)  # of what was pulled before it was listed
        answer = question(Ledger(connection))
    for _, listing in new:
        landing.archive_listing(listing)
    return answer
