"""What the weekly message says: the report's answer in lines, the days of four weeks, and the campaigns of the week."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import duckdb

from soundlink_pipeline.contracts.currencies import decimals
from soundlink_pipeline.report.answer import Answer, Value, read_answer
from soundlink_pipeline.report.rows import Row, rows

_PICTURE_DAYS = 28
_MOST_CAMPAIGNS = 10


@dataclass(frozen=True)
class Line:
    """One figure as text: now, as expected once settled, before, and the change from before to expected, or so far."""

    name: str
    now: str
    expected: str
    before: str
    change: str


@dataclass(frozen=True)
class Series:
    """A measure by day; `highest` and each value are in `unit`, which is empty for a count."""

    cid: str
    name: str
    days: list[date]
    values: list[float]
    is_final: list[bool]
    highest: str


@dataclass(frozen=True)
class Week:
    """`campaigns` are those of the seven days with the most spend in their currency, as texts.

    `more_campaigns` is how many others there are.
    """

    answer: Answer
    lines: list[Line]
    series: list[Series]
    campaigns: list[dict[str, str]]
    more_campaigns: int

    @property
    def period(self) -> str:
        """The ISO week that the seven days are, such as 2026-W48."""
        year, week, _ = self.answer.last.isocalendar()
        return f"{year}-W{week:02}"


def read_week(connection: duckdb.DuckDBPyConnection) -> Week | None:
    """The newest week, Monday to Sunday, that is over in a published file; None before any day of one was pulled.

    Raises duckdb.Error for a file without the marts.
    """
    (pulled,) = rows(connection, _PULLED)
    if pulled["last"] is None:
        return None
    sunday = date.fromordinal(pulled["last"].toordinal() - pulled["last"].isoweekday() % 7)
    answer = read_answer(connection, None, sunday) if pulled["first"] <= sunday else None
    if answer is None:
        return None
    # Of each currency those with the most spend, in turn: amounts of two currencies do not compare.
    found = rows(connection, _CAMPAIGNS, first=answer.first, last=answer.last)
    days = rows(connection, _DAYS, first=answer.last, days=_PICTURE_DAYS)
    return Week(
        answer=answer,
        lines=list(_lines(answer)),
        series=list(_series(days)),
        campaigns=[_campaign(row) for row in sorted(found[:_MOST_CAMPAIGNS], key=_by_currency)],
        more_campaigns=max(len(found) - _MOST_CAMPAIGNS, 0),
    )


_PULLED = """
    select min(report_date) as first, max(report_date) as last
    from marts.data_status
    where export = 'campaign_country_daily' and last_pulled_at is not null
"""

_CAMPAIGNS = """
    select campaign_id, max_by(campaign_name, report_date) as campaign_name, currency, sum(spend_total) as spend,
        sum(streams) as streams, sum(followers) as followers, bool_and(is_settled) as is_settled
    from marts.campaign_daily
    where report_date between $first and $last
    group by campaign_id, currency
    order by row_number() over (partition by currency order by spend desc, campaign_id), streams desc, campaign_id
"""

_DAYS = """
    select report_date, currency, sum(spend_total) as spend, sum(streams) as streams, bool_and(is_settled) as is_settled
    from marts.campaign_daily
    where report_date between $first - $days::integer + 1 and $first
    group by all
    order by all
"""


def _lines(answer: Answer) -> Iterator[Line]:
    for of in answer.currencies:
        where = f" ({of.currency})" if len(answer.currencies) > 1 else ""
        yield _line("Spend", of.spend, of.currency)
        yield _line(f"New followers{where}", of.followers)
        yield _line("Cost per follower", of.cost_per_follower, of.currency)
        yield _line(f"Streams{where}", of.streams)
    if answer.new_listeners:
        yield _line("New listeners", answer.new_listeners)


def _line(name: str, value: Value, currency: str = "") -> Line:
    """A provisional figure that no estimate is known for says so instead of an expected value."""
    expected = "final" if value.is_settled else "not known"
    if not value.is_settled and value.expected is not None:
        expected = _shown(value.expected, currency)
    so_far = "so far " if expected == "not known" else ""
    change = "" if value.change is None else so_far + f"{value.change:+.0%}".replace("+0%", "0%").replace("-0%", "0%")
    return Line(name, _shown(value.now, currency), expected, _shown(value.before, currency), change)


def _shown(value: Decimal | float | None, currency: str) -> str:
    if value is None:
        return "n/a"
    return f"{value:,.{decimals(currency)}f} {currency}" if currency else f"{value:,.0f}"


def _series(days: list[Row]) -> Iterator[Series]:
    """The spend of each currency, and the streams of all: they are counts, and may be added up."""
    for number, currency in enumerate(sorted({row["currency"] for row in days if row["spend"]})):
        own = {row["report_date"]: row for row in days if row["currency"] == currency}
        yield _by_day(f"spend{number}", f"Spend per day, {currency}", own, "spend", currency)
    all_days: dict[date, Row] = {}
    for row in days:
        day = all_days.setdefault(row["report_date"], {"streams": 0, "is_settled": True})
        day["streams"] += row["streams"]
        day["is_settled"] &= row["is_settled"]
    if all_days:
        yield _by_day("streams", "Streams per day", all_days, "streams", "")


def _by_day(cid: str, name: str, by_day: dict[date, Row], measure: str, currency: str) -> Series:
    """Every day from the first to the last: one without a row has nothing."""
    first, last = min(by_day), max(by_day)
    days = [date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1)]
    values = [float(by_day[day][measure]) if day in by_day else 0.0 for day in days]
    final = [bool(by_day[day]["is_settled"]) if day in by_day else True for day in days]
    return Series(cid, name, days, values, final, _shown(max(values), currency))


def _by_currency(row: Row) -> tuple[str, Decimal, str]:
    return row["currency"], -row["spend"], row["campaign_id"]


def _campaign(row: Row) -> dict[str, str]:
    cost = row["spend"] / row["followers"] if row["spend"] and row["followers"] else None
    return {
        "id": row["campaign_id"],
        "name": row["campaign_name"],
        "spend": _shown(row["spend"], row["currency"]),
        "streams": _shown(row["streams"], ""),
        "followers": _shown(row["followers"], ""),
        "cost": _shown(cost, row["currency"]),
        "status": "final" if row["is_settled"] else "provisional",
    }
