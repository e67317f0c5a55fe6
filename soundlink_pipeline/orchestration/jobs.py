"""The jobs: the daily refresh of all assets, the freshness checks, and the rebuild of everything from landed files."""

from datetime import UTC, datetime

import dagster as dg

from soundlink_pipeline.models.errors import ModelError
from soundlink_pipeline.models.project import SqlProject
from soundlink_pipeline.orchestration.asset_checks import newest_day_checks
from soundlink_pipeline.orchestration.canceling import as_cancellation
from soundlink_pipeline.orchestration.failures import as_operator_failure, rebuild_failure
from soundlink_pipeline.orchestration.published_asset import PUBLISHED
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.totals_check import totals_agree
from soundlink_pipeline.publishing.file_copy import NotPublished
from soundlink_pipeline.publishing.gate import publish_tested
from soundlink_pipeline.pulling.landed import rebuild

DAILY_REFRESH = "daily_refresh"
REBUILD = "rebuild_from_landing"
MODELS_AND_PUBLICATION = "models_and_publication"
FRESHNESS = "freshness"
_LOADED_STAYS = "what is loaded stays; the same job goes on from there."

# The one check that makes requests of its own has a job of its own; so has the export, which may wait for its target.
_EVERYTHING = dg.AssetSelection.all() - dg.AssetSelection.checks(totals_agree) - dg.AssetSelection.groups("exported")

daily_refresh = dg.define_asset_job(
    DAILY_REFRESH,
    selection=_EVERYTHING,
    description="Pulls every export for a range of report dates, in one run: the schedule's job, and a backfill's.",
)

models_and_publication = dg.define_asset_job(
    MODELS_AND_PUBLICATION,
    selection=_EVERYTHING - dg.AssetSelection.groups("sources", "exports"),
    description=(
        "Builds the models from what is loaded, and publishes. Makes no request. A sensor asks for it when exports were"
        " loaded by a run that did not."
    ),
)

newest_day = newest_day_checks(PUBLISHED)

freshness = dg.define_asset_job(
    FRESHNESS,
    selection=dg.AssetSelection.checks(newest_day),
    description="Checks that every campaign and soundlink has data for yesterday. Makes no request and writes nothing.",
)


def rebuild_from_landing(project: SqlProject) -> dg.JobDefinition:
    """The job that rebuilds warehouse, models and published file without any request."""

    @dg.op(description="Loads every landed delivery that the warehouse lacks, in the order of loading.")
    def load_landed_deliveries(context: dg.OpExecutionContext, soundlink: dg.ResourceParam[Soundlink]) -> None:
        with as_cancellation(context, _LOADED_STAYS), as_operator_failure():
            result = rebuild(soundlink.warehouse, soundlink.landing, context.log.info, soundlink.expected_accounts)
        if result.failed or result.lost:
            raise rebuild_failure(result, soundlink.settings.start_date)

    @dg.op(ins={"loaded": dg.In(dg.Nothing)}, description="Builds every SQL model, and publishes.")
    def build_and_publish(context: dg.OpExecutionContext, soundlink: dg.ResourceParam[Soundlink]) -> None:
        with as_cancellation(context, _LOADED_STAYS), as_operator_failure(ModelError, NotPublished):
            publish_tested(
                soundlink.warehouse,
                project,
                soundlink.published_path,
                run_id=context.run_id,
                now=datetime.now(UTC),
                log=context.log.info,
                build_all=True,
            )

    @dg.job(
        name=REBUILD,
        description=(
            "Rebuilds the warehouse from landing/: same rows, history and ledger, without any request. Builds every"
            " model in full, and publishes if their tests pass. If the warehouse has deliveries already, it loads only"
            " the missing ones."
        ),
    )
    def rebuild_job() -> None:
        build_and_publish(loaded=load_landed_deliveries())

    return rebuild_job
