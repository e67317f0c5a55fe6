-- The last 7 days against the 7 before, by account. A row for each measure, and of what costs money for each currency.
-- The values are texts: each has the decimals of its currency, which one number format for a column cannot give.
with ads as (
    select
        coalesce(
            (select any_value(a.name) from accounts as a where list_contains(a.organization_ids, d.account_id)),
            d.account_id
        ) as account,
        d.currency,
        case when p.newest_report_date - d.report_date < 7 then 'now' else 'before' end as period,
        sum(d.spend_total) as spend,
        sum(d.spend_media) as to_meta,
        sum(d.followers) as followers
    from marts.campaign_daily as d cross join publication as p
    where p.newest_report_date - d.report_date < 14
    group by all
),

listening as (
    select
        coalesce(
            (select any_value(a.name) from accounts as a where list_contains(a.organization_ids, t.account_id)),
            t.account_id
        ) as account,
        case when p.newest_report_date - t.report_date < 7 then 'now' else 'before' end as period,
        sum(t.new_listeners) as first_plays,
        sum(t.new_listeners) filter (where t.is_promoted_track) as of_promoted_tracks
    from marts.track_engagement_daily as t cross join publication as p
    where p.newest_report_date - t.report_date < 14
    group by all
),

-- What is shown, and as a number for the change.
measured as (
    select
        account,
        period,
        1 as place,
        'Spend with fees, ' || currency as measure,
        'campaign_country_daily' as export,
        spend::double as value,
        coalesce(decimals, 2) as digits
    from ads left join currencies using (currency)
    union all
    select
        account,
        period,
        2,
        'Cost per follower, without fees, ' || currency,
        'campaign_country_daily',
        to_meta::double / nullif(followers, 0),
        greatest(coalesce(decimals, 2), 2)
    from ads left join currencies using (currency)
    union all
    select account, period, 3, 'Followers', 'campaign_country_daily', sum(followers)::double, 0
    from ads
    group by all
    union all
    select account, period, 4, 'New listeners of promoted tracks', 'campaign_engagement_daily', of_promoted_tracks, 0
    from listening
    union all
    select account, period, 5, 'First plays of any track', 'campaign_engagement_daily', first_plays, 0
    from listening
),

-- A day without rows is final, too, or not yet: so this is asked of the days, not of the rows.
states as (
    select
        s.account,
        s.export,
        case when p.newest_report_date - s.report_date < 7 then 'now' else 'before' end as period,
        case
            when count(*) < 7 or not bool_and(s.is_complete) then 'incomplete'
            when bool_and(s.is_settled) then 'final'
            else 'provisional'
        end as state
    from marts.data_status as s cross join publication as p
    where p.newest_report_date - s.report_date < 14
    group by all
),

compared as (
    select
        account,
        place,
        measure,
        export,
        digits,
        max(value) filter (where period = 'now') as now,
        max(value) filter (where period = 'before') as before
    from measured
    group by all
)

select
    c.place,
    c.measure,
    format('{:,.' || c.digits || 'f}', c.now) as this_week,
    coalesce(n.state, 'incomplete') as is_it_final,
    format('{:,.' || c.digits || 'f}', c.before) as week_before,
    coalesce(b.state, 'incomplete') as was_it_final,
    format('{:+.0f} %', 100 * (c.now / nullif(c.before, 0) - 1)) as change,
    c.account
from compared as c
left join states as n on n.account = c.account and n.export = c.export and n.period = 'now'
left join states as b on b.account = c.account and b.export = c.export and b.period = 'before'
