"""What the report asks the marts for. `$campaign` is one campaign's id, or null for all."""

from __future__ import annotations

from soundlink_pipeline.report.rows import OF_CAMPAIGN

# Each campaign's name and organization, which are the same in all of its currencies.
NAMES = "select distinct campaign_id, campaign_name as name, account_id from marts.campaign_summary"


def _totals(of: str = "") -> str:
    """Spend, streams and followers, each with its settled part, and whether all of it is settled."""
    return "bool_and(is_settled) as is_settled, " + ", ".join(
        f"sum({of}{name})::{kind} as {name}, coalesce(sum({of}{name}) filter (is_settled), 0)::{kind} as settled_{name}"
        for name, kind in (("spend_total", "decimal(18, 6)"), ("streams", "bigint"), ("followers", "bigint"))
    )


def dates(*, with_soundlinks: bool) -> str:
    """Each day with a row of any export shown."""
    of_soundlinks = "union all select report_date, null as campaign_id, is_settled from marts.soundlink_daily"
    return f"""
        select report_date, bool_and(is_settled) as is_settled
        from (
            select report_date, campaign_id, is_settled from marts.campaign_daily
            union all
            select report_date, campaign_id, is_settled from marts.track_engagement_daily
            {of_soundlinks if with_soundlinks else ""}
        )
        where {OF_CAMPAIGN} group by report_date order by report_date
    """


_ESTIMATES = """
        select account_id, report_date, currency, settled_estimate, settled_low, settled_high
        from marts.settled_estimates
        where export = 'campaign_country_daily' and measure = 'streams'
            and ($campaign::varchar is null and grain = 'account' or grain = 'subject' and subject_id = $campaign)
"""

_NO_ESTIMATES = """
        select '' as account_id, null::date as report_date, '' as currency, null::bigint as settled_estimate,
            null::bigint as settled_low, null::bigint as settled_high
        where false
"""


def _days(estimates: str) -> str:
    return f"""
    with days as (
        select account_id, report_date, currency, sum(spend_total) as spend_total, sum(streams)::bigint as streams,
            sum(followers)::bigint as followers, bool_and(is_settled) as is_settled
        from marts.campaign_daily where {OF_CAMPAIGN}
        group by all
    ),
    estimates as (
{estimates}    )
    select report_date, currency, sum(spend_total) as spend_total, sum(streams)::bigint as streams,
        sum(followers)::bigint as followers, bool_and(is_settled) as is_settled,
        case when not bool_and(is_settled) and bool_and(is_settled or settled_estimate is not null)
            then sum(case when is_settled then streams else settled_estimate end)::bigint end as streams_expected,
        case when count(*) = 1 then any_value(settled_low)::bigint end as streams_low,
        case when count(*) = 1 then any_value(settled_high)::bigint end as streams_high
    from days left join estimates using (account_id, report_date, currency)
    group by report_date, currency order by report_date, currency
    """


# Streams as they are expected to be once settled; their range where it is one estimate, for ranges cannot be added up.
DAYS = _days(_ESTIMATES)
# Of a file without the mart of estimates.
DAYS_ALONE = _days(_NO_ESTIMATES)

HEADLINE = f"""
    select currency, {_totals()}, min(report_date) as first_report_date, max(report_date) as last_report_date
    from marts.campaign_daily where {OF_CAMPAIGN}
    group by currency order by currency
"""

# One that ended two weeks before the newest day, or was not pulled since, is no longer asked about; unless by its name.
PACING = f"""
    select pacing.*, summary.status
    from marts.campaign_pacing as pacing
    join marts.campaign_summary as summary using (campaign_id, currency)
    where {OF_CAMPAIGN.replace("campaign_id =", "pacing.campaign_id =")}
        and ($campaign is not null or report_date > (select max(report_date) - 14 from marts.campaign_pacing))
    qualify row_number() over (partition by pacing.campaign_id, pacing.currency order by report_date desc) = 1
    order by case state when 'over' then 1 when 'under' then 2 when 'on pace' then 3 when 'ended' then 5 else 4 end,
        pacing.spend_total_to_date desc, pacing.campaign_id
"""

