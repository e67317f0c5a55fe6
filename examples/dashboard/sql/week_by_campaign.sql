-- The last 7 days of each campaign with ads in the last 14, against the 7 before.
with days as (
    select d.*, p.newest_report_date - d.report_date as age
    from marts.campaign_daily as d cross join publication as p
)

select
    campaign_name as campaign,
    currency,
    coalesce(sum(spend_total) filter (where age < 7), 0)::decimal(18, 3) as spend,
    coalesce(sum(spend_total) filter (where age >= 7), 0)::decimal(18, 3) as spend_before,
    coalesce(sum(followers) filter (where age < 7), 0)::bigint as followers,
    coalesce(sum(followers) filter (where age >= 7), 0)::bigint as followers_before,
    sum(spend_media) filter (where age < 7) / nullif(sum(followers) filter (where age < 7), 0) as cost_per_follower,
    sum(spend_media) filter (where age >= 7) / nullif(sum(followers) filter (where age >= 7), 0) as cost_before,
    case when bool_and(is_settled) then 'final' else 'this week provisional' end as state
from days
where age < 14
group by campaign_id, campaign_name, currency
