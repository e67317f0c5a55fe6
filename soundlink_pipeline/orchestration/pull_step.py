"""What the steps that request anything share: a client, the listing, a plan; and the pulling itself.

The assets they serve are in `orchestration/export_assets.py`; how requests are made and loaded is in `pulling/`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from soundlink_pipeline.api.errors import ScopeMissing
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import subjects_of
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.subject import Item, Subject, left_out
from soundlink_pipeline.landing.deliveries import Listing
from soundlink_pipeline.orchestration.failures import as_operator_failure
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import run_lineage
from soundlink_pipeline.pulling.landed import load_leftovers
from soundlink_pipeline.pulling.listing import left_out_of_named, list_subject, save_and_ask
from soundlink_pipeline.pulling.outcome import FailedPull, PullResult
from soundlink_pipeline.pulling.planning import Plan, PullRequest
from soundlink_pipeline.pulling.progress import Progress
from soundlink_pipeline.pulling.puller import Puller
from soundlink_pipeline.pulling.shrinking import NOTHING_HELD, HeldRows
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.wording import counted, in_words

if TYPE_CHECKING:
    from soundlink_pipeline.api.client import SoundlinkClient


@contextmanager
def open_client(context: dg.AssetExecutionContext, soundlink: Soundlink) -> Iterator[tuple["SoundlinkClient", Pacer]]:
    """The step's client; a key or a URL that cannot be one fails the step with that sentence."""
    with ExitStack() as stack:
        with as_operator_failure(ValueError):
            made = stack.enter_context(soundlink.connect(context.log.info))
        yield made


# By the table of a subject, the ids that a run is limited to; without any it is not limited.
Only = Mapping[str, Collection[str]]
NO_LIMIT: Only = {}


@dataclass(frozen=True)
class Pulled:
    """What a step has pulled: the result, and of how many of each subject rows can be in its range, by name.

    `left_out`: the exports that the key gives no access to and that were never pulled, by name, each with why.
    """

    result: PullResult
    in_range: Mapping[str, int]
    left_out: Mapping[str, str]


def named_ids(settings: Settings, subject: Subject) -> tuple[str, ...]:
    """The ids that the settings name of a subject; none: all that the key sees."""
    return settings.campaign_ids if subject.name == CAMPAIGN.name else ()


def list_for_run(
    context: dg.AssetExecutionContext, soundlink: Soundlink, client: "SoundlinkClient", subject: Subject
) -> Listing:
    """What a run goes by: as an earlier step of it listed it, or as the API does now."""
    return list_subject(
        client,
        subject,
        soundlink.landing,
        run_id=context.run.run_id,
        lineage=run_lineage(context),
        only=named_ids(soundlink.settings, subject),
        log=context.log.warning,
    )


def _describe(planned: Plan, soundlink: Soundlink, pacer: Pacer) -> str:
    settings = soundlink.settings
    return planned.describe(
        per_minute=settings.requests_per_minute,
        per_hour=settings.requests_per_hour,
        left_this_hour=pacer.left_this_hour(),
    )


def _left_out(client: "SoundlinkClient", subject: Subject, items: Sequence[Item], settings: Settings) -> list[str]:
    """What a first run says of days before the first partition."""
    if ids := named_ids(settings, subject):
        sentences = left_out_of_named(client, subject, ids, settings.start_date)
    else:
        sentences = left_out(subject, items, settings.start_date), None
    return [sentence for sentence in sentences if sentence]


def _list_all(
    context: dg.AssetExecutionContext, soundlink: Soundlink, client: "SoundlinkClient", exports: Sequence[Export]
) -> tuple[dict[Subject, Listing], dict[Subject, ScopeMissing]]:
    """The listings that the key gives access to; and why it gives none to others."""
    listings, refused = dict[Subject, Listing](), dict[Subject, ScopeMissing]()
    for subject in subjects_of(exports):
        try:
            listings[subject] = list_for_run(context, soundlink, client, subject)
        except ScopeMissing as error:
            refused[subject] = error
    if not listings and refused:
        raise next(iter(refused.values()))
    return listings, refused


def _chosen(listings: Mapping[Subject, Listing], only: Only) -> dict[Subject, list[Item]]:
    """What of the listings is pulled: all, or what is `only` wanted. Raises dg.Failure for what is not listed."""
    chosen: dict[Subject, list[Item]] = {}
    for subject, listing in listings.items():
        wanted, items = set(only.get(subject.table, ())), listing.items(subject)
        if unlisted := sorted(wanted - {subject.id_of(item) for item in items}):
            raise dg.Failure(f"no {subject.name} of this id is listed: {', '.join(unlisted)}", allow_retries=False)
        chosen[subject] = [item for item in items if not any(only.values()) or subject.id_of(item) in wanted]
    return chosen


