"""The rules. Each is a query over the marts of a published file, and returns what breaks it.

All of them judge by the end of a range that speaks for the campaign: a provisional day never raises an alarm that its
final numbers would not. Money is of the campaign's own currency; nothing is added up over currencies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import duckdb

from soundlink_pipeline.marketing.findings import Finding, days_of, final_on, money
from soundlink_pipeline.marketing.judged_days import JUDGED_DAYS
from soundlink_pipeline.wording import counted

# A cost is of seven days, as in marts.costs: fewer days jump with the weekday.
_WINDOW_DAYS = 7
# A new campaign is held against the threshold from its third day on.
_LEAST_DAYS = 3
# What is usual is read from the settled windows of the eight weeks before; under four weeks of them nothing is.
_PAST_DAYS = 56
_LEAST_PAST_DAYS = 28
# Usual reaches as far beyond the quartiles as twice the distance between them, on a scale of ratios, and at least a
# quarter off the median. Of simulated campaigns that never change, up to 3 in 100 are out of that; of those whose
# followers come to cost twice as much, three in four at 10 followers a day and one in four at one.
_REACH = 2
_LEAST_CHANGE = 0.25
# Days with spend and without streams, before it is worth a message.
_SILENT_DAYS = 3
# A campaign whose newest day with spend is older is over, or was not pulled.
_LIVE_DAYS = 3
# Of the first days a pace says little.
_PACE_DAYS = 3
# The column of marts.costs and the words for each result that has a cost.
_RESULTS = {"follower": ("followers", "follower"), "listener": ("listeners", "listener_day")}


@dataclass(frozen=True)
class Limits:
    """The most that a follower and a day's listener may cost, by currency; under "" that of every other currency."""

    follower: Mapping[str, Decimal] = field(default_factory=dict)
    listener: Mapping[str, Decimal] = field(default_factory=dict)


def find_all(connection: duckdb.DuckDBPyConnection, limits: Limits) -> list[Finding]:
    """What breaks any rule in a published file, by campaign. Raises duckdb.Error for a file without the marts."""
    found = [*silent(connection), *off_pace(connection)]
    for result, prices in (("follower", limits.follower), ("listener", limits.listener)):
        found += too_dear(connection, result, prices)
        found += unusual(connection, result)
    shared = {row["campaign_name"] for row in _rows(connection, _SHARED_NAMES)}
    found = [replace(item, shares_name=item.campaign_name in shared) for item in found]
    return sorted(found, key=lambda item: (item.campaign_name, item.campaign_id, item.rule, item.currency))


_SHARED_NAMES = """
    select campaign_name from marts.campaign_daily group by campaign_name having count(distinct campaign_id) > 1
"""


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    found = connection.execute(query)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _windows(count: str) -> str:
    """CTEs that end with `windows`: of each live campaign and currency the newest week of days that can be judged."""
    return f"""
        with {JUDGED_DAYS},

        windows as (
            select
                campaign_id,
                currency,
                max_by(campaign_name, report_date) as campaign_name,
                min(report_date) as first_day,
                max(report_date) as last_day,
                count(*) as days,
                bool_and(is_settled) as is_settled,
                sum(spend)::double as spend,
                sum({count}_low) as low,
                sum({count}_high) as high
            from (
                select *
                from judged_days
                where {count}_high is not null and {count}_low is not null
                qualify report_date
                    > max(report_date) over (partition by campaign_id, currency) - {_WINDOW_DAYS}
            )
            where (campaign_id, currency) in ({_LIVE})
            group by campaign_id, currency
            having sum(spend) > 0
        )
    """


# A subquery: the campaigns that spend, with the currency they spend in.
_LIVE = f"""
    select campaign_id, currency
    from judged_days
    where spend > 0 and report_date > (select day from newest) - {_LIVE_DAYS}
"""


