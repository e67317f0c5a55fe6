"""Which requests a run is worth making, and how long they take at the API's limits. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.contracts.campaigns import may_have_rows
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.orchestration.resource import Soundlink


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


class Plan:
    """The requests a run is going to make: `missing` of all `pulls`, the others being done or settled."""

    def __init__(
        self,
        soundlink: Soundlink,
        campaigns: Sequence[dict[str, Any]],
        exports: Sequence[Export],
        dates: DateRange,
        lineage: Sequence[str],
        *,
        refetch: bool,
    ) -> None:
        self.exports, self.dates, self.listed = exports, dates, len(campaigns)
        self.pulls = [pull for export in exports for pull in plan(export, campaigns, dates)]
        done = soundlink.warehouse.done_days(dates, lineage, settled=not refetch)
        self.missing: list[Pull] = wanted(self.pulls, done)

    @property
    def campaigns(self) -> int:
        """How many campaigns can have rows in the range."""
        return len({pull.campaign_id for pull in self.pulls})

    def describe(self, soundlink: Soundlink, pacer: Pacer) -> str:
        """The run's requests and how long they take, for its first line of log."""
        settings = soundlink.settings
        wait = expected_seconds(
            len(self.missing), settings.requests_per_minute, settings.requests_per_hour, pacer.left_this_hour()
        )
        spared = len(self.pulls) - len(self.missing)
        return (
            f"{' and '.join(export.name for export in self.exports)}, {self.dates}: {len(self.missing)} requests for"
            f" {self.campaigns} of {self.listed} campaigns"
            + (f"; at the API's limits this takes at least {duration(wait)}" if wait > 1 else "")
            + (
                f". {spared} more are spared: pulled before, and settled (refetch: true in the run's config asks again)"
                if spared
                else ""
            )
        )
