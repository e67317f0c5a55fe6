-- unique_key is the day, for a refresh replaces whole days: a row that is no more goes with its day.
{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='report_date'
    )
}}

with engagement_rows as (
    select * from {{ ref('stg_campaign_engagement_daily') }}
    {{ incremental_window() }}
),

settlement as (
    select * from {{ ref('stg_report_date_status') }}
    {{ incremental_window() }}
),

track_days as (
    select
        campaign_id,
        engagement_context,
        engaged_spotify_track_id,
        report_date,

        -- All attributes are those of one row, the newest; one by one, max_by would pass over what is null there.
        max_by(
            struct_pack(
                account_id := account_id,
                campaign_name := campaign_name,
                campaign_target_type := campaign_target_type,
                campaign_target_spotify_track_id := campaign_target_spotify_track_id,
                campaign_target_playlist_id := campaign_target_playlist_id,
                engaged_track_name := engaged_track_name,
                engaged_track_isrc := engaged_track_isrc,
                status := status,
                playlist_position := playlist_position
            ),
            -- of one moment the highest place, and no place last
            (exported_at, -coalesce(playlist_position, 9223372036854775807), country_code, account_id)
        ) as newest,

        count(distinct country_code) as countries,
        sum(new_listeners)::bigint as new_listeners,
        sum(returning_listeners)::bigint as returning_listeners,
        sum(listeners)::bigint as listeners,
        sum(new_listener_streams)::bigint as new_listener_streams,
        sum(returning_listener_streams)::bigint as returning_listener_streams,
        sum(streams)::bigint as streams,

        max(exported_at) as exported_at
    from engagement_rows
    group by campaign_id, engagement_context, engaged_spotify_track_id, report_date
),

final as (
    select
        -- keys
        track_days.campaign_id,
        track_days.engagement_context,
        track_days.engaged_spotify_track_id,
        track_days.report_date,

        -- attributes
        track_days.newest.account_id,
        track_days.newest.campaign_name,
        track_days.newest.campaign_target_type,
        track_days.newest.campaign_target_spotify_track_id,
        track_days.newest.campaign_target_playlist_id,
        track_days.newest.engaged_track_name,
        track_days.newest.engaged_track_isrc,
        track_days.newest.status,
        track_days.newest.playlist_position,
        coalesce(
            track_days.newest.campaign_target_type = 'track'
            and track_days.engaged_spotify_track_id = track_days.newest.campaign_target_spotify_track_id,
            false
        ) as is_promoted_track,

        -- measures
        track_days.countries,
        track_days.new_listeners,
        track_days.returning_listeners,
        track_days.listeners,
        track_days.new_listener_streams,
        track_days.returning_listener_streams,
        track_days.streams,

        -- ratio of the sums; 0 without listeners, as in the export
        coalesce(track_days.streams / nullif(track_days.listeners, 0), 0) as spl,

        -- status
        track_days.exported_at,
        coalesce(settlement.is_settled, false) as is_settled
    from track_days
    left join settlement
        on settlement.export = 'campaign_engagement_daily'
        and track_days.campaign_id = settlement.subject_id
        and track_days.report_date = settlement.report_date
)

select * from final
