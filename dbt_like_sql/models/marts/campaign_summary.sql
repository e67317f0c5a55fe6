with campaign_days as (
    select * from {{ ref('campaign_daily') }}
),

track_days as (
    select * from {{ ref('track_engagement_daily') }}
),

listed as (
    {{ newest_listings() }}
),

-- Every day of either export: engagement goes on after the ads. A campaign has one account, name and target, whatever its
-- currencies: those of its newest row, and where both exports have rows of one moment, those of the ads.
days as (
    select
        campaign_id,
        struct_pack(
            account_id := account_id,
            campaign_name := campaign_name,
            campaign_target_type := campaign_target_type,
            campaign_target_spotify_track_id := campaign_target_spotify_track_id,
            campaign_target_playlist_id := campaign_target_playlist_id
        ) as attributes,
        (report_date, exported_at, 2, currency, '') as newness
    from campaign_days

    union all

    select
        campaign_id,
        struct_pack(
            account_id := account_id,
            campaign_name := campaign_name,
            campaign_target_type := campaign_target_type,
            campaign_target_spotify_track_id := campaign_target_spotify_track_id,
            campaign_target_playlist_id := campaign_target_playlist_id
        ) as attributes,
        (report_date, exported_at, 1, engagement_context, engaged_spotify_track_id) as newness
    from track_days
),

campaigns as (
    select
        campaign_id,
        max_by(attributes, newness) as newest
    from days
    group by campaign_id
),

ads as (
    select
        campaign_id,
        currency,
        min(report_date) as first_report_date,
        max(report_date) as last_report_date,
        min(report_date) filter (where spend_total > 0) as first_spend_date,
        max((report_date, exported_at)) as newness,
        max_by(currency_account, report_date) as currency_account,

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

        -- of the rows in which both sides of a ratio are known
        sum(spend_media_with_link_clicks)::decimal(18, 6) as spend_media_with_link_clicks,
        sum(link_clicks_with_impressions)::bigint as link_clicks_with_impressions,
        sum(impressions_with_link_clicks)::bigint as impressions_with_link_clicks,
        sum(ad_clicks_with_impressions)::bigint as ad_clicks_with_impressions,
        sum(impressions_with_ad_clicks)::bigint as impressions_with_ad_clicks,

        count(*) filter (where is_settled) as days_settled,
        sum(impressions) filter (where is_settled)::bigint as settled_impressions,
        sum(ad_clicks) filter (where is_settled)::bigint as settled_ad_clicks,
        sum(link_clicks) filter (where is_settled)::bigint as settled_link_clicks,
        sum(streams) filter (where is_settled)::bigint as settled_streams,
        sum(listeners) filter (where is_settled)::bigint as settled_listener_days,
        sum(followers) filter (where is_settled)::bigint as settled_followers,
        sum(spend_media) filter (where is_settled)::decimal(18, 6) as settled_spend_media,
        sum(spend_total) filter (where is_settled)::decimal(18, 6) as settled_spend_total,
        sum(fees) filter (where is_settled)::decimal(18, 6) as settled_fees,

        bool_and(is_settled) as is_settled
    from campaign_days
    group by campaign_id, currency
),

-- One row per campaign, those without listening too.
engagement as (
    select
        campaigns.campaign_id,
        coalesce(sum(track_days.new_listeners), 0)::bigint as new_listeners,
        coalesce(sum(track_days.new_listeners) filter (where track_days.status = 'scheduled'), 0)::bigint
            as new_listeners_before,
        coalesce(sum(track_days.new_listeners) filter (where track_days.status = 'active'), 0)::bigint
            as new_listeners_during,
        coalesce(sum(track_days.new_listeners) filter (where track_days.status = 'ended'), 0)::bigint
            as new_listeners_after,
        coalesce(sum(track_days.streams), 0)::bigint as streams,
        coalesce(sum(track_days.streams) filter (where track_days.status = 'scheduled'), 0)::bigint as streams_before,
        coalesce(sum(track_days.streams) filter (where track_days.status = 'active'), 0)::bigint as streams_during,
        coalesce(sum(track_days.streams) filter (where track_days.status = 'ended'), 0)::bigint as streams_after,

        -- of the days on which a track was promoted: of others there is no other track
        sum(track_days.streams) filter (
            where track_days.campaign_target_type = 'track'
            and track_days.campaign_target_spotify_track_id is not null
        )::bigint as streams_with_promoted_track,
        sum(track_days.streams) filter (
            where track_days.campaign_target_type = 'track'
            and track_days.campaign_target_spotify_track_id is not null
            and not track_days.is_promoted_track
        )::bigint as other_tracks_streams,

        coalesce(bool_and(track_days.is_settled), true) as is_settled
    from campaigns
    left join track_days
        on campaigns.campaign_id = track_days.campaign_id
    group by campaigns.campaign_id
),

