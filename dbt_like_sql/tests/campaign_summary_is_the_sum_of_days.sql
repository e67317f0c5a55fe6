-- A campaign's totals in a currency are the sums of its days. Its listening stands in one of its rows; that before, during
-- and after it makes up all of it.
with summary as (
    select * from {{ ref('campaign_summary') }}
),

ads as (
    select
        campaign_id,
        currency,
        count(*) as days,
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
    group by campaign_id, currency
),

track_days as (
    select
        campaign_id,
        sum(new_listeners) as new_listeners,
        sum(streams) as streams
    from {{ ref('track_engagement_daily') }}
    group by campaign_id
),

listening as (
    select
        campaign_id,
        count(engagement_streams) as rows_with_listening,
        sum(engagement_new_listeners) as new_listeners,
        sum(
            engagement_new_listeners_before + engagement_new_listeners_during + engagement_new_listeners_after
        ) as new_listeners_by_status,
        sum(engagement_streams) as streams,
        sum(engagement_streams_before + engagement_streams_during + engagement_streams_after) as streams_by_status
    from summary
    group by campaign_id
)

select
    coalesce(summary.campaign_id, ads.campaign_id) as campaign_id,
    coalesce(summary.currency, ads.currency) as currency
from summary
full join ads
    on summary.campaign_id = ads.campaign_id
    and summary.currency = ads.currency
where summary.campaign_id is null
    or summary.days <> coalesce(ads.days, 0)
    or summary.impressions is distinct from ads.impressions
    or summary.ad_clicks is distinct from ads.ad_clicks
    or summary.link_clicks is distinct from ads.link_clicks
    or summary.streams <> coalesce(ads.streams, 0)
    or summary.listener_days <> coalesce(ads.listeners, 0)
    or summary.followers <> coalesce(ads.followers, 0)
    or summary.spend_media <> coalesce(ads.spend_media, 0)
    or summary.spend_total <> coalesce(ads.spend_total, 0)
    or summary.fees <> coalesce(ads.fees, 0)

union all

select
    coalesce(listening.campaign_id, track_days.campaign_id) as campaign_id,
    null as currency
from listening
full join track_days
    on listening.campaign_id = track_days.campaign_id
where listening.campaign_id is null
    or listening.rows_with_listening <> 1
    or listening.new_listeners <> coalesce(track_days.new_listeners, 0)
    or listening.new_listeners <> listening.new_listeners_by_status
    or listening.streams <> coalesce(track_days.streams, 0)
    or listening.streams <> listening.streams_by_status
