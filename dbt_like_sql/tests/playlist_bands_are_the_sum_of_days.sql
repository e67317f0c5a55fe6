-- The bands of a playlist campaign leave out nothing of its playlist listening, and count nothing twice.
with bands as (
    select
        campaign_id,
        sum(track_days) as track_days,
        sum(unique_listeners) as new_listeners,
        sum(streams) as streams
    from {{ ref('playlist_position_performance') }}
    group by campaign_id
),

daily as (
    select
        campaign_id,
        count(*) as track_days,
        sum(new_listeners) as new_listeners,
        sum(streams) as streams
    from {{ ref('track_engagement_daily') }}
    where engagement_context = 'playlist'
    group by campaign_id
)

{{ differences('bands', 'daily') }}
