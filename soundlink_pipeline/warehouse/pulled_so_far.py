"""What a run must know of earlier ones before it asks of an account; `Ledger.pulled_so_far` is the door to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import duckdb

from soundlink_pipeline.contracts.days import MAX_DAYS_PER_PULL, SETTLED_AFTER_DAYS, DateRange

# Per export and id (as the API lists it), days.
DaysByRequest = dict[tuple[str, str], set[date]]


@dataclass(frozen=True)
class PulledSoFar:
    """What the ledger knows of an account when a run is planned. Keys are export and id (as the API lists it).

    `done`: days that need not be pulled. `newest_row`: the newest day with rows. `newest_final`: the newest day that
    was pulled after it settled. `final`: the days pulled after they settled, of those that are within the reach of a
    probe on the day after the run's range. `rows_before`: how many rows the newest delivery held that ends before a
    day. `pulled_before`: the names of the exports that were ever pulled; `is_first`: whether no run but this one has
    pulled anything. Per export: `probed_since`, the first of the newest three days up to the range's end with pulls
    that ended where probes do. `probes_made`: how many of the day after the range did.
    """

    done: DaysByRequest = field(default_factory=dict)
    newest_row: Mapping[tuple[str, str], date] = field(default_factory=dict)
    newest_final: Mapping[tuple[str, str], date] = field(default_factory=dict)
    final: Mapping[tuple[str, str], set[date]] = field(default_factory=dict)
    rows_before: Mapping[tuple[str, str, date], int] = field(default_factory=dict)
    pulled_before: frozenset[str] = frozenset()
    is_first: bool = True
    probed_since: Mapping[str, date] = field(default_factory=dict)
    probes_made: int = 0


def pulled_so_far(
    connection: duckdb.DuckDBPyConnection,
    dates: DateRange,
    run_ids: Sequence[str],
    account: str,
    newest_row: Mapping[tuple[str, str], date],
) -> PulledSoFar:
    """All of it but what is `done`."""
    states = connection.execute(
        f"""
        select export, subject_id,
            max(least(end_date, (pulled_at - interval {SETTLED_AFTER_DAYS} days)::date))
                filter (pulled_at >= start_date + interval {SETTLED_AFTER_DAYS} days)
        from deliveries where account = $account group by all
        """,
        {"account": account},
    ).fetchall()
    final = connection.execute(
        f"""
        select export, subject_id, list(distinct day::date)
        from (
            select export, subject_id,
                unnest(generate_series(
                    greatest(start_date, $since),
                    least(end_date, (pulled_at - interval {SETTLED_AFTER_DAYS} days)::date),
                    interval 1 day
                )) as day
            from deliveries where account = $account and end_date >= $since
        )
        group by all
        """,
        {"account": account, "since": dates.end - timedelta(days=MAX_DAYS_PER_PULL + SETTLED_AFTER_DAYS - 1)},
    ).fetchall()
    before = connection.execute(
        """
        select export, subject_id, day::date, arg_max(rows, (end_date, delivery_id))
        from deliveries join unnest($starts::date[]) as s (day) on end_date < day
        where account = $account group by all
        """,
        {"account": account, "starts": [part.start for part in dates.slices()]},
    ).fetchall()
    spans = connection.execute(
        f"""
        select export, bool_and(list_contains($runs, run_id)),
            list_min(max(distinct pulled_at::date, 3)
                filter (end_date = pulled_at::date - {SETTLED_AFTER_DAYS + 1} and pulled_at::date <= $end)),
            count(*) filter (end_date = $end - {SETTLED_AFTER_DAYS} and pulled_at::date = $end + 1)
        from deliveries where account = $account group by all
        """,
        {"account": account, "end": dates.end, "runs": list(run_ids)},
    ).fetchall()
    return PulledSoFar(
        probes_made=sum(made for *_, made in spans),
        newest_final={(export, subject_id): day for export, subject_id, day in states if day is not None},
        final={(export, subject_id): set(days) for export, subject_id, days in final},
        rows_before={(export, subject_id, day): rows for export, subject_id, day, rows in before},
        pulled_before=frozenset(export for export, *_ in spans),
        is_first=all(by_these for _, by_these, *_ in spans),
        probed_since={export: day for export, _, day, _ in spans if day is not None},
        newest_row=newest_row,
    )


def done_days(
    connection: duckdb.DuckDBPyConnection, dates: DateRange, run_ids: Sequence[str], settled: bool, account: str
) -> DaysByRequest:
    """As `Ledger.done_days`."""
    rows = connection.execute(
        """
        with pulled as (
            select export, subject_id,
                unnest(generate_series(start_date, end_date, interval 1 day))::date as day
            from deliveries where account = $account and list_contains($runs, run_id)
        ),
        final as (
            select export, subject_id, report_date as day from report_date_status
            where account = $account and $settled and is_settled
        )
        select export, subject_id, list(distinct day) from (from pulled union all from final)
        where day between $start and $end group by all
        """,
        {
            "account": account,
            "runs": list(run_ids),
            "settled": settled,
            "start": dates.start,
            "end": dates.end,
        },
    ).fetchall()
    return {(export, subject_id): set(days) for export, subject_id, days in rows}
