"""Exports loaded means models and published file follow: a sensor asks for the run that builds and publishes.

A run of daily_refresh builds and publishes by itself. A run or backfill that selects exports only does not, nor does a
refresh of which one campaign failed. What is behind is read from the data, not from Dagster's events: the published
file lacks a delivery that the warehouse holds. Dagster's own conditions would ask once per partition, or forget what
arrives while a run of theirs is going.
"""

from __future__ import annotations

import json

import dagster as dg

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.orchestration.jobs import MODELS_AND_PUBLICATION
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_context import UNDER_WAY, WHY
from soundlink_pipeline.orchestration.unevaluated_checks import NOT_EVALUATED
from soundlink_pipeline.publishing.lag import Lag, lag_of
from soundlink_pipeline.quality.row_checks import row_checks
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable

SENSOR = f"{MODELS_AND_PUBLICATION}_sensor"
# Dagster's daemon finds up to half a minute late that a backfill has ended: with this the build begins within one.
_INTERVAL_SECONDS = 10
# A tick must end soon. Whoever holds the warehouse for longer is a run, or will be told of by the next run.
_WAIT_SECONDS = 2.0
# What Dagster calls a backfill that launches or awaits runs.
_BACKFILL_GOES_ON = ("REQUESTED", "CANCELING", "FAILING")
_RECENT_BACKFILLS = 20
# Enough to find one that was evaluated, after runs that failed before.
_RECENT_EVALUATIONS = 50


def publication_sensor() -> dg.SensorDefinition:
    """The sensor, on by default."""

    @dg.sensor(
        name=SENSOR,
        job_name=MODELS_AND_PUBLICATION,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Asks for one run that builds the models and publishes, when exports were loaded by a run that did not:"
            " from the UI, by a backfill (once, when it has ended), or with a pull that failed."
        ),
    )
    def models_and_publication_sensor(
        context: dg.SensorEvaluationContext, soundlink: dg.ResourceParam[Soundlink]
    ) -> dg.RunRequest | dg.SkipReason:
        seen, asked_for = _cursor(context)
        newest_run = _last_change(context.instance)
        if newest_run == seen:
            return dg.SkipReason("No run has ended since the last look.")
        if (busy := _still_loading(context.instance)) is not None:
            return dg.SkipReason(busy)
        try:
            lag = lag_of(soundlink.warehouse, soundlink.published_path, _WAIT_SECONDS)
        except (WarehouseLocked, WarehouseUnusable) as error:
            return dg.SkipReason(f"The warehouse could not be read, the next tick tries again: {error}")
        answer = _answer(context.instance, lag, asked_for)
        asked_for = lag.loaded if isinstance(answer, dg.RunRequest) else asked_for
        context.update_cursor(json.dumps({"newest run": newest_run, "asked for": asked_for}))
        return answer

    return models_and_publication_sensor


def _answer(instance: dg.DagsterInstance, lag: Lag, asked_for: int) -> dg.RunRequest | dg.SkipReason:
    if not lag:
        return dg.SkipReason("The published file holds every loaded delivery.")
    if lag.loaded == asked_for:
        return dg.SkipReason(
            f"The last run of {MODELS_AND_PUBLICATION} did not publish: see why. It is not asked for again before"
            " something else is loaded; launch it by hand once the reason is gone."
        )
    if blocking := _blocking(instance):
        return dg.SkipReason(f"Not published: {', '.join(blocking)} failed. Its page says what to do.")
    why = "exports were loaded by a run that built no models" if lag.published else "nothing is published yet"
    return dg.RunRequest(tags={WHY: why})


def _cursor(context: dg.SensorEvaluationContext) -> tuple[str, int]:
    """The newest run when the published file was last found to be up to date, and the load last asked for."""
    try:
        cursor = json.loads(context.cursor or "{}")
        return str(cursor.get("newest run", "")), int(cursor.get("asked for", 0))
    except (ValueError, TypeError, AttributeError):  # of another version, or edited by hand
        return "", 0


def _last_change(instance: dg.DagsterInstance) -> str:
    """The moment of the last change of any run: only a run loads anything."""
    newest = instance.get_run_records(limit=1, order_by="update_timestamp")
    return newest[0].update_timestamp.isoformat() if newest else "none"


def _still_loading(instance: dg.DagsterInstance) -> str | None:
    """Why it is too early: a run or a backfill goes on, which loads more or builds and publishes by itself."""
    going = instance.get_runs(dg.RunsFilter(statuses=list(UNDER_WAY)), limit=1)
    if going:
        return f"Run {going[0].run_id} ({going[0].job_name}) is still going."
    exports = {dg.AssetKey(export.name) for export in EXPORTS}
    for backfill in instance.get_backfills(limit=_RECENT_BACKFILLS):
        if backfill.status.value in _BACKFILL_GOES_ON and exports & set(backfill.asset_selection or exports):
            return f"Backfill {backfill.backfill_id} is still going: models are built once, when it has ended."
    return None


def _blocking(instance: dg.DagsterInstance) -> list[str]:
    """The checks of exports that failed when last evaluated and keep everything downstream from being built."""
    return [
        f"{check.name} of {export.name}"
        for export in EXPORTS
        for check in row_checks(export)
        if check.blocking and _has_failed(instance, dg.AssetCheckKey(dg.AssetKey(export.name), check.name))
    ]


def _has_failed(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> bool:
    """Whether its last evaluation found bad rows. A run that could not evaluate it says nothing of the rows."""
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=_RECENT_EVALUATIONS)
    for record in records:
        event = record.event.dagster_event if record.event else None
        if event is None or event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            continue
        evaluation = event.asset_check_evaluation_data
        if not (evaluation.description or "").startswith(NOT_EVALUATED):
            return not evaluation.passed
    return False
