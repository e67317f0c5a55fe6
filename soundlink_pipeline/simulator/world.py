"""The truth that the simulated API serves: a pure function of a seed, a question and a moment.

Nothing is remembered and nothing is drawn in sequence: a row depends on (seed, campaign, day) and on how old
the day is at ``now``, so the range asked, the order of questions and the process do not matter.
"""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Any

from soundlink_pipeline.simulator.campaigns import (
    TAIL_OF_ATTRIBUTION,
    Campaign,
    iso,
    make_campaign,
    midnight,
)
from soundlink_pipeline.simulator.chance import dice
from soundlink_pipeline.simulator.oddities import PLAIN, Oddities
from soundlink_pipeline.simulator.rekeying import key_of
from soundlink_pipeline.simulator.rows import breakdown_day, engagement_day
from soundlink_pipeline.simulator.snapshot import SETTLED_AFTER, Snapshot, snapshot

BREAKDOWN = "campaign_country_daily"
ENGAGEMENT = "campaign_engagement_daily"
CONTEXTS = ("catalog", "playlist")

DayOfRows = Callable[[int, Campaign, date, Snapshot], list[dict[str, Any]]]
_DAYS: dict[str, DayOfRows] = {BREAKDOWN: breakdown_day, ENGAGEMENT: engagement_day}
EXPORTS = tuple(_DAYS)


class World:
    """An account with its campaigns, from the seed.

    ``countries_per_campaign`` and ``tracks_per_campaign`` scale the number of rows a day (breakdown: about the
    countries; engagement: some three quarters of countries x tracks). ``duration_days`` makes every campaign run from
    ``first_day`` for that long. ``oddities`` are what real accounts bring, off by default.
    A benchmark's 312,000 rows, 248 MB:
    ``World(campaigns=30, duration_days=90, countries_per_campaign=30, tracks_per_campaign=4)`` over 90 days.
    """

    def __init__(
        self,
        seed: int = 1,
        campaigns: int = 12,
        first_day: date = date(2026, 1, 1),
        *,
        countries_per_campaign: int = 6,
        tracks_per_campaign: int = 3,
        duration_days: int | None = None,
        oddities: Oddities = PLAIN,
    ) -> None:
        self.seed = seed
        self.first_day = first_day
        self.late_rows = oddities.late_rows
        self.campaigns = [
            oddities.of(
                make_campaign(
                    seed,
                    index,
                    first_day,
                    countries=countries_per_campaign,
                    tracks=tracks_per_campaign,
                    duration=duration_days,
                ),
                index,
                first_day,
            )
            for index in range(campaigns)
        ]
        self._by_id = {campaign_id: campaign for campaign in self.campaigns for campaign_id in campaign.ids}

    def campaign(self, campaign_id: str) -> Campaign:
        """By the listing's id or by the UUID in the rows; KeyError when there is none."""
        return self._by_id[campaign_id]

    def visible(self, campaign_id: str, now: datetime) -> Campaign | None:
        """The campaign if it exists and was already created at ``now``."""
        campaign = self._by_id.get(campaign_id)
        return campaign if campaign and campaign.created_at <= now else None

    def listing(self, now: datetime) -> list[dict[str, Any]]:
        """List items of the campaigns created by ``now``, newest first."""
        created = [campaign for campaign in self.campaigns if campaign.created_at <= now]
        created.sort(key=lambda campaign: (campaign.created_at, campaign.uuid), reverse=True)
        return [campaign.listing(now) for campaign in created]

    def rows(
        self,
        export: str,
        campaign_id: str,
        start: date,
        end: date,
        now: datetime,
        *,
        engagement_context: str | None = None,
    ) -> list[dict[str, Any]]:
        """What the export holds at ``now``, both ends counted; columns and order as documented.

        Money is ``Decimal``, counts are ``int``, ratios ``float`` (or the ``int`` 0), dates ISO text.
        """
        campaign = self.campaign(campaign_id)
        rows_of_day = _DAYS[export]
        rows: list[dict[str, Any]] = []
        for day in _days_with_rows(export, campaign, start, min(end, now.date())):
            seen = snapshot(day, now)
            found = rows_of_day(self.seed, campaign, day, seen)
            if self.late_rows:  # before they are keyed anew: under another key a row is no later
                found = self._turned_up(found, export, day, now)
            rows += campaign.rekeying.rows(campaign.uuid, day, seen.exported_at, seen.nights, found)
        if engagement_context is not None:
            rows = [row for row in rows if row["engagement_context"] == engagement_context]
        return rows

    def _turned_up(self, rows: list[dict[str, Any]], export: str, day: date, now: datetime) -> list[dict[str, Any]]:
        """Those that have turned up: one in fifty does so up to 50 days after its day was final, with that moment."""
        found = []
        for row in rows:
            rng = dice(self.seed, "late", export, day, row["campaign_id"], *key_of(row))
            is_late, late_by = rng.random() < 0.02, timedelta(days=1 + int(rng.random() * 50))
            turns_up = midnight(day) + SETTLED_AFTER + late_by
            if not is_late:
                found.append(row)
            elif now >= turns_up:
                found.append({**row, "exported_at": iso(turns_up)})
        return found


def _days_with_rows(export: str, campaign: Campaign, start: date, end: date) -> Iterator[date]:
    """Breakdown: active days and the attribution window. Engagement: from creation to the end of the tail."""
    if export == BREAKDOWN and not campaign.begins:
        return
    tail = TAIL_OF_ATTRIBUTION if export == BREAKDOWN else timedelta(days=campaign.tail_days)
    day = max(start, campaign.start if export == BREAKDOWN else campaign.created_at.date())
    while day <= end:
        if day <= campaign.last_day_on(day) + tail:
            yield day
        day += timedelta(days=1)
