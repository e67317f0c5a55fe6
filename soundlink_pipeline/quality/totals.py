"""Whether the loaded rows add up to the totals that Soundlink itself gives of a campaign.

`settled_totals` sums the country rows of a campaign's settled days, so that no revision explains a difference;
`compare` holds the sums against the overview of the same days. Neither makes a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zlib import crc32

import duckdb

from soundlink_pipeline.contracts.account import DEFAULT_ACCOUNT
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import SETTLED_AFTER_DAYS, DateRange, last_closed_day
from soundlink_pipeline.contracts.overview import FIGURES, Figure, figure_of
from soundlink_pipeline.contracts.subject import expected_days
from soundlink_pipeline.warehouse.ledger import Ledger

# The live campaigns are compared in so many parts, one a day.
PARTS = 7
# A campaign is live while country rows are expected on one of so many days: until a week after its last day has
# settled, so that its final sums are compared, too.
_LIVE_DAYS = SETTLED_AFTER_DAYS + PARTS
# Money is loaded to the sixth decimal; a sum that was made of binary fractions is off by less.
_SAME = Decimal("0.0000005")


@dataclass(frozen=True)
class SettledTotals:
    """What the country rows of a campaign add up to over `dates`, which are settled.

    `campaign_id` is the id the API lists. `sums` are by figure; of those `incomplete` a row's value is unknown, so that
    the sum is the least it can be. `currencies` are those of the rows, none where there are no rows.
    """

    campaign_id: str
    name: str
    dates: DateRange
    sums: Mapping[str, Decimal]
    incomplete: frozenset[str] = frozenset()
    currencies: tuple[str, ...] = ()


@dataclass(frozen=True)
class LiveCampaigns:
    """The ids of all live campaigns, and the totals of those that are due and have settled days."""

    ids: frozenset[str]
    due: list[SettledTotals]


@dataclass(frozen=True)
class Difference:
    """A figure of which Soundlink's own total is another than the sum of the rows."""

    campaign_id: str
    name: str
    dates: DateRange
    figure: str
    rows: Decimal
    overview: Decimal

    def __str__(self) -> str:
        campaign = f"{self.name!r} ({self.campaign_id})" if self.name else self.campaign_id
        return (
            f"{campaign}, {self.dates}: {self.figure} {self.rows.normalize():,f} in the rows,"
            f" {self.overview.normalize():,f} at Soundlink"
        )


@dataclass(frozen=True)
class Comparison:
    """What came of one overview: the differences, and by figure why it says nothing of it."""

    differences: list[Difference]
    not_compared: dict[str, str]


def part_of(campaign_id: str) -> int:
    """The part of the live campaigns that this one belongs to, from 0 to PARTS - 1: the same in every process."""
    return crc32(campaign_id.encode()) % PARTS


def settled_totals(
    connection: duckdb.DuckDBPyConnection, part: int | None = None, account: str = DEFAULT_ACCOUNT
) -> LiveCampaigns:
    """The totals of an account's live campaigns of a part, or of all.

    Live are the campaigns of the newest listing that could have rows on one of the last days before it, those that have
    just ended included. Of each campaign the newest days that are settled without a gap are summed.
    """
    live = _live(connection, account)
    ids = [campaign_id for campaign_id in live if part is None or part_of(campaign_id) == part]
    columns = ", ".join(
        f"coalesce(sum(r.{figure.name}), 0), count(r.report_date) - count(r.{figure.name})" for figure in FIGURES
    )
    rows = connection.execute(
        f"""
        with settled as (
            select subject_id as campaign_id, report_date,
                report_date - row_number() over (partition by subject_id order by report_date)::integer as streak
            from report_date_status
            where account = $account and export = $export and is_settled and list_contains($ids, subject_id)
        ),
        streaks as (
            select campaign_id, min(report_date) as first_day, max(report_date) as last_day from settled
            group by campaign_id, streak
            qualify last_day = max(last_day) over (partition by campaign_id)
        ),
        paths as (
            select distinct subject_id as campaign_id, row_subject_id from deliveries
            where account = $account and export = $export and row_subject_id is not null
        )
        select s.campaign_id, first_day, last_day,
            arg_max(r.campaign_name, (r.report_date, r.exported_at, r.country_code)),
            list(distinct r.currency order by r.currency) filter (r.currency is not null), {columns}
        from streaks as s
        left join paths as p on p.campaign_id = s.campaign_id
        left join {CAMPAIGN_COUNTRY_DAILY.name} as r
            on r.campaign_id = p.row_subject_id and r.report_date between first_day and last_day
        group by s.campaign_id, first_day, last_day
        order by s.campaign_id
        """,
        {"account": account, "export": CAMPAIGN_COUNTRY_DAILY.name, "ids": ids},
    ).fetchall()
    due = []
    for campaign_id, first, last, name, currencies, *figures in rows:
        names = [figure.name for figure in FIGURES]
        due.append(
            SettledTotals(
                campaign_id,
                name or CAMPAIGN.name_of(live[campaign_id]),
                DateRange(first, last),
                dict(zip(names, map(Decimal, figures[::2]), strict=True)),
                frozenset(name for name, unknown in zip(names, figures[1::2], strict=True) if unknown),
                tuple(currencies or ()),
            )
        )
    return LiveCampaigns(frozenset(live), due)


def _live(connection: duckdb.DuckDBPyConnection, account: str) -> dict[str, dict[str, Any]]:
    """The listed fields of each live campaign of an account, by its id."""
    ledger = Ledger(connection)
    listed_at = ledger.listed_at(CAMPAIGN).get(account)
    if listed_at is None:
        return {}
    newest = last_closed_day(listed_at)
    dates = DateRange(newest - timedelta(days=_LIVE_DAYS - 1), newest)
    return {
        listed_id.id: listed
        for listed_id, listed in ledger.listed(CAMPAIGN).items()
        if listed_id.account == account
        and expected_days(CAMPAIGN.lifetime(listed), CAMPAIGN_COUNTRY_DAILY.tail).meet(dates)
    }


def compare(totals: SettledTotals, overview: Mapping[str, Any]) -> Comparison:
    """Hold the sums of a campaign's rows against the overview of the same days, figure by figure."""
    differences, not_compared = [], {}
    for figure in FIGURES:
        theirs = figure_of(overview, figure)
        reason = "the overview gives no number" if theirs is None else _incomparable(totals, overview, figure, theirs)
        if theirs is None or reason:
            not_compared[figure.name] = reason
        elif abs((ours := totals.sums[figure.name]) - theirs) > _SAME:
            differences.append(Difference(totals.campaign_id, totals.name, totals.dates, figure.name, ours, theirs))
    return Comparison(differences, not_compared)


def _incomparable(totals: SettledTotals, overview: Mapping[str, Any], figure: Figure, theirs: Decimal) -> str:
    """Why a figure cannot be compared; empty where it can."""
    if figure.counted_otherwise and theirs < totals.sums[figure.name]:
        return "the overview says less: it may count new listeners only"
    if figure.name in totals.incomplete and theirs > totals.sums[figure.name]:
        return "the overview says more, but a row's value is unknown"
    if figure.money and len(totals.currencies) > 1:
        return f"the rows are in {' and '.join(totals.currencies)}"
    currency = overview.get("currency")
    if figure.money and totals.currencies and currency is not None and currency != totals.currencies[0]:
        return f"the rows are in {totals.currencies[0]}, the overview in {currency}"
    return ""
