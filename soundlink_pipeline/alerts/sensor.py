"""Alerts: one message to each receiver for each run that ends badly. Off unless `SOUNDLINK_ALERT_URL` names one.

A run ends badly when it fails, or when it succeeds although an asset check of severity ERROR failed. A cancelled run
raises no alert, nor does a failed one that Dagster retries: the retry's end decides.

One sensor with a cursor of its own. Dagster's run status sensors forget a run whose message could not be sent; here it
stays in the cursor and is retried, at growing intervals, 12 times over 17 hours, without delaying other messages. A
tick always ends as skipped, with what it sent or could not send as its reason: Dagster drops the cursor of a sensor
that raises. `make doctor` warns of messages that were not delivered.

A receiver's URL is a secret: each tick reads it, and it is in no cursor, log, error or repr.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg

from soundlink_pipeline.settings.receivers import ALERT_URL, receivers_of

SENSOR = "alerts"
_INTERVAL_SECONDS = 30


# What sends is imported where it is needed: without httpx the definitions load a fifth faster.
def build_alerts(
    read_url: Callable[[], str | None], ui_url: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dg.SensorDefinition:
    """The sensor `alerts`, on by default if `read_url` returns URLs. Raises ValueError if one is not allowed."""
    is_on = bool(receivers_of(ALERT_URL, read_url()))

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if is_on else dg.DefaultSensorStatus.STOPPED,
        description=(
            "Sends one message to each receiver in SOUNDLINK_ALERT_URL for each run that fails, and for each that"
            " succeeds with a failed check of severity ERROR."
            + ("" if is_on else " Off: set SOUNDLINK_ALERT_URL to a webhook, an address for mail, or another service.")
        ),
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        from soundlink_pipeline.alerts.tick import State, Tick  # noqa: PLC0415

        receivers = receivers_of(ALERT_URL, read_url())
        if not receivers:
            return dg.SkipReason("No alert receiver: SOUNDLINK_ALERT_URL is not set.")
        state = State.read(context.cursor)
        if state is None:
            state = State.from_now_on(context.instance)
            context.update_cursor(state.text())
            return dg.SkipReason("Alerts start with runs that end after this tick.")
        tick = Tick(context, state, receivers, ui_url, now().timestamp())
        tick.find_ended_runs()
        tick.send_due()
        context.update_cursor(state.text())
        return dg.SkipReason(tick.summary())

    return alerts