def too_dear(connection: duckdb.DuckDBPyConnection, result: str, limits: Mapping[str, Decimal]) -> Iterator[Finding]:
    """Campaigns whose cost per `result` over the week is above the limit; without a result, once one would be."""
    count, _ = _RESULTS[result]
    query = f"{_windows(count)} select * from windows where days >= {_LEAST_DAYS}"
    for row in _rows(connection, query) if limits else ():
        limit = limits.get(row["currency"], limits.get(""))
        if limit is None or row["spend"] <= float(limit) * max(row["high"], 1):
            continue
        yield _finding(f"cost_per_{result}_above_limit", row, result, f"The limit is {money(limit, row['currency'])}")


def unusual(connection: duckdb.DuckDBPyConnection, result: str) -> Iterator[Finding]:
    """Campaigns whose cost per `result` over the week is out of the range of their own settled weeks before."""
    count, column = _RESULTS[result]
    query = f"""
        {_windows(count)},

        -- Only whole weeks that share no day with the one that is judged.
        past as (
            select
                windows.campaign_id,
                windows.currency,
                count(*) as past_days,
                quantile_cont(ln(cost), 0.25) as lower,
                quantile_cont(ln(cost), 0.5) as middle,
                quantile_cont(ln(cost), 0.75) as upper
            from windows
            inner join (
                select *, total_cost_per_{column}_7d::double as cost
                from marts.costs
                where is_settled and days_7d = {_WINDOW_DAYS} and total_cost_per_{column}_7d > 0
            ) as costs
                on windows.campaign_id = costs.campaign_id
                and windows.currency = costs.currency
                and costs.report_date < windows.first_day
                and costs.report_date >= windows.first_day - {_PAST_DAYS}
            group by windows.campaign_id, windows.currency
            having count(*) >= {_LEAST_PAST_DAYS}
        ),

        ranges as (
            select
                *,
                least(exp(lower - {_REACH} * (upper - lower)), exp(middle) * {1 - _LEAST_CHANGE}) as usual_low,
                greatest(exp(upper + {_REACH} * (upper - lower)), exp(middle) * {1 + _LEAST_CHANGE}) as usual_high
            from past
        )

        select windows.*, past_days, usual_low, usual_high, exp(middle) as usual
        from windows
        inner join ranges
            on windows.campaign_id = ranges.campaign_id
            and windows.currency = ranges.currency
        where windows.days = {_WINDOW_DAYS}
            and (spend > usual_high * greatest(high, 1) or spend < usual_low * low)
    """
    for row in _rows(connection, query):
        low, high = (money(row[name], row["currency"]) for name in ("usual_low", "usual_high"))
        usual = f"Usual is {low} to {high}, by weeks that ended in the eight weeks before"
        yield _finding(f"cost_per_{result}_unusual", row, result, usual)


def _finding(rule: str, row: dict[str, Any], result: str, usual: str) -> Finding:
    days = days_of(row["first_day"], row["last_day"])
    spend = money(row["spend"], row["currency"])
    # The end of the range that speaks for the campaign: the most results, if it is dear.
    is_cheap = "usual_low" in row and row["spend"] < row["usual_low"] * row["low"]
    results = row["low"] if is_cheap else row["high"]
    many = f"{results:,.0f} {result}{'' if results == 1 else 's'}"
    expected = "" if row["is_settled"] else " expected at least" if is_cheap else " expected at most"
    cost = row["spend"] / results if results else None
    told = f"a {result} costs {money(cost, row['currency'])}" if cost else f"no {result} was won"
    return Finding(
        rule=rule,
        campaign_id=row["campaign_id"],
        campaign_name=row["campaign_name"],
        currency=row["currency"],
        number=f"{told}: {spend} for {many}{expected}, {days}",
        usual=usual,
        final_on=final_on(row["last_day"], is_settled=row["is_settled"]),
        facts={
            "value": cost,
            "spend": row["spend"],
            f"{result}s": results,
            "first_day": str(row["first_day"]),
            "last_day": str(row["last_day"]),
            "usual_low": row.get("usual_low"),
            "usual_high": row.get("usual_high"),
        },
    )


