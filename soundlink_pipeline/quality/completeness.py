"""Which days are there for all that is listed: the ledger compared with what the listing lets expect."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import duckdb

from soundlink_pipeline.contracts.account import ListedId
from soundlink_pipeline.contracts.days import DateRange, last_closed_day
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.warehouse.ledger import Ledger

# A day is due by this hour of the next one, in UTC; the schedule has then had five hours.
DUE_HOUR = 12
_LOOK_BACK = timedelta(days=90)


@dataclass(frozen=True)
class Missing:
    """Days of one campaign or soundlink on which rows are expected and which were never pulled."""

    listed_id: ListedId
    name: str
    days: tuple[date, ...]


def due_day(now: datetime) -> date:
    """The newest report_date that must be there at `now` (aware): yesterday, or before noon UTC the day before it."""
    return last_closed_day(now - timedelta(hours=DUE_HOUR))


def missing(connection: duckdb.DuckDBPyConnection, export: Export, dates: DateRange) -> list[Missing]:
    """Of all in the newest listings, the days of `dates` on which rows are expected, and never pulled."""
    pulled, ledger = _pulled(connection, export, dates), Ledger(connection)
    expected, found = ledger.expected_days(export), []
    for listed_id, listed in ledger.listed(export.subject).items():
        days = tuple(
            day
            for day in dates.dates()
            if listed_id not in pulled[day] and expected[listed_id].meet(DateRange(day, day))
        )
        if days:
            found.append(Missing(listed_id, export.subject.name_of(listed), days))
    return found


def lacking_days(connection: duckdb.DuckDBPyConnection, export: Export, dates: DateRange) -> set[date]:
    """The days of `dates` that were never pulled for something listed of which rows are expected then."""
    return {day for item in missing(connection, export, dates) for day in item.days}


def newest_complete_day(connection: duckdb.DuckDBPyConnection, export: Export, now: datetime) -> date | None:
    """The newest closed day that was pulled for all that is listed; None if there is none in the last 90 days.

    Listed is what each account's newest listing has and rows are expected of. It must be from after the day's end:
    before, one could have been created unseen.
    """
    ledger = Ledger(connection)
    listed_at = ledger.listed_at(export.subject).values()
    if not listed_at:
        return None
    newest = min(last_closed_day(now), last_closed_day(min(listed_at)))
    dates = DateRange(newest - _LOOK_BACK, newest)
    pulled, listed = _pulled(connection, export, dates), ledger.listed(export.subject)
    expected = ledger.expected_days(export)
    for day in reversed(list(dates.dates())):
        if all(c in pulled[day] or not expected[c].meet(DateRange(day, day)) for c in listed):
            return day
    return None


def _pulled(
    connection: duckdb.DuckDBPyConnection, export: Export, dates: DateRange
) -> defaultdict[date, set[ListedId]]:
    pulled: defaultdict[date, set[ListedId]] = defaultdict(set)
    for day, *listed_id in connection.execute(
        """
        select report_date, account, subject_id from report_date_status
        where export = $export and report_date between $start and $end
        """,
        {"export": export.name, "start": dates.start, "end": dates.end},
    ).fetchall():
        pulled[day].add(ListedId(*listed_id))
    return pulled
