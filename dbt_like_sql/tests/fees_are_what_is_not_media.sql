-- fees = spend_total - spend_media. Soundlink rounds each of the three by itself, so a minor unit per country may differ;
-- a currency that ISO 4217 does not list is taken to have two decimals.
with campaign_days as (
    select * from {{ ref('campaign_daily') }}
    where {{ within_window() }}
),

currencies as (
    select * from {{ source('soundlink', 'currencies') }}
)

select
    campaign_days.campaign_id,
    campaign_days.report_date,
    campaign_days.currency,
    campaign_days.spend_media,
    campaign_days.spend_total,
    campaign_days.fees
from campaign_days
left join currencies on campaign_days.currency = currencies.currency
where abs(campaign_days.fees - (campaign_days.spend_total - campaign_days.spend_media))
    > coalesce(currencies.minor_unit, 0.01) * campaign_days.countries
