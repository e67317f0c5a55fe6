"""The figures of the report, read from a published database (or the warehouse), each with its final part.

Reads the marts only, and does not depend on today. A database without rows gives an empty report.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date

import duckdb

from soundlink_pipeline.report.rows import OF_CAMPAIGN, Row, optional, rows

# Each campaign's name and organization, which are the same in all of its currencies.
_NAMES = "select distinct campaign_id, campaign_name as name, account_id from marts.campaign_summary"
# Each soundlink with days.
_SOUNDLINKS = """
    select soundlink_name, account_id, status, views, link_clicks, streams, settled_streams, listener_days, followers,
        days_settled = days as is_settled
    from marts.soundlink_summary where days > 0 order by streams desc, views desc, soundlink_id
"""
_SOUNDLINK_DAYS = "union all select report_date, null as campaign_id, is_settled from marts.soundlink_daily"
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
    have rows for each currency. `countries` are ranked by streams within their currency, and shares are of that
    currency's total. `soundlinks` is empty in the report of a campaign, and where there are none with days. `curve` is
    over all campaigns of each organization, `status` over all campaigns and soundlinks of each account; in the report
    of a campaign, of its own. `account_names` has the account of each organization. `publication` is None in a file
    never published.
    """

    dates: list[Row]
    days: list[Row]
    headline: list[Row]
    unique_listeners: Row
    campaigns: list[Row]
    soundlinks: list[Row]
    countries: list[Row]
    tracks: list[Row]
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
    return bool(_campaigns(connection) or optional(connection, _SOUNDLINKS))


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
    # They belong to no campaign; a file of a version that knew none has no table of them.
    soundlinks = [] if campaign else optional(connection, _SOUNDLINKS)
    return Figures(
        dates=rows(
            connection,
            f"""
            select report_date, bool_and(is_settled) as is_settled
            from (
                select report_date, campaign_id, is_settled from marts.campaign_daily
                union all
                select report_date, campaign_id, is_settled from marts.track_engagement_daily
                {_SOUNDLINK_DAYS if soundlinks else ""}
            )
            where {OF_CAMPAIGN} group by report_date order by report_date
            """,
            **of,
        ),
        days=rows(
            connection,
            f"""
            select report_date, currency, sum(spend_total) as spend_total, sum(streams)::bigint as streams,
                sum(followers)::bigint as followers, bool_and(is_settled) as is_settled
            from marts.campaign_daily where {OF_CAMPAIGN}
            group by all order by report_date, currency
            """,
            **of,
        ),
        headline=rows(
            connection,
            f"""
            select currency, {_totals()} from marts.campaign_daily where {OF_CAMPAIGN}
            group by currency order by currency
            """,
            **of,
        ),
        unique_listeners=rows(
            connection,
            f"""
            select coalesce(sum(new_listeners), 0)::bigint as unique_listeners,
                coalesce(sum(new_listeners) filter (is_settled), 0)::bigint as settled_unique_listeners,
                coalesce(bool_and(is_settled), false) as is_settled
            from marts.track_engagement_daily where {OF_CAMPAIGN}
            """,
            **of,
        )[0],
        campaigns=rows(
            connection,
            f"""
            select campaign_id, name as campaign_name, n.account_id, currency, {_totals()}
            from marts.campaign_daily join ({_NAMES}) as n using (campaign_id)
            where {OF_CAMPAIGN}
            group by campaign_id, name, n.account_id, currency order by streams desc, campaign_id, currency
            """,
            **of,
        ),
        soundlinks=soundlinks,
        # The mart country_daily knows no campaigns; over all of them it says the same.
        countries=rows(
            connection,
            f"""
            select country, currency, {_totals("rows.")},
                sum(rows.streams) / nullif(sum(sum(rows.streams)) over (partition by currency), 0) as streams_share,
                sum(rows.spend_total) / nullif(sum(sum(rows.spend_total)) over (partition by currency), 0)
                    as spend_share
            from campaign_country_daily as rows
            join (select campaign_id, report_date, currency, is_settled from marts.campaign_daily)
                using (campaign_id, report_date, currency)
            join (select distinct country_code, country from marts.country_summary) using (country_code)
            where {OF_CAMPAIGN}
            group by country, currency order by streams desc, spend_total desc, country, currency
            """,
            **of,
        ),
        tracks=rows(
            connection,
            f"""
            select engaged_spotify_track_id,
                max_by(engaged_track_name, (report_date, exported_at, campaign_id, engagement_context))
                    as engaged_track_name,
                case when is_promoted_track then 'promoted' when engagement_context = 'playlist' then 'playlist'
                    else 'other' end as kind,
                sum(new_listeners)::bigint as unique_listeners, sum(streams)::bigint as streams,
                coalesce(sum(streams) filter (is_settled), 0)::bigint as settled_streams,
                bool_and(is_settled) as is_settled,
                sum(streams) / nullif(sum(sum(streams)) over (), 0) as streams_share
            from marts.track_engagement_daily where {OF_CAMPAIGN}
            group by engaged_spotify_track_id, kind order by streams desc, engaged_spotify_track_id, kind
            """,
            **of,
        ),
        curve=rows(
            connection,
            f"""
            select * from marts.revision_curve
            where export = 'campaign_country_daily' and account_id in (
                select account_id from marts.campaign_daily where {OF_CAMPAIGN}
            )
            order by account_id, measure, currency, days_after_close
            """,
            **of,
        ),
        status=rows(
            connection,
            """
            select * from marts.data_status
            where $campaign::varchar is null
                or account in (select account from deliveries where row_subject_id = $campaign)
            order by account, export, report_date
            """,
            **of,
        ),
        account_names={
            row["account_id"]: row["name"]
            for row in rows(
                connection,
                """
                select account_id, string_agg(name, ', ' order by name) as name
                from (select unnest(organization_ids) as account_id, name from accounts) group by account_id
                """,
            )
        },
        publication=next(iter(optional(connection, "select * from publication")), None),
    )


def _totals(of: str = "") -> str:
    """Spend, streams and followers, each with its settled part, and whether all of it is settled."""
    return "bool_and(is_settled) as is_settled, " + ", ".join(
        f"sum({of}{name})::{kind} as {name}, coalesce(sum({of}{name}) filter (is_settled), 0)::{kind} as settled_{name}"
        for name, kind in (("spend_total", "decimal(18, 6)"), ("streams", "bigint"), ("followers", "bigint"))
    )


def _campaigns(connection: duckdb.DuckDBPyConnection) -> list[Campaign]:
    found = rows(connection, f"{_NAMES} order by name, campaign_id")
    return [Campaign(row["campaign_id"], row["name"]) for row in found]
