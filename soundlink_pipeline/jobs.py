"""The jobs: the daily refresh over all assets, and the rebuild of the warehouse from landed files."""

import dagster as dg

from soundlink_pipeline.assets import POOL
from soundlink_pipeline.pull import rebuild
from soundlink_pipeline.resources import Soundlink

DAILY_REFRESH = "daily_refresh"

daily_refresh = dg.define_asset_job(
    DAILY_REFRESH,
    selection=dg.AssetSelection.all(),
    description="Pulls every export for a range of report dates, in one run: the schedule's job, and a backfill's.",
)


@dg.op(pool=POOL, description="Loads every landed delivery the warehouse does not have, in the order of loading.")
def load_landed_deliveries(context: dg.OpExecutionContext, soundlink: dg.ResourceParam[Soundlink]) -> None:
    summary = rebuild(soundlink.warehouse, soundlink.landing, context.log.info)
    if summary.failed:
        lines = "\n".join(f"{item.what}: {item.reason}" for item in summary.failed)
        raise dg.Failure(f"{len(summary.failed)} landed deliveries were refused:\n{lines}", allow_retries=False)


@dg.job(
    description=(
        "Makes an empty warehouse equal to the one that was loaded from landing/: same rows, history and ledger,"
        " without one request. On a warehouse that has deliveries it loads only the missing ones."
    )
)
def rebuild_from_landing() -> None:
    load_landed_deliveries()
