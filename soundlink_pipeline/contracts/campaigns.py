"""Campaigns: the table they are kept in, and whether one can have rows in a range of days.

Of a campaign only `campaignId` may be relied on; every other field may be missing, null or new (the vendor's
generations differ), so each is read leniently and whatever is not understood leads to asking the API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from soundlink_pipeline.contracts.days import DateRange

# Engagement goes on for 30 days after a campaign's end; a day's rows are revised for 7 days after it closes.
TAIL_DAYS = 30
REVISED_FOR_DAYS = 8
_FINISHED = ("ended", "stopped")


@dataclass(frozen=True)
class CampaignPages:
    """The campaigns a key sees, each the API's own JSON object, and when they were listed."""

    items: list[dict[str, Any]]
    requested_at: datetime
    server_date: datetime | None


def may_have_rows(campaign: Mapping[str, Any], dates: DateRange) -> bool:
    """Whether the campaign can have rows with a report_date in `dates`. In doubt: yes.

    No, if it was created after the range; or if it is ended or stopped, and its end, the 30 days of engagement after
    it and the 8 days of revisions after those lie before the range. Its end is the later of its last change and its
    planned duration.
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
    return end >= datetime.combine(dates.start, time(), UTC) - timedelta(days=TAIL_DAYS + REVISED_FOR_DAYS)


def _moment(value: object) -> datetime | None:
    """An ISO 8601 moment in UTC, or None where it cannot be read."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
