"""The composition root: what Dagster serves. The only place that reads environment variables.

Loads without a key and without the network; a setting that cannot be read is an error that names it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TypeVar, get_args

import dagster as dg

from soundlink_pipeline.alerts import build_alerts
from soundlink_pipeline.assets import build_assets
from soundlink_pipeline.checks import newest_day_checks
from soundlink_pipeline.jobs import daily_refresh, freshness, rebuild_from_landing
from soundlink_pipeline.model_assets import BROKEN, build_model_assets
from soundlink_pipeline.published_asset import PUBLISHED, published_database
from soundlink_pipeline.resources import Soundlink
from soundlink_pipeline.runs import daily_partitions
from soundlink_pipeline.schedules import build_schedules
from soundlink_pipeline.settings import AuthSetting, Settings
from soundlink_pipeline.sql_models import check_models
from soundlink_pipeline.sql_project import read_project

T = TypeVar("T")

_log = logging.getLogger(__name__)


def settings_from(environment: Mapping[str, str]) -> Settings:
    """The settings as environment variables say, defaults for those not set or empty. Raises ValueError naming one."""

    def read(name: str, default: T, parse: Callable[[str], T]) -> T:
        text = environment.get(name, "").strip()
        try:
            return parse(text) if text else default
        except ValueError as error:
            # Not a key that was pasted into the wrong line, nor a password.
            hidden = "sk_" in text or "@" in text
            reason = f"{text!r}: {error}" if not hidden else "what is there (not shown: it looks like a secret)"
            raise ValueError(f"the setting {name} cannot be read from {reason}") from None

    default = Settings()
    return Settings(
        base_url=read("SOUNDLINK_BASE_URL", default.base_url, _base_url),
        auth=read("SOUNDLINK_AUTH", default.auth, _auth),
        campaign_ids=read("SOUNDLINK_CAMPAIGN_IDS", default.campaign_ids, _list),
        data_dir=read("SOUNDLINK_DATA_DIR", default.data_dir, _folder).absolute(),
        sql_dir=read("SOUNDLINK_SQL_DIR", default.sql_dir, _folder).absolute(),
        start_date=read("SOUNDLINK_START_DATE", default.start_date, date.fromisoformat),
        requests_per_minute=read("SOUNDLINK_REQUESTS_PER_MINUTE", default.requests_per_minute, _positive),
        requests_per_hour=read("SOUNDLINK_REQUESTS_PER_HOUR", default.requests_per_hour, _positive),
        landing_retention_days=read("SOUNDLINK_LANDING_RETENTION_DAYS", default.landing_retention_days, _positive),
        schedule=read("SOUNDLINK_SCHEDULE", default.schedule, _cron),
        ui_url=read("SOUNDLINK_UI_URL", default.ui_url, _ui_url),
    )


# What is not set need not be checked: without httpx the definitions load a fifth faster.


def _base_url(text: str) -> str:
    from soundlink_pipeline.urls import checked_base_url  # noqa: PLC0415

    return str(checked_base_url(text))


def _ui_url(text: str) -> str:
    from soundlink_pipeline.urls import checked_ui_url  # noqa: PLC0415

    return checked_ui_url(text)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("must be at least 1")
    return number


def _folder(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # ~somebody, who is not known here
        raise ValueError(str(error)) from None


def _cron(text: str) -> str:
    try:
        dg.ScheduleDefinition(name="checked", job_name="checked", cron_schedule=text)
    except dg.DagsterInvalidDefinitionError:
        raise ValueError("must be a cron expression of five fields, such as 0 7 * * * (UTC)") from None
    return text


def _list(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _auth(text: str) -> AuthSetting:
    for known in get_args(AuthSetting):
        if text.lower() == known:
            return known  # type: ignore[no-any-return]
    raise ValueError(f"must be one of {', '.join(get_args(AuthSetting))}")


def _last(assets: Sequence[dg.AssetsDefinition | dg.AssetSpec]) -> list[str]:
    """The assets that no other needs, broken models apart: what has to be done before the publication."""
    specs = [spec for a in assets for spec in (a.specs if isinstance(a, dg.AssetsDefinition) else [a])]
    needed = {dep.asset_key for spec in specs for dep in spec.deps}
    return [spec.key.to_user_string() for spec in specs if spec.key not in needed and spec.group_name != BROKEN]


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
    columns = check_models(project, soundlink.warehouse.schema_statements())
    for problem in project.problems.values():
        _log.warning("%s", problem)
    partitions = daily_partitions(settings.start_date)
    upstream = [*build_assets(partitions, settings), *build_model_assets(project, columns, partitions)]
    newest_day = newest_day_checks(PUBLISHED)
    freshness_job = freshness(newest_day)
    return dg.Definitions(
        assets=[*upstream, published_database(project, _last(upstream))],
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
