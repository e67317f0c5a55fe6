"""Campaigns: the fields that the API lists of each, and when one is over.

Of a campaign only `campaignId` may be relied on; every other field may be missing, null or new (the vendor's
generations differ), so each is read leniently, and rows are expected wherever its fields leave a doubt.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from soundlink_pipeline.contracts.subject import Item, Lifetime, Subject, moment
from soundlink_pipeline.contracts.table import MONEY, Column

# No ads run in these, and none will unless the status changes. A cycle that goes on although its renewal has failed
# shows in its rows, which keep it expected. Any other status may have rows: inactive and paused ones may be resumed,
# and those that renew or restart are about to run.
_OVER = ("ended", "stopped", "completed", "failed", "restart_failed", "renew_failed")
# Before its ads run a campaign has a link that may be played, and a change of status when it begins.
_NOT_BEGUN = "creating"
_LONGEST_DURATION = 100_000  # days; more is no duration

_LISTED = (
    Column(
        "campaign_id",
        "VARCHAR",
        "The id the API lists; campaign_id in the exports' rows may differ. Primary key, with account.",
        nullable=False,
    ),
    Column("organization_id", "VARCHAR", "Organization the campaign belongs to."),
    Column("status", "VARCHAR", "creating, active, inactive, ended, renewing, stopped, … as last listed."),
    Column("social_platform", "VARCHAR", "Where the ads run."),
    Column("daily_budget", MONEY, "Daily budget in USD."),
    Column("total_budget", MONEY, "Total budget in USD."),
    Column("campaign_duration", "BIGINT", "Planned duration in days."),
    Column("generation", "BIGINT", "Generation of the campaign product: 1 legacy, 2 managed, 3 wallet."),
    Column("artist_id", "VARCHAR", "The Spotify artist that follows are credited to."),
    Column("artist_name", "VARCHAR", "Display name of the artist."),
    Column("track_id", "VARCHAR", "Promoted Spotify track."),
    Column("playlist_id", "VARCHAR", "Promoted Spotify playlist."),
    Column("track_name", "VARCHAR", "Display name of the track."),
    Column("campaign_url", "VARCHAR", "An insights page for logged-in users; no landing page."),
    Column("created_at", "TIMESTAMP", "When the campaign was created (UTC)."),
    Column("updated_at", "TIMESTAMP", "When the campaign was last changed (UTC)."),
)
_DETAILS = (
    Column(
        "strategy_type",
        "VARCHAR",
        "maximum_growth, market_discovery, revenue_maximization, custom, … A detail: null until asked for.",
    ),
    Column("auto_renew", "BOOLEAN", "Whether it renews itself after its duration. A detail: null until asked for."),
)


def _lifetime(campaign: Item) -> Lifetime:
    created = moment(campaign.get("createdAt"))
    if created is None:
        return Lifetime(None)
    return Lifetime(created.date(), _end(campaign, created), begun=campaign.get("status") != _NOT_BEGUN)


def _end(campaign: Item, created: datetime) -> date | None:
    """The UTC day on which the ads are over at the latest; None of a campaign that may be running.

    It is the later of the last change and the planned duration. The change to a status that means an end is a change
    itself, so `updatedAt` is never before the end; it may be long after it, since a campaign's name may change, too.
    Such a campaign is asked for a while longer, never shorter.
    """
    if campaign.get("status") not in (*_OVER, _NOT_BEGUN):
        return None
    updated, duration = moment(campaign.get("updatedAt")), campaign.get("campaignDuration")
    if updated is None or isinstance(duration, bool) or not isinstance(duration, int | float):
        return None
    if not 0 <= duration < _LONGEST_DURATION:
        return None
    try:
        return max(updated, created + timedelta(days=duration)).date()
    except OverflowError:
        return None


CAMPAIGN = Subject(
    name="campaign",
    table="campaigns",
    meaning="The campaigns that each account saw, as last listed. Grain: one row per account and campaign id.",
    id_column="campaign_id",
    name_column="campaign_name",
    path="/v1/campaigns",
    scope="campaigns:read",
    listed=_LISTED,
    lifetime=_lifetime,
    named_by=("artistName", "trackName"),
    details=_DETAILS,
    changed_at="updatedAt",
)
