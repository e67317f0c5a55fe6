-- The sums of a day in a currency are those of the export, to the last decimal.
with mart as (
    select
        report_date,
        currency,
        sum(impressions) as impressions,
        sum(ad_clicks) as ad_clicks,
        sum(link_clicks) as link_clicks,
        sum(streams) as streams,
        sum(listeners) as listeners,
        sum(followers) as followers,
        sum(spend_media) as spend_media,
        sum(spend_total) as spend_total,
        sum(fees) as fees,
        sum(spend_media_with_link_clicks) as spend_media_with_link_clicks,
        sum(link_clicks_with_impressions) as link_clicks_with_impressions,
        sum(impressions_with_link_clicks) as impressions_with_link_clicks,
        sum(ad_clicks_with_impressions) as ad_clicks_with_impressions,
        sum(impressions_with_ad_clicks) as impressions_with_ad_clicks
    from {{ ref('country_daily') }}
    where report_date between date '{{ var("start_date") }}' and date '{{ var("end_date") }}'
    group by report_date, currency
),

raw as (
    select
        report_date,
        currency,
        sum(impressions) as impressions,
        sum(ad_clicks) as ad_clicks,
        sum(link_clicks) as link_clicks,
        sum(streams) as streams,
        sum(listeners) as listeners,
        sum(followers) as followers,
        sum(spend_media) as spend_media,
        sum(spend_total) as spend_total,
        sum(fees) as fees,
        sum(spend_media) filter (where link_clicks is not null) as spend_media_with_link_clicks,
        sum(link_clicks) filter (where impressions is not null) as link_clicks_with_impressions,
        sum(impressions) filter (where link_clicks is not null) as impressions_with_link_clicks,
        sum(ad_clicks) filter (where impressions is not null) as ad_clicks_with_impressions,
        sum(impressions) filter (where ad_clicks is not null) as impressions_with_ad_clicks
    from {{ ref('stg_campaign_country_daily') }}
    where report_date between date '{{ var("start_date") }}' and date '{{ var("end_date") }}'
    group by report_date, currency
)

-- the rows of one side that the other has not: a difference shows as two
(select 'mart' as side, * from mart except select 'mart', * from raw)
union all
(select 'raw' as side, * from raw except select 'raw', * from mart)
