"""Campaigns: the table they are kept in, and whether one can have rows in a range of days.

Of a campaign only `campaignId` may be relied on; every other field may be missing, null or new (the vendor's
generations differ), so each is read leniently and whatever is not understood leads to asking the API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

import duckdb

from soundlink_pipeline.landing import Listing
from soundlink_pipeline.partitions import DateRange

# Engagement goes on for 30 days after a campaign's end; a day's rows are revised for 7 days after it closes.
TAIL_DAYS = 30
REVISED_FOR_DAYS = 8
_FINISHED = ("ended", "stopped")

# name, type, meaning; the names are the API's in snake case
CAMPAIGN_COLUMNS = (
    (
        "campaign_id",
        "VARCHAR not null",
        "The id the API lists; campaign_id in the exports' rows may differ. Primary key.",
    ),
    ("organization_id", "VARCHAR", "Organization the campaign belongs to."),
    ("status", "VARCHAR", "creating, active, inactive, ended, renewing, stopped, … as last listed."),
    ("social_platform", "VARCHAR", "Where the ads run."),
    ("daily_budget", "DECIMAL(18,6)", "Daily budget in USD."),
    ("total_budget", "DECIMAL(18,6)", "Total budget in USD."),
    ("campaign_duration", "BIGINT", "Planned duration in days."),
    ("generation", "BIGINT", "Generation of the campaign product, 1 to 3."),
    ("artist_id", "VARCHAR", "Spotify artist."),
    ("artist_name", "VARCHAR", "Display name of the artist."),
    ("track_id", "VARCHAR", "Promoted Spotify track."),
    ("playlist_id", "VARCHAR", "Promoted Spotify playlist."),
    ("track_name", "VARCHAR", "Display name of the track."),
    ("campaign_url", "VARCHAR", "The campaign's landing page."),
    ("created_at", "TIMESTAMP", "When the campaign was created (UTC)."),
    ("updated_at", "TIMESTAMP", "When the campaign was last changed (UTC)."),
    ("_listed_json", "VARCHAR", "The campaign as the API listed it, all fields."),
    (
        "_listed_at",
        "TIMESTAMP",
        "When it was last listed (UTC, server's clock). Older than the newest: no longer listed.",
    ),
    ("_run_id", "VARCHAR", "The run that last listed it."),
)


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


@dataclass(frozen=True)
class CampaignPages:
    """The campaigns a key sees, each the API's own JSON object, and when they were listed."""

    items: list[dict[str, Any]]
    requested_at: datetime
    server_date: datetime | None


def upsert_listing(connection: duckdb.DuckDBPyConnection, listing: Listing) -> int:
    """Upsert a landed listing by campaign id, in one transaction; an older listing never overwrites a newer one."""

    def value(name: str, sql_type: str) -> str:
        text = f"item ->> '$.{_camel(name)}'"
        if sql_type == "TIMESTAMP":
            return f"try_cast({text} as timestamptz) at time zone 'UTC'"
        return f"try_cast({text} as {sql_type})"

    own = {"_listed_json": "item::varchar", "_listed_at": "$listed_at::timestamp", "_run_id": "$run_id"}
    names = [name for name, _, _ in CAMPAIGN_COLUMNS]
    values = [f"{own.get(n) or value(n, t.removesuffix(' not null'))} as {n}" for n, t, _ in CAMPAIGN_COLUMNS]
    updates = ", ".join(f"{name} = s.{name}" for name in names if name != "campaign_id")
    connection.execute(
        f"""
        merge into campaigns as t
        using (
            select {", ".join(values)}
            from (select json as item from read_json_objects($file, format = 'newline_delimited'))
        ) as s on t.campaign_id = s.campaign_id
        when matched and s._listed_at >= t._listed_at then update set {updates}
        when not matched then insert ({", ".join(names)}) values ({", ".join(f"s.{name}" for name in names)})
        """,
        {
            "file": str(listing.path),
            "listed_at": listing.listed_at.astimezone(UTC).replace(tzinfo=None),
            "run_id": listing.run_id,
        },
    )
    row = connection.execute(
        "select count(*) from read_json_objects($file, format = 'newline_delimited')", {"file": str(listing.path)}
    ).fetchone()
    return int(row[0]) if row else 0


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
