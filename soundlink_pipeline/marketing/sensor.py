"""The sensor `marketing_alerts`: looks at each new publication, and sends what the rules find, each once a day.

Off unless `SOUNDLINK_MARKETING_ALERT_URL` names a receiver. A tick always ends as skipped, with what was found and sent
as its reason. What has been sent is in the data folder's log (`channels/sent_log.py`), not in the sensor's cursor: so
neither a reset of the cursor nor a second daemon sends it again. The cursor has which file was looked at, and the next
attempt.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg

from soundlink_pipeline.settings.receivers import MARKETING_ALERT_URL, receivers_of
from soundlink_pipeline.settings.settings import Settings

SENSOR = "marketing_alerts"
_INTERVAL_SECONDS = 60


def build_marketing_alerts(
    read_url: Callable[[], str | None],
    settings: Settings,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> dg.SensorDefinition:
    """The sensor, on by default if `read_url` returns URLs. Raises ValueError if one is not allowed."""
    is_on = bool(receivers_of(MARKETING_ALERT_URL, read_url()))

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if is_on else dg.DefaultSensorStatus.STOPPED,
        description=(
            "After each publication: sends alerts on campaigns whose followers or listeners cost more than the limits"
            " that are set, or more or less than usual; that spend without streams; or whose budget is off pace. Each"
            " at most once a day, to SOUNDLINK_MARKETING_ALERT_URL."
            + ("" if is_on else " Off: set SOUNDLINK_MARKETING_ALERT_URL.")
        ),
    )
    def marketing_alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        # Not at the top: the definitions load without what reads and sends.
        from soundlink_pipeline.marketing.tick import State, tick  # noqa: PLC0415

        receivers = receivers_of(MARKETING_ALERT_URL, read_url())
        if not receivers:
            return dg.SkipReason("No receiver: SOUNDLINK_MARKETING_ALERT_URL is not set.")
        state = State.read(context.cursor)
        said = tick(state, receivers, settings, now())
        context.update_cursor(state.text())
        return dg.SkipReason(said)

    return marketing_alerts
