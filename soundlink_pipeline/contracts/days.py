"""Which days there are, when one is settled, and which range a run should pull: pure functions of a clock.

Source of the rules: a report_date is a UTC day that closes at the next midnight UTC; its rows may be revised for up to
REVISION_DAYS after that, so they are settled from report_date + SETTLED_AFTER_DAYS 00:00 UTC on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

# How long after its close a day may still be revised (the vendor's promise).
REVISION_DAYS = 7
# How long after its start a day's rows are final: the day itself, and the days of revisions.
SETTLED_AFTER_DAYS = 1 + REVISION_DAYS
# What a daily run pulls: the day that just closed and those before it that may have been revised since their last pull,
# the oldest of which gets its final pull.
TRAILING_DAYS = SETTLED_AFTER_DAYS
# The most days one request may cover, both ends counted: the API's cap, hence also the size of a backfill run.
MAX_DAYS_PER_PULL = 90
# A probe of a campaign that is over reaches so far back from the first day of a refresh's range.
PROBE_REACH_DAYS = MAX_DAYS_PER_PULL + 1
# How far back the schedule looks for days that were pulled but never settled.
HEALING_DAYS = 90


@dataclass(frozen=True, order=True)
class DateRange:
    """Days from `start` to `end`, both included."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.start > self.end:
            raise ValueError(f"the range {self.start} to {self.end} is reversed: it ends before it starts")

    def __str__(self) -> str:
        return f"{self.start} to {self.end}"

    @property
    def days(self) -> int:
        return (self.end - self.start).days + 1

    def dates(self) -> Iterator[date]:
        return (self.start + timedelta(days=offset) for offset in range(self.days))

    def slices(self, max_days: int = MAX_DAYS_PER_PULL) -> list[DateRange]:
        """The range in consecutive pieces of at most `max_days` days."""
        starts = range(0, self.days, max_days)
        return [
            DateRange(
                self.start + timedelta(days=offset), min(self.start + timedelta(days=offset + max_days - 1), self.end)
            )
            for offset in starts
        ]


def last_closed_day(now: datetime) -> date:
    """The newest report_date that has closed at `now` (aware): yesterday in UTC."""
    return now.astimezone(UTC).date() - timedelta(days=1)


def settled_at(report_date: date) -> datetime:
    """The moment from which a pull of `report_date` is final."""
    return datetime.combine(report_date + timedelta(days=SETTLED_AFTER_DAYS), time(), UTC)


def refresh_range(now: datetime, first_day: date, oldest_unsettled: date | None = None) -> DateRange | None:
    """The range a daily refresh at `now` pulls: the last TRAILING_DAYS, or from `oldest_unsettled` on if earlier.

    None while no day since `first_day` has closed. It reaches back HEALING_DAYS at most.
    """
    end = last_closed_day(now)
    start = end - timedelta(days=TRAILING_DAYS - 1)
    if oldest_unsettled is not None:
        start = min(start, max(oldest_unsettled, end - timedelta(days=HEALING_DAYS - 1)))
    start = max(start, first_day)
    return DateRange(start, end) if start <= end else None


def _day(text: str) -> date:
    """The day of a partition key. ISO 8601 has other forms. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError(f"{text!r} is not written as YYYY-MM-DD")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"there is no day {text}") from None


def checked_range(start: str, end: str, first_day: date, now: datetime) -> DateRange:
    """The requested range of a run, or a ValueError that says what is wrong with it (Dagster does not check)."""
    try:
        dates = DateRange(_day(start), _day(end))
    except ValueError as error:
        raise ValueError(
            f"cannot pull {start} to {end}: {error}. Give two days as YYYY-MM-DD, the earlier first."
        ) from None
    if dates.start < first_day:
        raise ValueError(f"cannot pull {dates}: the first partition is {first_day} (setting SOUNDLINK_START_DATE)")
    if dates.end > last_closed_day(now):
        raise ValueError(
            f"cannot pull {dates}: {dates.end} has not closed yet; the newest day is {last_closed_day(now)} (UTC)"
        )
    return dates
