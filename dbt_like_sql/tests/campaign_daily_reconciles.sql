-- The sums of a day are those of the export, to the last decimal.
with mart as (
    select
        report_date,
        sum(impressions) as impressions,
        sum(ad_clicks) as ad_clicks,
        sum(link_clicks) as link_clicks,
        sum(streams) as streams,
        sum(listeners) as listeners,
        sum(followers) as followers,
        sum(spend_media) as spend_media,
        sum(spend_total) as spend_total,
        sum(fees) as fees
    from {{ ref('campaign_daily') }}
    where report_date between date '{{ var("start_date") }}' and date '{{ var("end_date") }}'
    group by report_date
),

raw as (
    select
        report_date,
        sum(impressions) as impressions,
        sum(ad_clicks) as ad_clicks,
        sum(link_clicks) as link_clicks,
        sum(streams) as streams,
        sum(listeners) as listeners,
        sum(followers) as followers,
        sum(spend_media) as spend_media,
        sum(spend_total) as spend_total,
        sum(fees) as fees
    from {{ ref('stg_campaign_country_daily') }}
    where report_date between date '{{ var("start_date") }}' and date '{{ var("end_date") }}'
    group by report_date
)

-- the rows of one side that the other has not: a difference shows as two
(select 'mart' as side, * from mart except select 'mart', * from raw)
union all
(select 'raw' as side, * from raw except select 'raw', * from mart)
