-- How the share of the budget grew, of campaigns that run or ended lately; final days alone.
select
    p.report_date::timestamp as day,
    p.campaign_name as campaign,
    p.budget_share
from marts.campaign_pacing as p cross join publication as f
where p.report_date <= f.newest_settled_date and p.is_settled and p.budget_share is not null
qualify max(p.report_date) over (partition by p.campaign_id) > f.newest_settled_date - 28
