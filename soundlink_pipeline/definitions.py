"""The composition root: what Dagster serves.

Importing it reads nothing and builds nothing: Dagster calls `defs`, which reads the settings from the environment. That
needs no key and no network; a setting that cannot be read is an error that names it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from functools import partial

import dagster as dg

from soundlink_pipeline.alerts.sensor import build_alerts
from soundlink_pipeline.exporting.asset import build_parquet_export
from soundlink_pipeline.marketing.sensor import build_marketing_alerts
from soundlink_pipeline.models.binding import BoundModels, load_models
from soundlink_pipeline.models.bound_before import FILE as BOUND_MODELS
from soundlink_pipeline.orchestration.export_assets import build_assets
from soundlink_pipeline.orchestration.jobs import (
    daily_refresh,
    freshness,
    models_and_publication,
    newest_day,
    rebuild_from_landing,
)
from soundlink_pipeline.orchestration.model_assets import build_model_assets
from soundlink_pipeline.orchestration.publication_sensor import publication_sensor
from soundlink_pipeline.orchestration.published_asset import PUBLISHED, last_assets, published_database
from soundlink_pipeline.orchestration.resource import Soundlink, resources
from soundlink_pipeline.orchestration.run_context import daily_partitions
from soundlink_pipeline.orchestration.schedules import build_schedules
from soundlink_pipeline.orchestration.totals_check import campaign_totals, compare_totals, totals_agree
from soundlink_pipeline.orchestration.upkeep import build_upkeep
from soundlink_pipeline.settings.receivers import ALERT_URL, MARKETING_ALERT_URL, REPORT_URL
from soundlink_pipeline.settings.settings import Settings, settings_from
from soundlink_pipeline.weekly.schedule import build_weekly_report

_log = logging.getLogger(__name__)


def secret_from_environment(name: str) -> str | None:
    """A secret, by the name of its environment variable. No other code reads one."""
    return dg.EnvVar(name).get_value()


def build_definitions(
    settings: Settings,
    read_secret: Callable[[str], str | None],
    *,
    read_receivers: Callable[[str], str | None] = lambda _: None,
    environment: Mapping[str, str] | None = None,
    models: BoundModels | None = None,
) -> dg.Definitions:
    """Everything Dagster serves, for these settings.

    `read_secret` returns an environment variable that an account names, such as SOUNDLINK_API_KEY, and is called when a
    run needs it. `read_receivers` returns the URLs in a setting of receivers, with blanks between them. Each tick of a
    sensor or schedule that sends there calls it, and so does this function, which decides whether it is on. `models`
    are of the settings' folder where they have been loaded already; else they are loaded here, and `env_var` reads
    `environment`.
    """
    soundlink = Soundlink(settings, read_secret)
    models = models or load_models(settings.sql_dir, environment, memory=settings.data_dir / BOUND_MODELS)
    project = models.project
    for found in (*project.errors.values(), *project.notices):
        _log.warning("%s", found)
    weekly_report, weekly_schedule = build_weekly_report(partial(read_receivers, REPORT_URL), settings)
    partitions = daily_partitions(settings.start_date)
    exporting = build_parquet_export(settings, PUBLISHED)
    upstream = [*build_assets(partitions, settings), *build_model_assets(project, models.tables)]
    return dg.Definitions(
        assets=[*upstream, campaign_totals, published_database(project, last_assets(upstream)), *exporting.assets],
        asset_checks=[newest_day, totals_agree],
        jobs=[
            daily_refresh,
            models_and_publication,
            freshness,
            compare_totals,
            rebuild_from_landing(project),
            weekly_report,
            *exporting.jobs,
        ],
        schedules=[*build_schedules(settings.schedule, settings.start_date, project.not_built), weekly_schedule],
        sensors=[
            publication_sensor(),
            build_alerts(partial(read_receivers, ALERT_URL), settings.ui_url),
            build_marketing_alerts(partial(read_receivers, MARKETING_ALERT_URL), settings),
            build_upkeep(settings.dagster_retention_days, settings.data_dir),
            *exporting.sensors,
        ],
        resources=resources(soundlink),
        # One process, one connection to DuckDB at a time; and a chain of assets starts eight times faster.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads: the definitions for the settings of its environment, read when it calls this."""
    return build_definitions(
        settings_from(os.environ),
        secret_from_environment,
        read_receivers=secret_from_environment,
        environment=os.environ,
    )