def silent(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    """Campaigns that spend, and had no stream on their newest days with spend that can be judged."""
    query = f"""
        with {JUDGED_DAYS},

        -- A stream may be in a row of another currency than the money.
        campaign_days as (
            select
                campaign_id,
                report_date,
                max(campaign_name) as campaign_name,
                max_by(currency, spend) as currency,
                sum(spend)::double as spend,
                bool_and(is_settled) as is_settled,
                case when count(streams_high) = count(*) then sum(streams_high) end as streams
            from judged_days
            group by campaign_id, report_date
            having sum(spend) > 0
        ),

        newest_days as (
            select *
            from campaign_days
            where streams is not null
            qualify row_number() over (partition by campaign_id order by report_date desc) <= {_SILENT_DAYS}
        ),

        silent as (
            select
                campaign_id,
                any_value(currency) as currency,
                max_by(campaign_name, report_date) as campaign_name,
                min(report_date) as first_day,
                max(report_date) as last_day,
                sum(spend) as spend,
                bool_and(is_settled) as is_settled
            from newest_days
            where campaign_id in (select campaign_id from ({_LIVE}))
            group by campaign_id
            having count(*) = {_SILENT_DAYS} and sum(streams) = 0 and count(distinct currency) = 1
        ),

        -- of the days with spend in the four weeks before
        past as (
            select silent.campaign_id, median(streams) as usual, count(*) as days
            from silent
            inner join (
                select campaign_id, report_date, sum(streams) as streams
                from marts.campaign_daily
                group by campaign_id, report_date
                having sum(spend_total) > 0 and bool_and(is_settled)
            ) as days
                on silent.campaign_id = days.campaign_id
                and days.report_date between silent.first_day - {_LEAST_PAST_DAYS} and silent.first_day - 1
            group by silent.campaign_id
        )

        select silent.*, past.usual, past.days
        from silent
        left join past on silent.campaign_id = past.campaign_id
    """
    for row in _rows(connection, query):
        days = counted(_SILENT_DAYS, "day")
        usual = "No settled day with spend before them tells what is usual"
        if row["days"]:
            usual = f"Usual is {row['usual']:,.0f} streams a day, by {counted(row['days'], 'settled day')} before"
        yield Finding(
            rule="spend_without_streams",
            campaign_id=row["campaign_id"],
            campaign_name=row["campaign_name"],
            currency=row["currency"],
            number=(
                f"no stream for {money(row['spend'], row['currency'])} on {days} with spend,"
                f" {days_of(row['first_day'], row['last_day'])}"
            ),
            usual=usual,
            final_on=final_on(row["last_day"], is_settled=row["is_settled"]),
            facts={
                "value": 0,
                "spend": row["spend"],
                "first_day": str(row["first_day"]),
                "last_day": str(row["last_day"]),
                "usual": row["usual"],
            },
        )


def off_pace(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    """Campaigns whose budget goes faster or slower than their time, as campaign_pacing has it of its newest day."""
    query = f"""
        select *
        from (
            select *
            from marts.campaign_pacing
            qualify row_number() over (partition by campaign_id, currency order by report_date desc) = 1
        )
        where state in ('over', 'under')
            and report_date > (select max(report_date) from marts.campaign_pacing) - {_LIVE_DAYS}
            and report_date - run_start_date + 1 >= {_PACE_DAYS}
    """
    for row in _rows(connection, query):
        currency = row["currency"]
        yield Finding(
            rule=f"budget_{row['state']}_pace",
            campaign_id=row["campaign_id"],
            campaign_name=row["campaign_name"],
            currency=currency,
            number=(
                f"{row['budget_share']:.0%} of the budget of {money(row['total_budget'], currency)} is spent after"
                f" {row['time_share']:.0%} of the time, by {row['report_date']}; at this rate"
                f" {money(row['projected_spend_total'], currency)} by {row['run_end_date']}"
            ),
            usual="On pace, both shares are within a tenth of each other",
            final_on=final_on(row["report_date"], is_settled=row["is_settled"]),
            facts={
                "value": float(row["pace"]),
                "spend": float(row["spend_total_to_date"]),
                "budget": float(row["total_budget"]),
                "projected_spend": float(row["projected_spend_total"]),
                "last_day": str(row["report_date"]),
            },
        )
