"""Whether the world was asked soon enough: what the vendor's documentation and ours promise of each campaign's days."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta

import duckdb

from benchmarks.endurance.world import FIRST_DAY
from soundlink_pipeline.contracts.days import settled_at
from soundlink_pipeline.simulator import BREAKDOWN, ENGAGEMENT, EXPORTS, World
from soundlink_pipeline.simulator.campaigns import TAIL_OF_ATTRIBUTION, Campaign, midnight

# An export, a campaign by the id in its rows, and a report_date.
Place = tuple[str, str, date]
# Engagement is asked for daily until these days after a campaign's end are final,
LISTENED_DAILY = timedelta(days=30)
# and for as long as one of so many days that were pulled has rows.
WITH_ROWS = timedelta(days=14)
# A row of these days is known at the latest so long after its day was final.
PROBED, KNOWN_AFTER = timedelta(days=90), timedelta(days=30)
_DAY, _TRAILING = timedelta(days=1), timedelta(days=8)


def hold_to_promises(
    connection: duckdb.DuckDBPyConnection,
    world: World,
    asked: Mapping[Place, datetime],
    now: datetime,
    *,
    everything: bool,
) -> None:
    """AssertionError where a day was asked for too early, or never, of those that have to be asked for."""
    today = now.date()
    campaigns = [campaign for campaign in world.campaigns if campaign.created_at <= now]
    back = FIRST_DAY if everything else max(FIRST_DAY, today - timedelta(days=40))
    due = {
        (export, campaign.uuid, day): min(settled_at(day), midnight(today))
        for export in EXPORTS
        for campaign in campaigns
        for day in _days(back, today - _DAY)
        if _is_daily(export, campaign, day)
    }
    first, last = today - _TRAILING - (WITH_ROWS - _TRAILING + _DAY), today - _TRAILING - _DAY
    for (campaign_id,) in connection.execute(
        f"select distinct campaign_id from {ENGAGEMENT} where report_date between $1 and $2", [first, last]
    ).fetchall():
        for day in _days(max(FIRST_DAY, today - _TRAILING), today - _DAY):
            due[ENGAGEMENT, campaign_id, day] = midnight(today)
    if everything:
        for day in _days(max(FIRST_DAY, today - PROBED), today - _TRAILING - KNOWN_AFTER):
            for campaign in campaigns:
                for export in EXPORTS:
                    if world.rows(export, campaign.uuid, day, day, settled_at(day)):
                        due[export, campaign.uuid, day] = settled_at(day)
    late = [(place, moment) for place, moment in due.items() if place not in asked or asked[place] < moment]
    assert not late, f"on {now} these have not been asked for since they should: {late}"


def _is_daily(export: str, campaign: Campaign, day: date) -> bool:
    """Whether a day of a campaign is asked for daily until it is final, whatever rows have come."""
    if export == BREAKDOWN:
        return campaign.begins and campaign.start <= day <= campaign.last_day_on(day) + TAIL_OF_ATTRIBUTION
    # One that never begins is over at its planned end, which is counted from its creation.
    created = campaign.created_at.date()
    end = campaign.last_day_on(day) if campaign.begins else created + timedelta(days=campaign.duration - 1)
    return created <= day <= end + LISTENED_DAILY


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range((last - first).days + 1))
