with soundlink_days as (
    select * from {{ ref('soundlink_daily') }}
),

track_days as (
    select
        *,
        -- Without it, which of the tracks is another one is not known.
        soundlink_target_type = 'track' and soundlink_target_spotify_track_id is not null as has_promoted_track
    from {{ ref('soundlink_track_daily') }}
),

soundlinks as (
    select * from {{ ref('stg_soundlinks') }}
),

deliveries as (
    select * from {{ ref('stg_deliveries') }}
),

-- Every day of either export. Account, name and target are those of the newest row, and where both exports have rows of
-- one moment, those of the page's.
days as (
    select
        soundlink_id,
        struct_pack(
            account_id := account_id,
            soundlink_name := soundlink_name,
            soundlink_target_type := soundlink_target_type,
            soundlink_target_spotify_track_id := soundlink_target_spotify_track_id,
            soundlink_target_playlist_id := soundlink_target_playlist_id
        ) as attributes,
        (report_date, exported_at, 2, '', '') as newness
    from soundlink_days

    union all

    select
        soundlink_id,
        struct_pack(
            account_id := account_id,
            soundlink_name := soundlink_name,
            soundlink_target_type := soundlink_target_type,
            soundlink_target_spotify_track_id := soundlink_target_spotify_track_id,
            soundlink_target_playlist_id := soundlink_target_playlist_id
        ) as attributes,
        (report_date, exported_at, 1, engagement_context, engaged_spotify_track_id) as newness
    from track_days
),

newest as (
    select
        soundlink_id,
        max_by(attributes, newness) as newest
    from days
    group by soundlink_id
),

-- The listing goes by the id in the request; the rows may carry another.
listed as (
    select
        deliveries.row_subject_id as soundlink_id,
        max_by(
            struct_pack(status := soundlinks.status, url := soundlinks.url),
            (soundlinks._listed_at, soundlinks.soundlink_id)
        ) as newest
    from soundlinks
    inner join deliveries
        on soundlinks.account = deliveries.account
        and soundlinks.soundlink_id = deliveries.subject_id
    where deliveries.export in ('soundlink_country_daily', 'soundlink_engagement_daily')
    group by deliveries.row_subject_id
),

page as (
    select
        soundlink_id,
        min(report_date) as first_report_date,
        max(report_date) as last_report_date,

        count(*) as days,
        sum(views)::bigint as views,
        sum(link_clicks)::bigint as link_clicks,
        sum(spotify_link_clicks)::bigint as spotify_link_clicks,
        sum(apple_music_link_clicks)::bigint as apple_music_link_clicks,
        sum(youtube_music_link_clicks)::bigint as youtube_music_link_clicks,
        sum(streams)::bigint as streams,
        sum(listeners)::bigint as listener_days,
        sum(followers)::bigint as followers,
        sum(new_listeners)::bigint as new_listeners,
        sum(new_listener_streams)::bigint as new_listener_streams,
        sum(returning_listener_streams)::bigint as returning_listener_streams,

        -- of the rows in which both sides of a ratio are known
        sum(views_with_link_clicks)::bigint as views_with_link_clicks,

        count(*) filter (where is_settled) as days_settled,
        sum(views) filter (where is_settled)::bigint as settled_views,
        sum(link_clicks) filter (where is_settled)::bigint as settled_link_clicks,
        sum(streams) filter (where is_settled)::bigint as settled_streams,
        sum(listeners) filter (where is_settled)::bigint as settled_listener_days,
        sum(followers) filter (where is_settled)::bigint as settled_followers,

        bool_and(is_settled) as is_settled
    from soundlink_days
    group by soundlink_id
),

listening as (
    select
        soundlink_id,
        sum(new_listeners)::bigint as new_listeners,
        sum(streams)::bigint as streams,

        -- of the days on which a track was promoted: of others there is no other track
        sum(streams) filter (where has_promoted_track)::bigint as streams_with_promoted_track,
        sum(streams) filter (where has_promoted_track and not is_promoted_track)::bigint as other_tracks_streams,

        bool_and(is_settled) as is_settled
    from track_days
    group by soundlink_id
),

final as (
    select
        -- key
        newest.soundlink_id,

        -- attributes
        newest.newest.account_id,
        newest.newest.soundlink_name,
        newest.newest.soundlink_target_type,
        newest.newest.soundlink_target_spotify_track_id,
        newest.newest.soundlink_target_playlist_id,
        listed.newest.status,
        listed.newest.url,
        page.first_report_date,
        page.last_report_date,

        -- measures of the page and attributed listening
        coalesce(page.days, 0) as days,
        coalesce(page.views, 0) as views,
        page.link_clicks,
        page.spotify_link_clicks,
        page.apple_music_link_clicks,
        page.youtube_music_link_clicks,
        coalesce(page.streams, 0) as streams,
        coalesce(page.listener_days, 0) as listener_days,
        coalesce(page.followers, 0) as followers,
        page.new_listeners,
        page.new_listener_streams,
        page.returning_listener_streams,

        -- of the rows in which both sides of a ratio are known: what to add up for a ratio of other rows
        page.views_with_link_clicks,

        -- ratios of the sums; with nothing to divide by, 0 or null as in the export
        coalesce(page.streams / nullif(page.listener_days, 0), 0) as streams_per_listener,
        page.link_clicks / nullif(page.views_with_link_clicks, 0) as ctr_lp,

        -- the same, settled days only
        coalesce(page.days_settled, 0) as days_settled,
        coalesce(page.settled_views, 0) as settled_views,
        page.settled_link_clicks,
        coalesce(page.settled_streams, 0) as settled_streams,
        coalesce(page.settled_listener_days, 0) as settled_listener_days,
        coalesce(page.settled_followers, 0) as settled_followers,

        -- engagement
        coalesce(listening.new_listeners, 0) as engagement_new_listeners,
        coalesce(listening.streams, 0) as engagement_streams,

        -- spillover
        case
            when listening.streams_with_promoted_track is not null
                then coalesce(listening.other_tracks_streams, 0)
            -- promoted, and not listened to yet
            when listening.soundlink_id is null and newest.newest.soundlink_target_spotify_track_id is not null then 0
        end as other_tracks_streams,
        coalesce(listening.other_tracks_streams, 0)
        / nullif(listening.streams_with_promoted_track, 0) as other_tracks_stream_share,

        -- status
        coalesce(page.is_settled, true) and coalesce(listening.is_settled, true) as is_settled
    from newest
    left join listed
        on newest.soundlink_id = listed.soundlink_id
    left join page
        on newest.soundlink_id = page.soundlink_id
    left join listening
        on newest.soundlink_id = listening.soundlink_id
)

select * from final