def _without_access(exports: Sequence[Export], result: PullResult, pulled_before: Collection[str]) -> dict[str, str]:
    """Of the `exports` those that were never pulled and that the key gives no access to, each with why.

    They are no failures of the result. One that was pulled before goes stale, and a key that opens none of them is of
    no use: then the failures are the run's.
    """
    left = {item.export: item.reason for item in result.failed if item.no_access and item.export not in pulled_before}
    if len(left) == len(exports):
        return {}
    result.failed = [item for item in result.failed if not (item.no_access and item.export in left)]
    return left


def pull_range(
    context: dg.AssetExecutionContext,
    soundlink: Soundlink,
    exports: Sequence[Export],
    dates: DateRange,
    *,
    refetch: bool,
    accept_smaller: bool,
    only: Only = NO_LIMIT,
) -> Pulled:
    """Pull and load the range.

    With `accept_smaller` an answer is taken however few rows it holds. `only` limits the pull to these ids.
    """
    progress = soundlink.progress = Progress()
    log, later = context.log.info, list[str]()
    leftovers = load_leftovers(soundlink.warehouse, soundlink.landing, later.append)
    with open_client(context, soundlink) as (client, pacer):
        lineage = run_lineage(context)
        listings, refused = _list_all(context, soundlink, client, exports)
        listed, pullable = _chosen(listings, only), [export for export in exports if export.subject in listings]
        first_day, now = soundlink.settings.start_date, min(listing.listed_at for listing in listings.values())

        def plan(ledger: Ledger, given_up: Collection[tuple[str, str]] = ()) -> tuple[Plan, HeldRows]:
            """What the run is to request, and which rows are held of that."""
            so_far = ledger.pulled_so_far(pullable, dates, lineage, settled=not refetch)
            planned = Plan(pullable, listed, dates, so_far, now=now, first_day=first_day, given_up=given_up)
            return planned, NOTHING_HELD if accept_smaller else HeldRows.before(ledger, planned.missing)

        def pull(requests: Sequence[PullRequest], held: HeldRows) -> PullResult:
            return Puller(
                client,
                pacer,
                landing=soundlink.landing,
                warehouse=soundlink.warehouse,
                run_id=context.run.run_id,
                log=log,
                held=held,
                progress=progress,
            ).run(requests)

        planned, held = save_and_ask(soundlink.warehouse, soundlink.landing, listings, plan)
        log(_describe(planned, soundlink, pacer))  # first, so that the operator knows how long it takes
        if not planned.pulled_before and not any(only.values()):
            for subject, items in listed.items():
                for line in _left_out(client, subject, items, soundlink.settings):
                    log(line)
        for line in later:
            log(line)
        result, further = pull(planned.missing, held), planned
        made = {request.identity for request in planned.missing}
        while not pacer.cancelled.is_set() and further.may_go_on(result.with_rows):
            failed = {(item.export, item.subject_id) for item in result.failed}
            with soundlink.warehouse.read() as connection:
                further, held = plan(Ledger(connection), failed)
            more = [request for request in further.missing if request.identity not in made]
            if not more:
                break
            log(f"{counted(len(more), 'further request')}, for what is over and still has rows")
            result.add(pull(more, held))
            made |= {request.identity for request in more}
        result.requests = client.requests
    for export in exports:
        if why := refused.get(export.subject):
            result.failed.append(FailedPull(export.name, "", dates, str(why), no_access=True))
    left = _without_access(exports, result, planned.pulled_before)
    for reason in dict.fromkeys(left.values()):
        names = in_words([name for name, of_it in left.items() if of_it == reason])
        context.log.warning(f"{names} left out: {reason}")
    result.loaded[:0] = leftovers.loaded
    result.failed[:0] = leftovers.failed
    progress.result = result
    for export in exports:
        if unknown := result.of(export).unknown_fields:
            context.log.warning(
                f"{export.name} came with fields its contract does not know:"
                f" {', '.join(field.describe(result.of(export).rows) for field in unknown)}. They are kept with their"
                " rows, in _unknown_fields; once they are in contracts/ they are columns, filled for the past too"
            )
    soundlink.landing.sweep(datetime.now(UTC), soundlink.settings.landing_retention_days)
    return Pulled(result, {subject.name: planned.asked(subject) for subject in listings}, left)
