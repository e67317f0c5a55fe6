-- unique_key is the day, for a refresh replaces whole days: a row that is no more goes with its day.
{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='report_date'
    )
}}

with country_rows as (
    select * from {{ ref('stg_soundlink_country_daily') }}
    {{ incremental_window() }}
),

status as (
    select * from {{ ref('stg_report_date_status') }}
    {{ incremental_window() }}
),

soundlink_days as (
    select
        soundlink_id,
        report_date,

        -- All attributes are those of one row, the newest; one by one, max_by would pass over what is null there.
        max_by(
            struct_pack(
                account_id := account_id,
                soundlink_name := soundlink_name,
                soundlink_target_type := soundlink_target_type,
                soundlink_target_spotify_track_id := soundlink_target_spotify_track_id,
                soundlink_target_playlist_id := soundlink_target_playlist_id
            ),
            (exported_at, country_code, account_id)
        ) as newest,

        count(distinct country_code) as countries,
        sum(views)::bigint as views,
        sum(link_clicks)::bigint as link_clicks,
        sum(spotify_link_clicks)::bigint as spotify_link_clicks,
        sum(apple_music_link_clicks)::bigint as apple_music_link_clicks,
        sum(youtube_music_link_clicks)::bigint as youtube_music_link_clicks,
        sum(streams)::bigint as streams,
        sum(listeners)::bigint as listeners,
        sum(followers)::bigint as followers,
        sum(new_listeners)::bigint as new_listeners,
        sum(returning_listeners)::bigint as returning_listeners,
        sum(new_listener_streams)::bigint as new_listener_streams,
        sum(returning_listener_streams)::bigint as returning_listener_streams,

        -- of the rows in which both sides of a ratio are known
        sum(views) filter (where link_clicks is not null)::bigint as views_with_link_clicks,

        max(exported_at) as exported_at
    from country_rows
    group by soundlink_id, report_date
),

final as (
    select
        -- keys
        soundlink_days.soundlink_id,
        soundlink_days.report_date,

        -- attributes
        soundlink_days.newest.account_id,
        soundlink_days.newest.soundlink_name,
        soundlink_days.newest.soundlink_target_type,
        soundlink_days.newest.soundlink_target_spotify_track_id,
        soundlink_days.newest.soundlink_target_playlist_id,

        -- measures
        soundlink_days.countries,
        soundlink_days.views,
        soundlink_days.link_clicks,
        soundlink_days.spotify_link_clicks,
        soundlink_days.apple_music_link_clicks,
        soundlink_days.youtube_music_link_clicks,
        soundlink_days.streams,
        soundlink_days.listeners,
        soundlink_days.followers,
        soundlink_days.new_listeners,
        soundlink_days.returning_listeners,
        soundlink_days.new_listener_streams,
        soundlink_days.returning_listener_streams,

        -- of the rows in which both sides of a ratio are known: what to add up for a ratio of other rows
        soundlink_days.views_with_link_clicks,

        -- ratios of the sums; with nothing to divide by, 0 or null as in the export
        coalesce(soundlink_days.streams / nullif(soundlink_days.listeners, 0), 0) as streams_per_listener,
        soundlink_days.link_clicks / nullif(soundlink_days.views_with_link_clicks, 0) as ctr_lp,

        -- status
        soundlink_days.exported_at,
        coalesce(status.is_settled, false) as is_settled
    from soundlink_days
    left join status
        on status.export = 'soundlink_country_daily'
        and soundlink_days.soundlink_id = status.subject_id
        and soundlink_days.report_date = status.report_date
)

select * from final
