"""The jobs: the daily refresh over all assets, and the rebuild of everything from landed files."""

from datetime import UTC, datetime

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from soundlink_pipeline.models.build import build_models, failed_tests
from soundlink_pipeline.models.project import SqlProject
from soundlink_pipeline.models.templates import Problem
from soundlink_pipeline.orchestration.failures import told_to_people
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import POOL
from soundlink_pipeline.publishing.file_copy import NotPublished, publish
from soundlink_pipeline.pulling.landed import rebuild

DAILY_REFRESH = "daily_refresh"
REBUILD = "rebuild_from_landing"
FRESHNESS = "freshness"

daily_refresh = dg.define_asset_job(
    DAILY_REFRESH,
    selection=dg.AssetSelection.all(),
    description="Pulls every export for a range of report dates, in one run: the schedule's job, and a backfill's.",
)


def freshness(checks: dg.AssetChecksDefinition) -> UnresolvedAssetJobDefinition:
    """The job that answers `checks` alone: no request, and nothing written to the warehouse."""
    return dg.define_asset_job(
        FRESHNESS,
        selection=dg.AssetSelection.checks(checks),
        description="Asks the data whether yesterday is there for every campaign. Makes no request.",
    )


def rebuild_from_landing(project: SqlProject) -> dg.JobDefinition:
    """The job that makes warehouse, models and published file anew, without one request."""

    @dg.op(pool=POOL, description="Loads every landed delivery the warehouse does not have, in the order of loading.")
    def load_landed_deliveries(context: dg.OpExecutionContext, soundlink: dg.ResourceParam[Soundlink]) -> None:
        with told_to_people():
            summary = rebuild(soundlink.warehouse, soundlink.landing, context.log.info)
        if summary.failed:
            lines = "\n".join(f"{item.describe()}: {item.reason}" for item in summary.failed)
            raise dg.Failure(f"{len(summary.failed)} landed deliveries were refused:\n{lines}", allow_retries=False)

    @dg.op(pool=POOL, ins={"loaded": dg.In(dg.Nothing)}, description="Builds every SQL model, and publishes.")
    def build_and_publish(context: dg.OpExecutionContext, soundlink: dg.ResourceParam[Soundlink]) -> None:
        with told_to_people(Problem, NotPublished):
            with soundlink.warehouse.write() as connection:
                built = build_models(connection, project)
                wrong = failed_tests(connection, project)
            context.log.info(f"{len(built)} models built")
            if wrong:
                reasons = "\n".join(f"{item.test.model}: {item}" for item in wrong)
                raise dg.Failure(
                    f"The models are built, but {len(wrong)} of their tests fail, so nothing was published.\n{reasons}",
                    allow_retries=False,
                )
            publish(soundlink.warehouse, soundlink.published_path, run_id=context.run_id, now=datetime.now(UTC))

    @dg.job(
        name=REBUILD,
        description=(
            "Makes an empty warehouse equal to the one that was loaded from landing/: same rows, history and ledger,"
            " without one request; builds every model in full, and publishes if their tests pass. On a warehouse that"
            " has deliveries it loads only the missing ones."
        ),
    )
    def rebuild_job() -> None:
        build_and_publish(loaded=load_landed_deliveries())

    return rebuild_job
