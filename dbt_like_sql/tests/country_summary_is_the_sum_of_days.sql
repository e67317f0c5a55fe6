-- A country's totals are the sums of its days.
with summary as (
    select
        account_id,
        country_code,
        currency,
        days,
        impressions,
        ad_clicks,
        link_clicks,
        streams,
        listener_days,
        followers,
        spend_media,
        spend_total,
        fees
    from {{ ref('country_summary') }}
),

daily as (
    select
        account_id,
        country_code,
        currency,
        count(*) as days,
        sum(impressions) as impressions,
        sum(ad_clicks) as ad_clicks,
        sum(link_clicks) as link_clicks,
        sum(streams) as streams,
        sum(listeners) as listener_days,
        sum(followers) as followers,
        sum(spend_media) as spend_media,
        sum(spend_total) as spend_total,
        sum(fees) as fees
    from {{ ref('country_daily') }}
    group by account_id, country_code, currency
)

{{ differences('summary', 'daily') }}
