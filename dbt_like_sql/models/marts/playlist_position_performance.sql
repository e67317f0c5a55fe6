with track_days as (
    select * from {{ ref('track_engagement_daily') }}
    where engagement_context = 'playlist'
),

banded as (
    select
        *,
        case
            when playlist_position is null then 'unknown'
            when playlist_position <= 10 then '01-10'
            when playlist_position <= 20 then '11-20'
            when playlist_position <= 30 then '21-30'
            when playlist_position <= 50 then '31-50'
            else '51+'
        end as slot_band
    from track_days
),

bands as (
    select
        account_id,
        campaign_id,
        slot_band,
        min(report_date) as first_report_date,
        max(report_date) as last_report_date,

        count(distinct engaged_spotify_track_id) as tracks,
        count(*) as track_days,
        sum(new_listeners)::bigint as unique_listeners,
        sum(streams)::bigint as streams,

        bool_and(is_settled) as is_settled
    from banded
    group by account_id, campaign_id, slot_band
),

final as (
    select
        -- keys
        account_id,
        campaign_id,
        slot_band,

        -- attributes
        first_report_date,
        last_report_date,

        -- measures
        tracks,
        track_days,
        unique_listeners,
        streams,

        -- ratios
        streams / nullif(unique_listeners, 0) as streams_per_unique_listener,
        streams / nullif(sum(streams) over (partition by account_id, campaign_id), 0) as stream_share,

        -- status
        is_settled
    from bands
)

select * from final
