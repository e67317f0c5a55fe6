-- Each campaign in one row, over all its days; what it costs by its settled days alone.
select
    campaign_name as campaign,
    coalesce(status, 'not listed') as status,
    currency,
    spend_total::decimal(18, 3) as spend,
    followers,
    streams,
    listener_days,
    case when is_settled then 'final' else 'provisional' end as state,
    days_settled as final_days,
    settled_spend_total::decimal(18, 3) as final_spend,
    settled_followers as final_followers,
    settled_spend_media / nullif(settled_followers, 0) as final_cost_per_follower
from marts.campaign_summary
