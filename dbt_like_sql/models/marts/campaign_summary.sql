with campaign_days as (
    select * from {{ ref('campaign_daily') }}
),

track_days as (
    select * from {{ ref('track_engagement_daily') }}
),

-- Every day of either export: engagement goes on for 30 days after the ads.
days as (
    select
        account_id,
        campaign_id,
        report_date,
        campaign_name,
        campaign_target_type,
        campaign_target_spotify_track_id,
        campaign_target_playlist_id,
        is_settled
    from campaign_days

    union all

    select
        account_id,
        campaign_id,
        report_date,
        campaign_name,
        campaign_target_type,
        campaign_target_spotify_track_id,
        campaign_target_playlist_id,
        is_settled
    from track_days
),

campaigns as (
    select
        account_id,
        campaign_id,
        -- the latest day's; by name where the two exports differ on that day
        max_by(campaign_name, (report_date, campaign_name)) as campaign_name,
        max_by(campaign_target_type, (report_date, campaign_target_type)) as campaign_target_type,
        max_by(
            campaign_target_spotify_track_id, (report_date, campaign_target_spotify_track_id)
        ) as campaign_target_spotify_track_id,
        max_by(
            campaign_target_playlist_id, (report_date, campaign_target_playlist_id)
        ) as campaign_target_playlist_id,
        bool_and(is_settled) as is_settled
    from days
    group by account_id, campaign_id
),

ads as (
    select
        account_id,
        campaign_id,
        -- A campaign has one currency; the test one_currency_per_campaign fails where it has not.
        min(currency) as currency,
        min(report_date) as first_report_date,
        max(report_date) as last_report_date,

        count(*) as days,
        sum(impressions)::bigint as impressions,
        sum(ad_clicks)::bigint as ad_clicks,
        sum(link_clicks)::bigint as link_clicks,
        sum(streams)::bigint as streams,
        sum(listeners)::bigint as listener_days,
        sum(followers)::bigint as followers,
        sum(spend_media)::decimal(18, 6) as spend_media,
        sum(spend_total)::decimal(18, 6) as spend_total,
        sum(fees)::decimal(18, 6) as fees,

        count(*) filter (where is_settled) as days_settled,
        sum(impressions) filter (where is_settled)::bigint as settled_impressions,
        sum(ad_clicks) filter (where is_settled)::bigint as settled_ad_clicks,
        sum(link_clicks) filter (where is_settled)::bigint as settled_link_clicks,
        sum(streams) filter (where is_settled)::bigint as settled_streams,
        sum(listeners) filter (where is_settled)::bigint as settled_listener_days,
        sum(followers) filter (where is_settled)::bigint as settled_followers,
        sum(spend_media) filter (where is_settled)::decimal(18, 6) as settled_spend_media,
        sum(spend_total) filter (where is_settled)::decimal(18, 6) as settled_spend_total,
        sum(fees) filter (where is_settled)::decimal(18, 6) as settled_fees
    from campaign_days
    group by account_id, campaign_id
),

engagement as (
    select
        account_id,
        campaign_id,
        sum(new_listeners)::bigint as new_listeners,
        sum(new_listeners) filter (where status = 'scheduled')::bigint as new_listeners_before,
        sum(new_listeners) filter (where status = 'active')::bigint as new_listeners_during,
        sum(new_listeners) filter (where status = 'ended')::bigint as new_listeners_after,
        sum(streams)::bigint as streams,
        sum(streams) filter (where status = 'scheduled')::bigint as streams_before,
        sum(streams) filter (where status = 'active')::bigint as streams_during,
        sum(streams) filter (where status = 'ended')::bigint as streams_after,
        sum(streams) filter (where not is_promoted_track)::bigint as other_tracks_streams
    from track_days
    group by account_id, campaign_id
),

final as (
    select
        -- keys
        campaigns.account_id,
        campaigns.campaign_id,

        -- attributes
        campaigns.campaign_name,
        campaigns.campaign_target_type,
        campaigns.campaign_target_spotify_track_id,
        campaigns.campaign_target_playlist_id,
        ads.currency,
        ads.first_report_date,
        ads.last_report_date,

        -- measures of ads and attributed listening
        coalesce(ads.days, 0) as days,
        ads.impressions,
        ads.ad_clicks,
        ads.link_clicks,
        coalesce(ads.streams, 0) as streams,
        coalesce(ads.listener_days, 0) as listener_days,
        coalesce(ads.followers, 0) as followers,
        coalesce(ads.spend_media, 0) as spend_media,
        coalesce(ads.spend_total, 0) as spend_total,
        coalesce(ads.fees, 0) as fees,

        -- ratios of the sums; with nothing to divide by, 0 or null as in the export
        coalesce(ads.streams / nullif(ads.listener_days, 0), 0) as streams_per_listener,
        coalesce(ads.spend_media / nullif(ads.listener_days, 0), 0) as cpl,
        coalesce(ads.spend_media / nullif(ads.followers, 0), 0) as cpf,
        ads.spend_media / nullif(ads.link_clicks, 0) as cpc_linkclick,
        ads.link_clicks / nullif(ads.impressions, 0) as ctr_linkclick,
        ads.ad_clicks / nullif(ads.impressions, 0) as ctr_adclick,

        -- the same, settled days only
        coalesce(ads.days_settled, 0) as days_settled,
        ads.settled_impressions,
        ads.settled_ad_clicks,
        ads.settled_link_clicks,
        coalesce(ads.settled_streams, 0) as settled_streams,
        coalesce(ads.settled_listener_days, 0) as settled_listener_days,
        coalesce(ads.settled_followers, 0) as settled_followers,
        coalesce(ads.settled_spend_media, 0) as settled_spend_media,
        coalesce(ads.settled_spend_total, 0) as settled_spend_total,
        coalesce(ads.settled_fees, 0) as settled_fees,
        coalesce(ads.settled_spend_media / nullif(ads.settled_listener_days, 0), 0) as settled_cpl,
        coalesce(ads.settled_spend_media / nullif(ads.settled_followers, 0), 0) as settled_cpf,

        -- engagement: before the start, while it ran, after its end
        coalesce(engagement.new_listeners, 0) as engagement_new_listeners,
        coalesce(engagement.new_listeners_before, 0) as engagement_new_listeners_before,
        coalesce(engagement.new_listeners_during, 0) as engagement_new_listeners_during,
        coalesce(engagement.new_listeners_after, 0) as engagement_new_listeners_after,
        coalesce(engagement.streams, 0) as engagement_streams,
        coalesce(engagement.streams_before, 0) as engagement_streams_before,
        coalesce(engagement.streams_during, 0) as engagement_streams_during,
        coalesce(engagement.streams_after, 0) as engagement_streams_after,

        -- spillover: of a campaign without a promoted track there is no other track
        case
            when campaigns.campaign_target_spotify_track_id is not null
                then coalesce(engagement.other_tracks_streams, 0)
        end as other_tracks_streams,
        case
            when campaigns.campaign_target_spotify_track_id is not null
                then coalesce(engagement.other_tracks_streams, 0) / nullif(engagement.streams, 0)
        end as other_tracks_stream_share,

        -- status
        campaigns.is_settled
    from campaigns
    left join ads
        on campaigns.account_id = ads.account_id
        and campaigns.campaign_id = ads.campaign_id
    left join engagement
        on campaigns.account_id = engagement.account_id
        and campaigns.campaign_id = engagement.campaign_id
)

select * from final
