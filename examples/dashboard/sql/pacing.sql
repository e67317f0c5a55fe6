-- Each campaign's newest day: its time against its budget.
select
    campaign_name as campaign,
    campaign_name || case when is_settled then '' else ' (provisional)' end as label,
    report_date as up_to,
    coalesce(state, 'unknown') as pace,
    time_share,
    budget_share,
    media_budget_share as without_fees,
    spend_total_to_date::decimal(18, 3) as spent,
    projected_spend_total::decimal(18, 3) as projected,
    total_budget::decimal(18, 3) as budget,
    currency,
    case
        when days_not_pulled > 0 then 'incomplete: ' || days_not_pulled || ' days not pulled'
        when is_settled then 'final'
        else 'provisional'
    end as state
from marts.campaign_pacing
qualify row_number() over (partition by campaign_id, currency order by report_date desc) = 1
