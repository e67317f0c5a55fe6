"""What the step that pulls does with a run: plan its requests, pull and load, check, and tell what came of it.

The assets it serves are in `orchestration/export_assets.py`; the pulling itself is in `pulling/puller.py`.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.orchestration.failures import told_to_people
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import run_lineage
from soundlink_pipeline.pulling.landed import adopt
from soundlink_pipeline.pulling.outcome import Summary
from soundlink_pipeline.pulling.planning import Plan
from soundlink_pipeline.pulling.puller import Puller

if TYPE_CHECKING:
    from soundlink_pipeline.api.client import SoundlinkClient


@contextmanager
def connected(context: dg.AssetExecutionContext, soundlink: Soundlink) -> Iterator[tuple["SoundlinkClient", Pacer]]:
    """The step's client; a key or a URL that cannot be one fails the step with that sentence."""
    with ExitStack() as stack:
        with told_to_people(ValueError):
            made = stack.enter_context(soundlink.connect(context.log.info))
        yield made


def pull_range(
    context: dg.AssetExecutionContext,
    soundlink: Soundlink,
    exports: Sequence[Export],
    dates: DateRange,
    *,
    refetch: bool,
) -> tuple[Summary, int]:
    """Pull and load the range: what came of it, and how many campaigns were asked for."""
    log, later = context.log.info, list[str]()
    adopted = adopt(soundlink.warehouse, soundlink.landing, later.append)
    with connected(context, soundlink) as (client, pacer):
        lineage = run_lineage(context)
        campaigns = soundlink.campaigns(client, context.run.run_id, lineage)
        asked = Plan(soundlink, campaigns, exports, dates, lineage, refetch=refetch)
        log(asked.describe(soundlink, pacer))  # before all else, so that who launched it knows what it takes
        for line in later:
            log(line)
        summary = Puller(
            client,
            pacer,
            landing=soundlink.landing,
            warehouse=soundlink.warehouse,
            run_id=context.run.run_id,
            log=log,
        ).run(asked.missing)
        summary.requests = client.requests
    summary.loaded[:0] = adopted.loaded
    summary.failed[:0] = adopted.failed
    for export in exports:
        if unknown := summary.of(export).unknown_fields:
            context.log.warning(
                f"{export.name} came with fields its contract does not know: {', '.join(unknown)}. They are kept in the"
                " landed files; once they are in contracts/ they are loaded, and rebuild_from_landing fills the past"
            )
    soundlink.landing.sweep(datetime.now(UTC), soundlink.settings.landing_retention_days)
    return summary, asked.campaigns
