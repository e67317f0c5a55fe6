"""What the steps that request anything share: a client, the listing, a plan; and the pulling itself.

The assets they serve are in `orchestration/export_assets.py`; how requests are made and loaded is in `pulling/`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.contracts.campaigns import left_out
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.landing.deliveries import Listing
from soundlink_pipeline.orchestration.failures import as_operator_failure
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import run_lineage
from soundlink_pipeline.pulling.landed import load_leftovers
from soundlink_pipeline.pulling.listing import left_out_of_named, list_campaigns, save_and_ask
from soundlink_pipeline.pulling.outcome import PullResult
from soundlink_pipeline.pulling.planning import Plan, PullRequest
from soundlink_pipeline.pulling.progress import Progress
from soundlink_pipeline.pulling.puller import Puller
from soundlink_pipeline.pulling.shrinking import NOTHING_HELD, HeldRows
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.warehouse.ledger import Ledger

if TYPE_CHECKING:
    from soundlink_pipeline.api.client import SoundlinkClient


@contextmanager
def open_client(context: dg.AssetExecutionContext, soundlink: Soundlink) -> Iterator[tuple["SoundlinkClient", Pacer]]:
    """The step's client; a key or a URL that cannot be one fails the step with that sentence."""
    with ExitStack() as stack:
        with as_operator_failure(ValueError):
            made = stack.enter_context(soundlink.connect(context.log.info))
        yield made


def list_for_run(context: dg.AssetExecutionContext, soundlink: Soundlink, client: "SoundlinkClient") -> Listing:
    """The run's campaigns: as an earlier step of the run listed them, or as the API does now."""
    return list_campaigns(
        client,
        soundlink.landing,
        run_id=context.run.run_id,
        lineage=run_lineage(context),
        only=soundlink.settings.campaign_ids,
        log=context.log.warning,
    )


def _describe(planned: Plan, soundlink: Soundlink, pacer: Pacer) -> str:
    settings = soundlink.settings
    return planned.describe(
        per_minute=settings.requests_per_minute,
        per_hour=settings.requests_per_hour,
        left_this_hour=pacer.left_this_hour(),
    )


def _left_out(client: "SoundlinkClient", campaigns: Sequence[Mapping[str, Any]], settings: Settings) -> list[str]:
    """What a first run says of days before the first partition."""
    if settings.campaign_ids:
        sentences = left_out_of_named(client, settings.campaign_ids, settings.start_date)
    else:
        sentences = left_out(campaigns, settings.start_date), None
    return [sentence for sentence in sentences if sentence]


def pull_range(
    context: dg.AssetExecutionContext,
    soundlink: Soundlink,
    exports: Sequence[Export],
    dates: DateRange,
    *,
    refetch: bool,
    accept_smaller: bool,
    only: Collection[str] = (),
) -> tuple[PullResult, int]:
    """Pull and load the range: the result, and how many campaigns can have rows in it.

    With `accept_smaller` an answer is taken however few rows it holds. `only` limits the pull to these
    campaign ids.
    """
    progress = soundlink.progress = Progress()
    log, later = context.log.info, list[str]()
    leftovers = load_leftovers(soundlink.warehouse, soundlink.landing, later.append)
    with open_client(context, soundlink) as (client, pacer):
        listing, lineage = list_for_run(context, soundlink, client), run_lineage(context)
        campaigns = listing.items()
        if unlisted := sorted(set(only) - {campaign["campaignId"] for campaign in campaigns}):
            raise dg.Failure(f"no campaign of this id is listed: {', '.join(unlisted)}", allow_retries=False)
        campaigns = [campaign for campaign in campaigns if not only or campaign["campaignId"] in only]

        def plan(ledger: Ledger, given_up: Collection[tuple[str, str]] = ()) -> tuple[Plan, HeldRows]:
            """What the run is to request, and which rows are held of that."""
            so_far = ledger.pulled_so_far(exports, dates, lineage, settled=not refetch)
            first_day = soundlink.settings.start_date
            now = listing.listed_at
            planned = Plan(exports, campaigns, dates, so_far, now=now, first_day=first_day, given_up=given_up)
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

        planned, held = save_and_ask(soundlink.warehouse, soundlink.landing, listing, plan)
        log(_describe(planned, soundlink, pacer))  # first, so that the operator knows how long it takes
        if planned.is_first and not only:
            for line in _left_out(client, campaigns, soundlink.settings):
                log(line)
        for line in later:
            log(line)
        result, further = pull(planned.missing, held), planned
        made = {request.identity for request in planned.missing}
        while not pacer.cancelled.is_set() and further.may_go_on(result.with_rows):
            failed = {(item.export, item.campaign_id) for item in result.failed}
            with soundlink.warehouse.read() as connection:
                further, held = plan(Ledger(connection), failed)
            more = [request for request in further.missing if request.identity not in made]
            if not more:
                break
            log(f"{len(more)} further requests, for campaigns that are over and still have rows")
            result.add(pull(more, held))
            made |= {request.identity for request in more}
        result.requests = client.requests
    result.loaded[:0] = leftovers.loaded
    result.failed[:0] = leftovers.failed
    progress.result = result
    for export in exports:
        if unknown := result.of(export).unknown_fields:
            context.log.warning(
                f"{export.name} came with fields its contract does not know: {', '.join(unknown)}. They are kept in the"
                " landed files; once they are in contracts/ they are loaded, and rebuild_from_landing fills the past"
            )
    soundlink.landing.sweep(datetime.now(UTC), soundlink.settings.landing_retention_days)
    return result, planned.campaigns
