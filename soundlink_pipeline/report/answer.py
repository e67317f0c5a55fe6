"""The report's first section: what the newest seven days cost and brought, against the seven before.

Money stands per currency. What is provisional stands beside what it is expected to be once settled: settled days as
they are, and of provisional ones the estimate of their total (mart `settled_estimates`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import duckdb

from soundlink_pipeline.report.rows import OF_CAMPAIGN, Row, optional, rows

DAYS = 7
Number = Decimal | float | int


@dataclass(frozen=True)
class Value:
    """A sum or ratio of the seven days.

    `now` is None for a ratio without spend or divisor. `before` is the same of the seven days before; None where they
    cannot be compared (`Answer.has_before`). `expected` is what it is expected to be once settled; None if it is
    settled, or an estimate is lacking. `settled` is the part of `now` on settled days; None for a ratio.
    """

    now: Number | None
    before: Number | None
    expected: Number | None
    settled: Number | None
    is_settled: bool

    @property
    def change(self) -> float | None:
        """Against the days before, 0.1 is a tenth more; what is provisional by its expected value, if any.

        None where they have nothing, or less: corrections may make their spend negative.
        """
        known = self.now if self.expected is None else self.expected
        if known is None or self.before is None or self.before <= 0:
            return None
        return float(known) / float(self.before) - 1


@dataclass(frozen=True)
class InCurrency:
    """What the rows in one currency say; `spend` and costs are in it, fees included."""

    currency: str
    spend: Value
    followers: Value
    streams: Value
    cost_per_follower: Value
    media_cost_per_follower: Value


@dataclass(frozen=True)
class Answer:
    """Seven days, `first` to `last`, UTC, both included: the newest, unless others were requested.

    `new_listeners` are those of promoted tracks, the only ones that add up to people within a campaign; None where no
    track is promoted. `has_before` is false if not all of the seven days before were pulled, or nothing had begun by
    the first of them; `lacking` counts the days of the fourteen that lack rows which were expected.
    """

    first: date
    last: date
    currencies: list[InCurrency]
    new_listeners: Value | None
    has_before: bool
    lacking: int

    @property
    def before(self) -> tuple[date, date]:
        """First and last of the seven days before."""
        return self.first - timedelta(days=DAYS), self.first - timedelta(days=1)

    @property
    def values(self) -> list[Value]:
        """The sums, of which all else follows."""
        sums = [value for of in self.currencies for value in (of.spend, of.followers, of.streams)]
        return sums + ([self.new_listeners] if self.new_listeners else [])

    @property
    def is_settled(self) -> bool:
        return all(value.is_settled for value in self.values)

    @property
    def has_estimates(self) -> bool:
        return any(value.expected is not None for value in self.values)


def read_answer(
    connection: duckdb.DuckDBPyConnection, campaign_id: str | None, last: date | None = None
) -> Answer | None:
    """Of one campaign, or of all; of the seven days up to `last`, or else of the newest.

    None without any day of an ads' export that was pulled.
    """
    (newest,) = rows(connection, _NEWEST, campaign=campaign_id)
    if newest["day"] is None:
        return None
    last = last or newest["day"]
    first = last - timedelta(days=DAYS - 1)
    of_first = {"campaign": campaign_id, "first": first}
    of_days = {**of_first, "last": last}
    has_before = rows(connection, _BEFORE, **of_first)[0]["is_comparable"]
    (status,) = rows(connection, _ARE_SETTLED, **of_days)

    def total(of: Sequence[Row], measure: str) -> Value:
        return _total(of, measure, expected, has_before=has_before, are_settled=status["are_settled"])

    (lacking,) = rows(connection, _LACKING, **of_days)
    days, listening = rows(connection, _DAYS, **of_days), rows(connection, _NEW_LISTENERS, **of_days)
    expected = _estimated(optional(connection, _ESTIMATES, **of_first))
    return Answer(
        first=first,
        last=last,
        currencies=[
            _in_currency(currency, [day for day in days if day["currency"] == currency], total)
            for currency in sorted({day["currency"] for day in days})
        ],
        new_listeners=total(listening, "new_listeners") if listening else None,
        has_before=has_before,
        lacking=lacking["days"],
    )


# The accounts that list the campaign, or all.
_ACCOUNTS = """(
    $campaign::varchar is null or account in (select account from deliveries where row_subject_id = $campaign)
)"""

# The newest day that was pulled; of a campaign the newest with a row, for after its end nothing is expected of it.
_NEWEST = f"""
    select coalesce(
        (select max(report_date) from marts.campaign_daily where $campaign is not null and {OF_CAMPAIGN}),
        max(report_date)
    ) as day
    from marts.data_status
    where export = 'campaign_country_daily' and last_pulled_at is not null and {_ACCOUNTS}
