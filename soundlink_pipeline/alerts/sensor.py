"""Alerts: one message to a webhook or to Slack for each run that ends badly. Off unless `SOUNDLINK_ALERT_URL` is set.

A run ends badly when it fails, or when it succeeds although an asset check of severity ERROR failed. A cancelled run
does not, nor a failed one that Dagster tries again: the retry's end tells.

One sensor with a cursor of its own. Dagster's run status sensors forget a run whose message could not be sent; here it
is held in the cursor and tried again, at growing intervals, 12 times over 17 hours. Meanwhile other messages go their
way. The URL is a secret: it is read when a tick needs it, and is in no cursor, log, error or repr.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import dagster as dg
from dagster._core.definitions.run_request import DagsterRunReaction

SENSOR = "alerts"
_INTERVAL_SECONDS = 30


# What sends is imported where it is needed: without httpx the definitions load a fifth faster.
def build_alerts(
    read_url: Callable[[], str | None], ui_url: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dg.SensorDefinition:
    """The sensor `alerts`, on by default where `read_url` gives a URL. Raises ValueError if that cannot be one."""
    text = (read_url() or "").strip()
    if text:
        from soundlink_pipeline.settings.urls import checked_alert_url  # noqa: PLC0415

        checked_alert_url(text)

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if text else dg.DefaultSensorStatus.STOPPED,
        description=(
            "Sends one message to SOUNDLINK_ALERT_URL for each run that fails, and for each that succeeds with a failed"
            " check of severity ERROR."
            + ("" if text else " Off: set SOUNDLINK_ALERT_URL to a webhook or a Slack incoming webhook.")
        ),
    )
    def alerts(context: dg.SensorEvaluationContext) -> Iterator[dg.SkipReason | DagsterRunReaction]:
        from soundlink_pipeline.alerts.tick import State, Tick  # noqa: PLC0415
        from soundlink_pipeline.settings.urls import checked_alert_url  # noqa: PLC0415

        address = (read_url() or "").strip()
        if not address:
            yield dg.SkipReason("SOUNDLINK_ALERT_URL is not set: there is nobody to tell")
            return
        state = State.read(context.cursor)
        if state is None:
            state = State.from_now_on(context.instance)
            context.update_cursor(state.text())
            yield dg.SkipReason("Runs that end from now on are told of.")
            return
        tick = Tick(context, state, checked_alert_url(address), ui_url, now().timestamp())
        tick.notice()
        tick.tell()
        context.update_cursor(state.text())
        yield from tick.outcome()

    return alerts
