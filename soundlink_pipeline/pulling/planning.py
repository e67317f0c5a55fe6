"""Which requests a run is worth making, and how long they take at the API's limits. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from soundlink_pipeline.contracts.campaigns import may_have_rows
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import Export


@dataclass(frozen=True)
class PullRequest:
    """One request to make: an export of a campaign over a range of at most 90 days."""

    export: Export
    campaign_id: str
    dates: DateRange

    def describe(self) -> str:
        return f"{self.export.name} of campaign {self.campaign_id}, {self.dates}"


class Plan:
    """The requests a run is going to make: `missing` of all `requests`, the others being done.

    `campaigns` are as the API lists them; `done` is what the ledger knows of days that need not be pulled.
    """

    def __init__(
        self,
        exports: Sequence[Export],
        campaigns: Sequence[dict[str, Any]],
        dates: DateRange,
        done: Mapping[tuple[str, str], set[date]],
    ) -> None:
        self.exports, self.dates, self.listed = exports, dates, len(campaigns)
        self.requests = [request for export in exports for request in plan(export, campaigns, dates)]
        self.missing = without_done(self.requests, done)

    @property
    def campaigns(self) -> int:
        """How many campaigns can have rows in the range."""
        return len({request.campaign_id for request in self.requests})

    def describe(self, *, per_minute: int, per_hour: int, left_this_hour: int) -> str:
        """The run's requests and how long they take at the API's limits, for its first line of log."""
        seconds = expected_seconds(len(self.missing), per_minute, per_hour, left_this_hour)
        skipped = len(self.requests) - len(self.missing)
        return (
            f"{' and '.join(export.name for export in self.exports)}, {self.dates}: {len(self.missing)} requests for"
            f" {self.campaigns} of {self.listed} campaigns"
            + (f"; at the API's limits this takes at least {duration(seconds)}" if seconds > 1 else "")
            + (
                f". {skipped} requests skipped: already pulled and final (refetch: true in the run's config repeats"
                " them)"
                if skipped
                else ""
            )
        )


def plan(export: Export, campaigns: Iterable[dict[str, Any]], dates: DateRange) -> list[PullRequest]:
    """One request per campaign that can have rows and slice of at most 90 days, oldest days first."""
    listed = list(campaigns)
    return [
        PullRequest(export, campaign["campaignId"], part)
        for part in dates.slices()
        for campaign in listed
        if may_have_rows(campaign, part)
    ]


def without_done(requests: Iterable[PullRequest], done: Mapping[tuple[str, str], set[date]]) -> list[PullRequest]:
    """The requests cut to the range from their first to their last day that is not `done`; none where all are.

    One request costs as much for many days as for one, so the done days between are pulled along.
    """
    cut = []
    for request in requests:
        known = done.get((request.export.name, request.campaign_id), set())
        days = [day for day in request.dates.dates() if day not in known]
        if days:
            cut.append(replace(request, dates=DateRange(days[0], days[-1])))
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
