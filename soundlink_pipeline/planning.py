"""Which requests a run is worth making, and how long they take at the API's limits. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from soundlink_pipeline.campaigns import may_have_rows
from soundlink_pipeline.exports import Export
from soundlink_pipeline.partitions import DateRange


@dataclass(frozen=True)
class Pull:
    """One request to make: an export of a campaign over a range of at most 90 days."""

    export: Export
    campaign_id: str
    dates: DateRange

    def describe(self) -> str:
        return f"{self.export.name} of campaign {self.campaign_id}, {self.dates}"


def plan(export: Export, campaigns: Iterable[dict[str, Any]], dates: DateRange) -> list[Pull]:
    """One pull per campaign that can have rows and slice of at most 90 days, oldest days first."""
    listed = list(campaigns)
    return [
        Pull(export, campaign["campaignId"], part)
        for part in dates.slices()
        for campaign in listed
        if may_have_rows(campaign, part)
    ]


def wanted(pulls: Iterable[Pull], done: Mapping[tuple[str, str], set[date]]) -> list[Pull]:
    """The pulls cut to the days that are wanted: from the first to the last that is not `done`.

    One request costs as much for many days as for one, so those between are asked for along; none where all are done.
    """
    cut = []
    for pull in pulls:
        known = done.get((pull.export.name, pull.campaign_id), set())
        days = [day for day in pull.dates.dates() if day not in known]
        if days:
            cut.append(replace(pull, dates=DateRange(days[0], days[-1])))
    return cut


def duration(seconds: float) -> str:
    """Seconds for people: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def expected_seconds(requests: int, per_minute: int, per_hour: int, left_this_hour: int) -> float:
    """How long so many requests take at the API's limits, at least."""
    if requests <= left_this_hour:
        return max(requests - per_minute, 0) * 60 / per_minute
    return (requests - left_this_hour) / per_hour * 3600