# New listeners stand once, as listening has no currency: in the row of the campaign's newest one.
CAMPAIGNS = f"""
    with promoted as (
        select campaign_id, max_by(engaged_track_name, report_date) as target_name,
            sum(new_listeners)::bigint as new_listeners
        from marts.track_engagement_daily
        where is_promoted_track and {OF_CAMPAIGN}
        group by campaign_id
    )
    select summary.*, target_name, nullif(spend_total, 0) / nullif(followers, 0) as cost_per_follower,
        case when engagement_new_listeners is not null then new_listeners end as new_listeners
    from marts.campaign_summary as summary left join promoted using (campaign_id)
    where {OF_CAMPAIGN}
    order by streams desc nulls last, campaign_id, currency
"""

# Each soundlink with days.
SOUNDLINKS = """
    select soundlink_name, account_id, status, views, link_clicks, streams, settled_streams, listener_days, followers,
        days_settled = days as is_settled
    from marts.soundlink_summary where days > 0 order by streams desc, views desc, soundlink_id
"""

# The mart country_daily knows no campaigns; over all of them it says the same.
COUNTRIES = f"""
    select country, currency, {_totals("rows.")},
        nullif(sum(rows.spend_total), 0) / nullif(sum(rows.followers), 0) as cost_per_follower,
        sum(rows.streams) / nullif(sum(sum(rows.streams)) over (partition by currency), 0) as streams_share,
        sum(rows.spend_total) / nullif(sum(sum(rows.spend_total)) over (partition by currency), 0) as spend_share
    from campaign_country_daily as rows
    join (select campaign_id, report_date, currency, is_settled from marts.campaign_daily)
        using (campaign_id, report_date, currency)
    join (select distinct country_code, country from marts.country_summary) using (country_code)
    where {OF_CAMPAIGN}
    group by country, currency order by streams desc, spend_total desc, country, currency
"""

TRACKS = f"""
    select engaged_spotify_track_id,
        max_by(engaged_track_name, (report_date, exported_at, campaign_id, engagement_context)) as engaged_track_name,
        case when is_promoted_track then 'promoted' when engagement_context = 'playlist' then 'playlist'
            else 'other' end as kind,
        sum(new_listeners)::bigint as new_listeners, sum(streams)::bigint as streams,
        coalesce(sum(streams) filter (is_settled), 0)::bigint as settled_streams,
        bool_and(is_settled) as is_settled,
        sum(streams) / nullif(sum(sum(streams)) over (), 0) as streams_share
    from marts.track_engagement_daily where {OF_CAMPAIGN}
    group by engaged_spotify_track_id, kind order by streams desc, engaged_spotify_track_id, kind
"""

# Weeks since each campaign's start; those before it are for the first plays that came early, and no part of the story.
COHORTS = f"""
    select week_since_start, count(*) as campaigns, sum(new_listeners)::bigint as new_listeners,
        sum(returning_listener_days)::bigint as returning_listener_days,
        sum(new_listener_streams)::bigint as new_listener_streams,
        sum(returning_listener_streams)::bigint as returning_listener_streams, sum(streams)::bigint as streams,
        sum(returning_listener_streams) / nullif(sum(streams), 0) as returning_stream_share,
        bool_and(is_complete) as is_complete, bool_and(is_settled) as is_settled
    from marts.cohort where {OF_CAMPAIGN} and week_since_start >= 0
    group by week_since_start order by week_since_start
"""

RETURNS = f"""
    select * from marts.campaign_return_summary where {OF_CAMPAIGN}
    order by attributed_revenue_estimate desc nulls last, campaign_id, currency
"""

CURVE = f"""
    select * from marts.revision_curve
    where export = 'campaign_country_daily' and account_id in (
        select account_id from marts.campaign_daily where {OF_CAMPAIGN}
    )
    order by account_id, measure, currency, days_after_close
"""

STATUS = """
    select * from marts.data_status
    where $campaign::varchar is null
        or account in (select account from deliveries where row_subject_id = $campaign)
    order by account, export, report_date
"""

ACCOUNT_NAMES = """
    select account_id, string_agg(name, ', ' order by name) as name
    from (select unnest(organization_ids) as account_id, name from accounts) group by account_id
"""
