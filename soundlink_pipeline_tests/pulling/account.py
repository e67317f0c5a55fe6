"""An account whose campaigns end, refreshed by the real plan; what is delivered is made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import duckdb

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY as BREAKDOWN
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_ENGAGEMENT_DAILY as ENGAGEMENT
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange, refresh_range, settled_at
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.subject import Subject
from soundlink_pipeline.pulling.planning import Plan, PullRequest
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.warehouse.pulled_so_far import PulledSoFar

START = date(2026, 1, 1)
# Whether an export of a campaign has rows on a day when asked on another.
HasRows = Callable[[str, str, date, date], bool]


def days(number: int) -> timedelta:
    return timedelta(days=number)


def listed(name: str, created: date, end: date | None = None, status: str = "ended") -> dict[str, Any]:
    """A campaign in the listing; without an end it runs."""
    moments = {"createdAt": f"{created}T00:00:00Z", "updatedAt": f"{end or created}T00:00:00Z"}
    return {"campaignId": name, "status": status if end else "active", "campaignDuration": 1, **moments}


@dataclass
class Delivered:
    """A delivery, as far as the plan looks at it."""

    request: PullRequest
    now: datetime
    run_id: str
    rows: int


class Account:
    """An account that is refreshed daily, by the real plan; what is delivered is made up, and the ledger a model of it.

    `known`: when a row of an export, a campaign and a day was first delivered. A database for each day would cost more
    than all else; `in_a_database` is for what only a database can tell, and that the model is true to it.
    """

    def __init__(self, has_rows: HasRows, first_day: date = START, subject: Subject = CAMPAIGN) -> None:
        self.has_rows, self.first_day, self.subject = has_rows, first_day, subject
        self.exports = [export for export in EXPORTS if export.subject == subject]
        self.campaigns, self.now = list[dict[str, Any]](), datetime(2026, 1, 1, tzinfo=UTC)
        self.known: dict[tuple[str, str, date], date] = {}
        self.deliveries = list[Delivered]()
        self.final: dict[tuple[str, str], set[date]] = {}
        self.newest_row: dict[tuple[str, str], date] = {}

    def refreshed(
        self, campaigns: list[dict[str, Any]], today: date, oldest_unsettled: date | None = None
    ) -> list[PullRequest]:
        """The requests of the refresh in the morning of a day."""
        now = datetime.combine(today, time(7), UTC)
        dates = refresh_range(now, self.first_day, oldest_unsettled)
        assert dates is not None
        return self.run(campaigns, dates, now)

    def run(self, campaigns: list[dict[str, Any]], dates: DateRange, now: datetime) -> list[PullRequest]:
        asked, run_id = list[PullRequest](), f"run-{now}"
        self.campaigns, self.now = campaigns, now
        while True:
            so_far = self.so_far(dates, run_id)
            plan = Plan(self.exports, {self.subject: campaigns}, dates, so_far, now=now, first_day=self.first_day)
            with_rows = {request.place for request in plan.missing if self.delivered(request, run_id)}
            asked += plan.missing
            if not plan.may_go_on(with_rows):
                return asked

    def delivered(self, request: PullRequest, run_id: str) -> int:
        """Take a delivery in; returns how many rows it holds."""
        held = [day for day in request.dates.dates() if self.has_rows(*request.place, day, self.now.date())]
        for day in held:
            self.known.setdefault((*request.place, day), self.now.date())
            self.newest_row[request.place] = max(day, self.newest_row.get(request.place, day))
        final = {day for day in request.dates.dates() if self.now >= settled_at(day)}
        self.final.setdefault(request.place, set()).update(final)
        self.deliveries.append(Delivered(request, self.now, run_id, len(held)))
        return len(held)

    def so_far(self, dates: DateRange, run_id: str) -> PulledSoFar:
        """What the ledger would say: see its own words in `PulledSoFar`."""
        done = {place: {day for day in days if dates.start <= day <= dates.end} for place, days in self.final.items()}
        before: dict[tuple[str, str, date], tuple[date, int]] = {}
        probed: dict[str, set[date]] = {}
        parts = [part for part in dates.slices() if part.start < self.now.date() - days(8)]
        for item in self.deliveries:
            export, asked = item.request.export.name, item.request.dates
            if item.run_id == run_id:
                done.setdefault(item.request.place, set()).update(asked.dates())
            for part in parts:
                key = (*item.request.place, part.start)
                if asked.end < part.start and asked.end >= before.get(key, (date.min, 0))[0]:
                    before[key] = asked.end, item.rows
            if asked.end == item.now.date() - days(9) and item.now.date() <= dates.end:
                probed.setdefault(export, set()).add(item.now.date())
        return PulledSoFar(
            probes_made=sum(
                item.request.dates.end == dates.end - days(8) and item.now.date() == dates.end + days(1)
                for item in self.deliveries
            ),
            done={place: found for place, found in done.items() if found},
            newest_row=self.newest_row,
            newest_final={place: max(found) for place, found in self.final.items() if found},
            final={
                place: within
                for place, found in self.final.items()
                if (within := {day for day in found if day >= dates.end - days(90 + 8 - 1)})
            },
            rows_before={key: rows for key, (_, rows) in before.items()},
            pulled_before=frozenset(item.request.export.name for item in self.deliveries),
            is_first=all(item.run_id == run_id for item in self.deliveries),
            probed_since={export: min(sorted(found)[-3:]) for export, found in probed.items()},
        )

    def in_a_database(self, connection: duckdb.DuckDBPyConnection) -> Ledger:
        """The account's ledger, listing and rows; a row carries the id that its campaign is listed by."""
        for table in ("deliveries", "campaigns", BREAKDOWN.name, ENGAGEMENT.name):
            connection.execute(f"delete from {table}")
        listings = [(item["campaignId"], json.dumps(item), self.now.replace(tzinfo=None)) for item in self.campaigns]
        connection.executemany(
            "insert into campaigns (account, campaign_id, _listed_json, _listed_at) values ('default', ?, ?, ?)",
            listings,
        )
        for export, name, day in self.known:
            connection.execute(f"insert into {export} (campaign_id, report_date) values (?, ?)", [name, day])
        columns = (
            "account, export, subject_id, row_subject_id, start_date, end_date, pulled_at, rows, run_id, delivery_id"
        )
        connection.executemany(
            f"insert into deliveries ({columns}) values ('default', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *place,
                    place[1] if item.rows else None,
                    dates.start,
                    dates.end,
                    moment,
                    item.rows,
                    item.run_id,
                    number,
                )
                for number, item in enumerate(self.deliveries)
                for place, dates in [(item.request.place, item.request.dates)]
                for moment in [item.now.replace(tzinfo=None)]
            ],
        )
        return Ledger(connection)


def engagement_until(last: date) -> HasRows:
    return lambda export, _, day, now: export == ENGAGEMENT.name and day < now and day <= last


def of(export: Any, requests: list[PullRequest]) -> list[str]:
    return [str(request.dates) for request in requests if request.export == export]
