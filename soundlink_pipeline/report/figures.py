"""The figures of the report, read from a published database (or the warehouse), each with its final part.

Reads the marts only, and does not depend on today. A database without rows gives an empty report.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date

import duckdb

from soundlink_pipeline.report import queries
from soundlink_pipeline.report.answer import Answer, read_answer
from soundlink_pipeline.report.rows import Row, optional, rows

_NEEDED = (
    "campaign_daily",
    "campaign_summary",
    "country_summary",
    "track_engagement_daily",
    "revision_curve",
    "data_status",
)
_NAMED_CAMPAIGNS = 5


class UnknownCampaign(Exception):
    """No campaign has the given id or name, or several have; the message lists the campaigns."""


@dataclass(frozen=True)
class Campaign:
    campaign_id: str
    name: str


@dataclass(frozen=True)
class Figures:
    """What the report shows. Rows are dictionaries under the marts' column names; `settled_…` is the final part.

    `dates` are the days of any export shown; `days` has one row per day and currency, as `headline` and `campaigns`
    have rows for each currency. `pacing` is of the newest day that each campaign has one of, unless it ended longer ago
    than two weeks. `countries` are ranked by streams within their currency, and shares are of that currency's total.
    `soundlinks` is empty in the report of a campaign, and where there are none with days; `cohorts` are weeks since the
    start of each campaign, and `returns` what statements of one's own say. `curve` is over all campaigns of each
    organization, `status` over all campaigns and soundlinks of each account; in the report of a campaign, of its own.
    `account_names` has the account of each organization. `publication` is None in a file never published.
    """

    answer: Answer | None
    dates: list[Row]
    days: list[Row]
    headline: list[Row]
    pacing: list[Row]
    campaigns: list[Row]
    soundlinks: list[Row]
    countries: list[Row]
    tracks: list[Row]
    cohorts: list[Row]
    returns: list[Row]
    curve: list[Row]
    status: list[Row]
    account_names: dict[str, str]
    publication: Row | None

    @property
    def provisional_days(self) -> list[date]:
        return [row["report_date"] for row in self.dates if not row["is_settled"]]

    @property
    def incomplete_days(self) -> dict[str, int]:
        """By account on how many of the days shown rows that were expected have not been pulled."""
        shown = {row["report_date"] for row in self.dates}
        lacking = {
            (row["account"], row["report_date"])
            for row in self.status
            if not row["is_complete"] and row["report_date"] in shown
        }
        return dict(sorted(Counter(account for account, _ in lacking).items()))

    @property
    def has_campaigns(self) -> bool:
        return bool(self.headline or self.tracks)

    @property
    def accounts(self) -> list[str]:
        """The accounts that the figures are of."""
        return sorted({row["account"] for row in self.status})

    @property
    def has_several_accounts(self) -> bool:
        """Whether the database has; in the report of a campaign, too."""
        return len({*self.accounts, *self.account_names.values()}) > 1

    @property
    def currencies(self) -> list[str]:
        return [row["currency"] for row in self.headline]


def has_figures(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the models exist and have a row of any export."""
    tables = rows(connection, "select table_name from information_schema.tables where table_schema = 'marts'")
    if not {row["table_name"] for row in tables}.issuperset(_NEEDED):
        return False
    return bool(_campaigns(connection) or optional(connection, queries.SOUNDLINKS))


def find_campaign(connection: duckdb.DuckDBPyConnection, wanted: str) -> Campaign:
    """The campaign with that id (of its rows or of the API's listing) or name. Raises UnknownCampaign."""
    known = _campaigns(connection)
    listed = optional(connection, "select row_subject_id from deliveries where subject_id = $wanted", wanted=wanted)
    ids = {wanted, *(row["row_subject_id"] for row in listed)}
    found = [campaign for campaign in known if campaign.campaign_id in ids]
    found = found or [campaign for campaign in known if campaign.name.casefold() == wanted.casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        choices = ", ".join(campaign.campaign_id for campaign in found)
        raise UnknownCampaign(f"{len(found)} campaigns are named {wanted!r}; name one by its id: {choices}")
    names = ", ".join(f"{campaign.name!r}" for campaign in known[:_NAMED_CAMPAIGNS])
    more = f" and {len(known) - _NAMED_CAMPAIGNS} more" if len(known) > _NAMED_CAMPAIGNS else ""
    raise UnknownCampaign(f"no campaign with rows has the id or name {wanted!r}; there are {names or 'none'}{more}")


def read_figures(connection: duckdb.DuckDBPyConnection, campaign: Campaign | None) -> Figures:
    """Everything the report shows, of one campaign or of all. The database must have figures."""
    of = {"campaign": campaign.campaign_id if campaign else None}
    # They belong to no campaign. What a file of older models has no table of is left out of the page.
    soundlinks = [] if campaign else optional(connection, queries.SOUNDLINKS)
    return Figures(
        answer=read_answer(connection, of["campaign"]),
        dates=rows(connection, queries.dates(with_soundlinks=bool(soundlinks)), **of),
        days=optional(connection, queries.DAYS, **of) or rows(connection, queries.DAYS_ALONE, **of),
        headline=rows(connection, queries.HEADLINE, **of),
        pacing=optional(connection, queries.PACING, **of),
        campaigns=rows(connection, queries.CAMPAIGNS, **of),
        soundlinks=soundlinks,
        countries=rows(connection, queries.COUNTRIES, **of),
        tracks=rows(connection, queries.TRACKS, **of),
        cohorts=optional(connection, queries.COHORTS, **of),
        returns=optional(connection, queries.RETURNS, **of),
        curve=rows(connection, queries.CURVE, **of),
        status=rows(connection, queries.STATUS, **of),
        account_names={row["account_id"]: row["name"] for row in rows(connection, queries.ACCOUNT_NAMES)},
        publication=next(iter(optional(connection, "select * from publication")), None),
    )


def _campaigns(connection: duckdb.DuckDBPyConnection) -> list[Campaign]:
    found = rows(connection, f"{queries.NAMES} order by name, campaign_id")
    return [Campaign(row["campaign_id"], row["name"]) for row in found]
