-- A soundlink's totals are the sums of its days, and its listening is that of its tracks.
with summary as (
    select
        soundlink_id,
        days,
        views,
        link_clicks,
        spotify_link_clicks,
        apple_music_link_clicks,
        youtube_music_link_clicks,
        streams,
        listener_days,
        followers,
        new_listeners,
        new_listener_streams,
        returning_listener_streams,
        views_with_link_clicks,
        engagement_new_listeners,
        engagement_streams
    from {{ ref('soundlink_summary') }}
),

-- A day of one mart is 0, or null where that is possible, in the columns of the other.
days as (
    select
        soundlink_id,
        1 as page_days,
        views,
        link_clicks,
        spotify_link_clicks,
        apple_music_link_clicks,
        youtube_music_link_clicks,
        streams,
        listeners,
        followers,
        new_listeners,
        new_listener_streams,
        returning_listener_streams,
        views_with_link_clicks,
        0 as engagement_new_listeners,
        0 as engagement_streams
    from {{ ref('soundlink_daily') }}

    union all by name

    select
        soundlink_id,
        0 as page_days,
        0 as views,
        0 as streams,
        0 as listeners,
        0 as followers,
        new_listeners as engagement_new_listeners,
        streams as engagement_streams
    from {{ ref('soundlink_track_daily') }}
),

daily as (
    select
        soundlink_id,
        sum(page_days) as days,
        sum(views) as views,
        sum(link_clicks) as link_clicks,
        sum(spotify_link_clicks) as spotify_link_clicks,
        sum(apple_music_link_clicks) as apple_music_link_clicks,
        sum(youtube_music_link_clicks) as youtube_music_link_clicks,
        sum(streams) as streams,
        sum(listeners) as listener_days,
        sum(followers) as followers,
        sum(new_listeners) as new_listeners,
        sum(new_listener_streams) as new_listener_streams,
        sum(returning_listener_streams) as returning_listener_streams,
        sum(views_with_link_clicks) as views_with_link_clicks,
        sum(engagement_new_listeners) as engagement_new_listeners,
        sum(engagement_streams) as engagement_streams
    from days
    group by soundlink_id
)

{{ differences('summary', 'daily') }}