"""

# Were all days pulled, of what had begun by then? Else there is less of them for that reason alone.
_BEFORE = f"""
    select count(distinct report_date) = {DAYS}
        and (select min(report_date) from marts.campaign_daily where {OF_CAMPAIGN}) <= $first - {DAYS} as is_comparable
    from marts.data_status
    where export = 'campaign_country_daily' and last_pulled_at is not null
        and report_date between $first - {DAYS} and $first - 1 and {_ACCOUNTS}
"""

_ARE_SETTLED = f"""
    select coalesce(bool_and(is_settled), false) as are_settled
    from marts.data_status
    where export = 'campaign_country_daily' and report_date between $first and $last and {_ACCOUNTS}
"""

_LACKING = f"""
    select count(distinct report_date) as days
    from marts.data_status
    where export = 'campaign_country_daily' and not is_complete
        and report_date between $first - {DAYS} and $last and {_ACCOUNTS}
"""

_DAYS = f"""
    select report_date >= $first as is_now, account_id, report_date, currency, bool_and(is_settled) as is_settled,
        sum(spend_total)::decimal(18, 6) as spend_total, sum(spend_media)::decimal(18, 6) as spend_media,
        sum(followers)::bigint as followers, sum(streams)::bigint as streams
    from marts.campaign_daily
    where {OF_CAMPAIGN} and report_date between $first - {DAYS} and $last
    group by all
"""

# The estimate is of all tracks of the organization, or the campaign: promoted ones are taken to fill up as these do.
_NEW_LISTENERS = f"""
    select report_date >= $first as is_now, account_id, report_date, bool_and(is_settled) as is_settled,
        coalesce(sum(new_listeners) filter (is_promoted_track), 0)::bigint as new_listeners
    from marts.track_engagement_daily
    where {OF_CAMPAIGN} and report_date between $first - {DAYS} and $last
        and campaign_id in (select campaign_id from marts.track_engagement_daily where is_promoted_track)
    group by all
"""

_ESTIMATES = """
    select account_id, export, currency, report_date, measure, value_now, settled_estimate
    from marts.settled_estimates
    where report_date >= $first and settled_estimate is not null
        and ($campaign::varchar is null and grain = 'account' or grain = 'subject' and subject_id = $campaign)
        and (export = 'campaign_country_daily' or export = 'campaign_engagement_daily' and measure = 'new_listeners')
"""

# What the value of a day is expected to be once settled; None if that is not known.
_Expected = Callable[[Row, str], Number | None]


def _estimated(estimates: Sequence[Row]) -> _Expected:
    found = {
        (row["account_id"], row["currency"], row["report_date"], row["measure"]): (
            row["value_now"],
            row["settled_estimate"],
        )
        for row in estimates
    }

    def expected(day: Row, measure: str) -> Number | None:
        key = day["account_id"], day.get("currency"), day["report_date"], measure
        now: Decimal | None
        settled: Decimal | None
        now, settled = found.get(key, (None, None))
        # What is a part of the estimated value is taken to fill up as the whole does.
        if settled is None or now == day[measure]:
            return settled
        return round(day[measure] * settled / now) if now else None

    return expected


def _in_currency(currency: str, days: Sequence[Row], total: Callable[[Sequence[Row], str], Value]) -> InCurrency:
    spend, followers = total(days, "spend_total"), total(days, "followers")
    return InCurrency(
        currency=currency,
        spend=spend,
        followers=followers,
        streams=total(days, "streams"),
        cost_per_follower=_ratio(spend, followers),
        media_cost_per_follower=_ratio(total(days, "spend_media"), followers),
    )


def _total(days: Sequence[Row], measure: str, expected: _Expected, *, has_before: bool, are_settled: bool) -> Value:
    """`are_settled`: whether the seven days are. Where they have no row, nothing else says if one may still come."""
    now = [day for day in days if day["is_now"]]
    open_days = [day for day in now if not day["is_settled"]]
    settled = sum(day[measure] for day in now if day["is_settled"])
    estimates = [value for day in open_days if (value := expected(day, measure)) is not None]
    return Value(
        now=sum(day[measure] for day in now),
        before=sum(day[measure] for day in days if not day["is_now"]) if has_before else None,
        expected=settled + sum(estimates) if open_days and len(estimates) == len(open_days) else None,
        settled=settled,
        is_settled=not open_days if now else are_settled,
    )


def _ratio(over: Value, under: Value) -> Value:
    return Value(
        now=_divided(over.now, under.now),
        before=_divided(over.before, under.before),
        expected=_divided(over.expected, under.expected),
        settled=None,
        is_settled=over.is_settled and under.is_settled,
    )


def _divided(over: Number | None, under: Number | None) -> float | None:
    # What costs nothing has no cost: somebody followed after the campaign had stopped to spend.
    return float(over) / float(under) if over and under else None
