-- A campaign's totals are the sums of its days; those before, during and after it make up all engagement.
with summary as (
    select * from {{ ref('campaign_summary') }}
),

ads as (
    select
        account_id,
        campaign_id,
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
    group by account_id, campaign_id
),

engagement as (
    select
        account_id,
        campaign_id,
        sum(new_listeners) as new_listeners,
        sum(streams) as streams
    from {{ ref('track_engagement_daily') }}
    group by account_id, campaign_id
)

select
    coalesce(summary.account_id, ads.account_id, engagement.account_id) as account_id,
    coalesce(summary.campaign_id, ads.campaign_id, engagement.campaign_id) as campaign_id
from summary
full join ads
    on summary.account_id = ads.account_id
    and summary.campaign_id = ads.campaign_id
full join engagement
    on summary.account_id = engagement.account_id
    and summary.campaign_id = engagement.campaign_id
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
    or summary.engagement_new_listeners <> coalesce(engagement.new_listeners, 0)
    or summary.engagement_new_listeners <> (
        summary.engagement_new_listeners_before
        + summary.engagement_new_listeners_during
        + summary.engagement_new_listeners_after
    )
    or summary.engagement_streams <> coalesce(engagement.streams, 0)
    or summary.engagement_streams <> (
        summary.engagement_streams_before
        + summary.engagement_streams_during
        + summary.engagement_streams_after
    )
