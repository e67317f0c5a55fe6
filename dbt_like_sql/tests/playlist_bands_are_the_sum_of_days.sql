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

-- the rows of one side that the other has not: a difference shows as two
(select 'bands' as side, * from bands except select 'bands', * from daily)
union all
(select 'daily' as side, * from daily except select 'daily', * from bands)
