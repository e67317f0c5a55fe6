-- A campaign's money is in one currency. With two, the sums in campaign_daily and campaign_summary would mix them.
with currencies as (
    select
        account_id,
        campaign_id,
        currency
    from {{ ref('stg_campaign_country_daily') }}
    where report_date between date '{{ var("start_date") }}' and date '{{ var("end_date") }}'

    union

    select
        account_id,
        campaign_id,
        currency
    from {{ ref('campaign_daily') }}
)

select
    account_id,
    campaign_id,
    min(currency) as one,
    max(currency) as other
from currencies
group by account_id, campaign_id
having count(*) > 1
