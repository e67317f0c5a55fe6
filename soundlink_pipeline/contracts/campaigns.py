"""Campaigns: the fields that the API lists of each, and on which days rows are expected of one.

Of a campaign only `campaignId` may be relied on; every other field may be missing, null or new (the vendor's
generations differ), so each is read leniently, and rows are expected wherever its fields leave a doubt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import Tail
from soundlink_pipeline.contracts.table import MONEY, Column

# No ads run in these, and none will unless the status changes. A cycle that goes on although its renewal has failed
# shows in its rows, which keep it expected. Any other status may have rows: inactive and paused ones may be resumed,
# and those that renew or restart are about to run.
_OVER = ("ended", "stopped", "completed", "failed", "restart_failed", "renew_failed")
# Before its ads run a campaign has a link that may be played, and a change of status when it begins.
_NOT_BEGUN = "creating"
_LONGEST_DURATION = 100_000  # days; more is no duration
_DAY = timedelta(days=1)

# The listed fields that are kept as columns: their names in snake case. Of those not kept, `_listed_json` has them all.
LISTED_COLUMNS = (
    Column(
        "campaign_id",
        "VARCHAR",
        "The id the API lists; campaign_id in the exports' rows may differ. Primary key.",
        nullable=False,
    ),
    Column("organization_id", "VARCHAR", "Organization the campaign belongs to."),
    Column("status", "VARCHAR", "creating, active, inactive, ended, renewing, stopped, … as last listed."),
    Column("social_platform", "VARCHAR", "Where the ads run."),
    Column("daily_budget", MONEY, "Daily budget in USD."),
    Column("total_budget", MONEY, "Total budget in USD."),
    Column("campaign_duration", "BIGINT", "Planned duration in days."),
    Column("generation", "BIGINT", "Generation of the campaign product, 1 to 3."),
    Column("artist_id", "VARCHAR", "Spotify artist."),
    Column("artist_name", "VARCHAR", "Display name of the artist."),
    Column("track_id", "VARCHAR", "Promoted Spotify track."),
    Column("playlist_id", "VARCHAR", "Promoted Spotify playlist."),
    Column("track_name", "VARCHAR", "Display name of the track."),
    Column("campaign_url", "VARCHAR", "The campaign's landing page."),
    Column("created_at", "TIMESTAMP", "When the campaign was created (UTC)."),
    Column("updated_at", "TIMESTAMP", "When the campaign was last changed (UTC)."),
)


@dataclass(frozen=True)
class CampaignPages:
    """The campaigns a key sees, each the API's own JSON object, and when they were listed."""

    items: list[dict[str, Any]]
    requested_at: datetime
    server_date: datetime | None


@dataclass(frozen=True)
class ExpectedDays:
    """The report dates on which rows are expected: from `first` to `last`, both included; None has no bound.

    `last` may lie before `first`: then none are.
    """

    first: date | None
    last: date | None

    def meet(self, dates: DateRange) -> bool:
        """Whether rows are expected on a day of `dates`."""
        first, last = self.first or dates.start, self.last or dates.end
        return max(first, dates.start) <= min(last, dates.end)


def expected_days(campaign: Mapping[str, Any], tail: Tail, newest_row: date | None = None) -> ExpectedDays:
    """On which days rows of a listed campaign are expected of an export with this `tail`. In doubt: on each.

    `newest_row` is the newest report_date that has rows of it in the export.
    """
    created = _moment(campaign.get("createdAt"))
    if created is None:
        return ExpectedDays(None, None)
    first, end = created.date(), _end(campaign, created)
    if campaign.get("status") == _NOT_BEGUN and not tail.before_start:
        last = first - _DAY if first > date.min else first
    elif end is None:
        return ExpectedDays(first, None)
    else:
        last = _after(end, tail.days)
    if newest_row is not None:
        last = max(last, _after(newest_row, tail.after_rows))
    return ExpectedDays(first, last)


def created_on(campaign: Mapping[str, Any]) -> date | None:
    """The UTC day of creation, or None where it cannot be read."""
    created = _moment(campaign.get("createdAt"))
    return None if created is None else created.date()


def left_out(campaigns: Iterable[Mapping[str, Any]], start_date: date) -> str | None:
    """A sentence about the days before the first partition on which campaigns were there; None if there are none."""
    earliest = min((day for campaign in campaigns if (day := created_on(campaign)) is not None), default=None)
    if earliest is None or earliest >= start_date:
        return None
    days = (start_date - earliest).days
    return (
        f"the earliest campaign was created on {earliest}; the {days} {'day' if days == 1 else 'days'} from then to"
        f" SOUNDLINK_START_DATE ({start_date}) are left out"
    )


def left_out_is_unknown(named: int, unknown: int, start_date: date, reason: str) -> str:
    """A sentence about campaigns that SOUNDLINK_CAMPAIGN_IDS names and of which nobody knows when they were created."""
    return (
        f"whether days before SOUNDLINK_START_DATE ({start_date}) are left out is not known of {unknown} of the {named}"
        f" campaigns in SOUNDLINK_CAMPAIGN_IDS, because the API does not say when they were created: {reason}. Look it"
        " up in Soundlink, and set SOUNDLINK_START_DATE to the earliest day that you need"
    )


def _end(campaign: Mapping[str, Any], created: datetime) -> date | None:
    """The UTC day on which the ads are over at the latest; None of a campaign that may be running.

    It is the later of the last change and the planned duration. The change to a status that means an end is a change
    itself, so `updatedAt` is never before the end; it may be long after it, since a campaign's name may change, too.
    Such a campaign is asked for a while longer, never shorter.
    """
    if campaign.get("status") not in (*_OVER, _NOT_BEGUN):
        return None
    updated, duration = _moment(campaign.get("updatedAt")), campaign.get("campaignDuration")
    if updated is None or isinstance(duration, bool) or not isinstance(duration, int | float):
        return None
    if not 0 <= duration < _LONGEST_DURATION:
        return None
    try:
        return max(updated, created + timedelta(days=duration)).date()
    except OverflowError:
        return None


def _after(day: date, days: int) -> date:
    return day + timedelta(days=days) if (date.max - day).days > days else date.max


def _moment(value: object) -> datetime | None:
    """An ISO 8601 moment in UTC, or None where it cannot be read."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
