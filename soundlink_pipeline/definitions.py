"""The composition root: what Dagster serves. The only place that reads environment variables.

Loads without a key and without the network; a setting that cannot be read is an error that names it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import dagster as dg

from soundlink_pipeline.alerts.sensor import build_alerts
from soundlink_pipeline.models.build import check_models
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.orchestration.asset_checks import newest_day_checks
from soundlink_pipeline.orchestration.export_assets import build_assets
from soundlink_pipeline.orchestration.jobs import daily_refresh, freshness, rebuild_from_landing
from soundlink_pipeline.orchestration.model_assets import build_model_assets
from soundlink_pipeline.orchestration.published_asset import PUBLISHED, last_assets, published_database
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import daily_partitions
from soundlink_pipeline.orchestration.schedules import build_schedules
from soundlink_pipeline.settings.settings import Settings, settings_from

_log = logging.getLogger(__name__)


def build_definitions(
    settings: Settings,
    read_key: Callable[[], str | None],
    *,
    read_alert_url: Callable[[], str | None] = lambda: None,
) -> dg.Definitions:
    """Everything Dagster serves, for these settings.

    `read_key` is asked for the API key when a run needs it, `read_alert_url` for the receiver of alerts when there is
    one to send (and here once, for whether there is one).
    """
    soundlink = Soundlink(settings, read_key)
    project = read_project(settings.sql_dir)
    tables = check_models(project)
    for problem in project.problems.values():
        _log.warning("%s", problem)
    partitions = daily_partitions(settings.start_date)
    upstream = [*build_assets(partitions, settings), *build_model_assets(project, tables, partitions)]
    newest_day = newest_day_checks(PUBLISHED)
    freshness_job = freshness(newest_day)
    return dg.Definitions(
        assets=[*upstream, published_database(project, last_assets(upstream))],
        asset_checks=[newest_day],
        jobs=[daily_refresh, freshness_job, rebuild_from_landing(project)],
        schedules=build_schedules(settings.schedule, settings.start_date, freshness_job),
        sensors=[build_alerts(read_alert_url, settings.ui_url)],
        resources={"soundlink": soundlink},
        # One process, one connection to DuckDB at a time; and a chain of assets starts eight times faster.
        executor=dg.in_process_executor,
    )


defs = build_definitions(
    settings_from(os.environ),
    dg.EnvVar("SOUNDLINK_API_KEY").get_value,
    read_alert_url=dg.EnvVar("SOUNDLINK_ALERT_URL").get_value,
)
