"""How an operator pulls days again: the commands, which must be such as `pull` does not refuse."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.pulling.outcome import merged
from soundlink_pipeline.typed import typed
from soundlink_pipeline.wording import in_words


@dataclass(frozen=True)
class PullAgain:
    """`commands` that pull the days from the first partition on, and a sentence about those `before` it.

    Either may be empty.
    """

    commands: list[str]
    before: str

    @classmethod
    def of(cls, ranges: Iterable[DateRange], first_day: date, *, refetch: bool) -> PullAgain:
        """`first_day` is SOUNDLINK_START_DATE, before which `pull` takes no day."""
        all_days = merged(ranges)
        later = [DateRange(max(dates.start, first_day), dates.end) for dates in all_days if dates.end >= first_day]
        last = first_day - timedelta(days=1)
        earlier = [DateRange(dates.start, min(dates.end, last)) for dates in all_days if dates.start < first_day]
        return cls([_command(dates, refetch=refetch) for dates in later], _before(earlier, first_day, refetch=refetch))


def _command(dates: DateRange, *, refetch: bool) -> str:
    return typed(f"pull --from={dates.start} --to={dates.end}" + (" --refetch" if refetch else ""))


def _before(earlier: list[DateRange], first_day: date, *, refetch: bool) -> str:
    if not earlier:
        return ""
    days = in_words([str(dates) if dates.days > 1 else str(dates.start) for dates in earlier])
    commands = in_words([_command(dates, refetch=refetch) for dates in earlier])
    return (
        f"{days} came before SOUNDLINK_START_DATE was set to {first_day}: with SOUNDLINK_START_DATE={earlier[0].start},"
        f" {commands}"
    )
