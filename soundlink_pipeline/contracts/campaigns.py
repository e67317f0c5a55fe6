"""Campaigns: the fields that the API lists of each, and whether one can have rows in a range of days.

Of a campaign only `campaignId` may be relied on; every other field may be missing, null or new (the vendor's
generations differ), so each is read leniently, and a campaign is pulled wherever its fields leave a doubt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from soundlink_pipeline.contracts.days import SETTLED_AFTER_DAYS, DateRange
from soundlink_pipeline.contracts.table import MONEY, Column

# How long after a campaign's end its links are still played.
TAIL_DAYS = 30
_FINISHED = ("ended", "stopped")

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


def may_have_rows(campaign: Mapping[str, Any], dates: DateRange) -> bool:
    """Whether the campaign can have rows with a report_date in `dates`. In doubt: yes.

    No, if it was created after the range; or if it is ended or stopped, and its end, the TAIL_DAYS of engagement after
    it and the SETTLED_AFTER_DAYS of the last of those lie before the range. Its end is the later of its last change and
    its planned duration.
    """
    created = _moment(campaign.get("createdAt"))
    if created is not None and created > datetime.combine(dates.end, time.max, UTC):
        return False
    updated, duration = _moment(campaign.get("updatedAt")), campaign.get("campaignDuration")
    if campaign.get("status") not in _FINISHED or created is None or updated is None:
        return True
    if isinstance(duration, bool) or not isinstance(duration, int | float) or not 0 <= duration < 100_000:
        return True
    end = max(updated, created + timedelta(days=duration))
    return end >= datetime.combine(dates.start, time(), UTC) - timedelta(days=TAIL_DAYS + SETTLED_AFTER_DAYS)


def _moment(value: object) -> datetime | None:
    """An ISO 8601 moment in UTC, or None where it cannot be read."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
