"""Which days the row checks look at: those of a run's range, and any other that its deliveries have changed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

import duckdb

from soundlink_pipeline.contracts.days import PROBE_REACH_DAYS, DateRange
from soundlink_pipeline.contracts.schema import DATE_COLUMN, Export


@dataclass(frozen=True)
class CheckedDays:
    """The parameters of the checks' queries.

    `days`, ascending. A check of changes also looks at days from `first` to `last` that have changed with a pull of the
    moment `since` or later (UTC, without a zone): what a probe has found on the days before a refresh's range stays a
    failure for as long as its pull is within that range. `loaded` are the run's deliveries: what they have moved to
    another organization is told in that run only.
    """

    days: tuple[date, ...]
    first: date
    last: date
    since: datetime
    loaded: tuple[str, ...] = ()

    def parameters(self) -> dict[str, Any]:
        window = {"days": list(self.days), "first": self.first, "last": self.last, "since": self.since}
        return window | {"loaded": list(self.loaded)}


def checked_days(
    connection: duckdb.DuckDBPyConnection, export: Export, dates: DateRange, loaded: Collection[str]
) -> CheckedDays:
    """The days of `dates`, and those outside with a row that one of the deliveries `loaded` brought or took away.

    The tables are searched only where such a delivery covers other days, and for its rows only where it has some.
    """
    days, since = set(dates.dates()), datetime.combine(dates.start, time())
    outside = connection.execute(
        """
        select delivery_id, start_date, end_date, rows, pulled_at from deliveries
        where export = $export and list_contains($loaded, delivery_id) and (start_date < $start or end_date > $end)
        """,
        {"export": export.name, "loaded": list(loaded), "start": dates.start, "end": dates.end},
    ).fetchall()
    if outside:
        since = min(since, *(moment for *_, moment in outside))
        taken = "select report_date from vanished_rows where export = $1 and list_contains($2, vanished_delivery_id)"
        days |= _days(connection, taken, [export.name, [name for name, *_ in outside]])
    if with_rows := [item for item in outside if item[3]]:
        names, starts, ends, *_ = zip(*with_rows, strict=True)
        brought = (
            f"select distinct {DATE_COLUMN} from {export.name}"
            f" where {DATE_COLUMN} between $1 and $2 and list_contains($3, _delivery_id)"
        )
        days |= _days(connection, brought, [min(starts), max(ends), list(names)])
    first = min(dates.start - timedelta(days=PROBE_REACH_DAYS), *days)
    return CheckedDays(tuple(sorted(days)), first, max(days), since, tuple(loaded))


def _days(connection: duckdb.DuckDBPyConnection, query: str, parameters: list[Any]) -> set[date]:
    return {day for (day,) in connection.execute(query, parameters).fetchall()}
