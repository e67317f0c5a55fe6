"""Which days are there for every campaign: the ledger compared with what the campaign listing lets expect."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import duckdb

from soundlink_pipeline.contracts.campaigns import may_have_rows
from soundlink_pipeline.contracts.days import DateRange, last_closed_day

# A day is due by this hour of the next one, in UTC; the schedule has then had five hours.
DUE_HOUR = 12
_LOOK_BACK = timedelta(days=90)


@dataclass(frozen=True)
class Missing:
    """Days of one campaign that can have rows and were never pulled."""

    campaign_id: str
    name: str
    days: tuple[date, ...]


def due_day(now: datetime) -> date:
    """The newest report_date that must be there at `now` (aware): yesterday, or before noon UTC the day before it."""
    return last_closed_day(now - timedelta(hours=DUE_HOUR))


def missing(connection: duckdb.DuckDBPyConnection, export: str, dates: DateRange) -> list[Missing]:
    """Of each campaign in the newest listing, the days of `dates` that can have rows and were never pulled."""
    pulled = _pulled(connection, export, dates)
    found = []
    for campaign_id, listed in _listed(connection):
        days = tuple(
            day
            for day in dates.dates()
            if campaign_id not in pulled[day] and may_have_rows(listed, DateRange(day, day))
        )
        if days:
            found.append(Missing(campaign_id, name_of(listed), days))
    return found


def newest_complete_day(connection: duckdb.DuckDBPyConnection, export: str, now: datetime) -> date | None:
    """The newest closed day that every campaign was pulled for; None if there is none in the last 90 days.

    Campaigns are those of the newest listing, which must be from after the day's end: before, one could have been
    created unseen.
    """
    listed_at = connection.execute("select max(_listed_at) from campaigns").fetchall()[0][0]
    if listed_at is None:
        return None
    campaigns = _listed(connection)
    newest = min(last_closed_day(now), last_closed_day(listed_at.replace(tzinfo=UTC)))
    dates = DateRange(newest - _LOOK_BACK, newest)
    pulled = _pulled(connection, export, dates)
    for day in reversed(list(dates.dates())):
        if all(c in pulled[day] or not may_have_rows(listed, DateRange(day, day)) for c, listed in campaigns):
            return day
    return None


def name_of(listed: dict[str, object]) -> str:
    """What a person calls a campaign, from its listing; empty where it names nothing."""
    return ", ".join(str(listed[field]) for field in ("artistName", "trackName") if listed.get(field))


def _listed(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, dict[str, object]]]:
    rows = connection.execute(
        """
        select campaign_id, _listed_json from campaigns
        where _listed_at = (select max(_listed_at) from campaigns) order by campaign_id
        """
    ).fetchall()
    return [(campaign_id, json.loads(listed)) for campaign_id, listed in rows]


def _pulled(connection: duckdb.DuckDBPyConnection, export: str, dates: DateRange) -> defaultdict[date, set[str]]:
    pulled: defaultdict[date, set[str]] = defaultdict(set)
    for day, campaign_id in connection.execute(
        """
        select report_date, campaign_id from report_date_status
        where export = $export and report_date between $start and $end
        """,
        {"export": export, "start": dates.start, "end": dates.end},
    ).fetchall():
        pulled[day].add(campaign_id)
    return pulled