-- Listening has no currency: it stands in the row of the campaign's newest one, and is never repeated.
latest_currencies as (
    select
        campaign_id,
        max_by(currency, (newness, currency)) as currency
    from ads
    group by campaign_id
),

final as (
    select
        -- keys
        campaigns.campaign_id,
        ads.currency,

        -- attributes
        campaigns.newest.account_id,
        ads.currency_account,
        campaigns.newest.campaign_name,
        campaigns.newest.campaign_target_type,
        campaigns.newest.campaign_target_spotify_track_id,
        campaigns.newest.campaign_target_playlist_id,
        ads.first_report_date,
        ads.last_report_date,
        ads.first_spend_date,

        -- as listed; null of a campaign that no account lists
        listed.account,
        listed.campaign_id as listed_campaign_id,
        listed.status,
        listed.artist_id,
        listed.artist_name,
        listed.strategy_type,
        listed.start_date,
        listed.end_date,
        listed.campaign_duration,

        -- Budgets are USD: an amount in another currency is no share of them.
        case when coalesce(ads.currency, 'USD') = 'USD' then listed.daily_budget end as daily_budget,
        case when coalesce(ads.currency, 'USD') = 'USD' then listed.total_budget end as total_budget,

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

        -- of the rows in which both sides of a ratio are known: what to add up for a ratio of other rows
        ads.spend_media_with_link_clicks,
        ads.link_clicks_with_impressions,
        ads.impressions_with_link_clicks,
        ads.ad_clicks_with_impressions,
        ads.impressions_with_ad_clicks,

        -- ratios of the sums; with nothing to divide by, 0 or null as in the export
        coalesce(ads.streams / nullif(ads.listener_days, 0), 0) as streams_per_listener,
        coalesce(ads.spend_media / nullif(ads.listener_days, 0), 0) as cpl,
        coalesce(ads.spend_media / nullif(ads.followers, 0), 0) as cpf,
        ads.spend_media_with_link_clicks / nullif(ads.link_clicks, 0) as cpc_linkclick,
        ads.link_clicks_with_impressions / nullif(ads.impressions_with_link_clicks, 0) as ctr_linkclick,
        ads.ad_clicks_with_impressions / nullif(ads.impressions_with_ad_clicks, 0) as ctr_adclick,

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
        engagement.new_listeners as engagement_new_listeners,
        engagement.new_listeners_before as engagement_new_listeners_before,
        engagement.new_listeners_during as engagement_new_listeners_during,
        engagement.new_listeners_after as engagement_new_listeners_after,
        engagement.streams as engagement_streams,
        engagement.streams_before as engagement_streams_before,
        engagement.streams_during as engagement_streams_during,
        engagement.streams_after as engagement_streams_after,

        -- spillover
        case
            when engagement.streams_with_promoted_track is not null
                then coalesce(engagement.other_tracks_streams, 0)
            -- promoted, and not listened to yet
            when engagement.streams = 0 and campaigns.newest.campaign_target_spotify_track_id is not null then 0
        end as other_tracks_streams,
        coalesce(engagement.other_tracks_streams, 0)
        / nullif(engagement.streams_with_promoted_track, 0) as other_tracks_stream_share,

        -- status
        coalesce(ads.is_settled, true) and coalesce(engagement.is_settled, true) as is_settled
    from campaigns
    left join ads
        on campaigns.campaign_id = ads.campaign_id
    left join listed
        on campaigns.campaign_id = listed.row_campaign_id
    left join latest_currencies
        on campaigns.campaign_id = latest_currencies.campaign_id
    left join engagement
        on campaigns.campaign_id = engagement.campaign_id
        and ads.currency is not distinct from latest_currencies.currency
)

select * from final
