"""How complete a report date is at a given moment: when its rows were generated and how far they have grown.

A report date closes at the next midnight UTC; its rows may be revised for 7 days after that and are settled
from report_date + 8 days 00:00 UTC. Rows are generated anew every night at 03:00 UTC until then.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from soundlink_pipeline.simulator.campaigns import midnight

NIGHTLY = time(3, tzinfo=UTC)
SETTLED_AFTER = timedelta(days=8)

# What is known of the final figure: at close, then after each of the seven nights. Streams are attributed for
# 7 days after a click, so they keep growing; Meta corrects its bill for two nights only.
ATTRIBUTED = (0.62, 0.70, 0.80, 0.87, 0.92, 0.96, 0.98, 1.0)
BILLED = (0.90, 0.97, 0.99, 1.0, 1.0, 1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Snapshot:
    exported_at: datetime
    nights: int  # nightly generations since the close, 0 to 7
    attributed: float  # share of the final streams, listeners, followers
    billed: float  # share of the final impressions, clicks, spend
    morning: bool  # whether that day's playlist crawl has happened: positions are null until 08:00 UTC


def snapshot(day: date, now: datetime) -> Snapshot:
    """The state of a report date (not in the future) at ``now``."""
    at = min(now, midnight(day) + SETTLED_AFTER)
    last_night = at.date() if at.timetz() >= NIGHTLY else at.date() - timedelta(days=1)
    nights = (last_night - day).days
    if nights < 1:
        # Still open, or closed but not yet generated: a live view, growing with the hours.
        elapsed = min(1.0, (at - midnight(day)) / timedelta(days=1))
        return Snapshot(
            exported_at=now.replace(microsecond=0),
            nights=0,
            attributed=ATTRIBUTED[0] * elapsed,
            billed=BILLED[0] * elapsed,
            morning=elapsed >= 8 / 24,
        )
    return Snapshot(datetime.combine(last_night, NIGHTLY), nights, ATTRIBUTED[nights], BILLED[nights], morning=True)


def edition(end: date, now: datetime) -> object | None:
    """What, beside the question, decides the bytes of an answer about days up to ``end``; None if every second does."""
    if end >= now.date():  # open, or any date of the future up to 9999-12-31, to which no day can be added
        return None
    if now >= midnight(end) + SETTLED_AFTER:
        return "settled"
    if now < datetime.combine(end + timedelta(days=1), NIGHTLY):
        return None
    return now.date() if now.timetz() >= NIGHTLY else now.date() - timedelta(days=1)
