-- The weeks of a campaign leave out nothing of its listening, and count nothing twice.
with weeks as (
    select
        campaign_id,
        sum(new_listeners) as new_listeners,
        sum(returning_listener_days) as returning_listener_days,
        sum(listener_days) as listener_days,
        sum(new_listener_streams) as new_listener_streams,
        sum(returning_listener_streams) as returning_listener_streams,
        sum(streams) as streams
    from {{ ref('cohort') }}
    group by campaign_id
),

daily as (
    select
        campaign_id,
        sum(new_listeners) as new_listeners,
        sum(returning_listeners) as returning_listener_days,
        sum(listeners) as listener_days,
        sum(new_listener_streams) as new_listener_streams,
        sum(returning_listener_streams) as returning_listener_streams,
        sum(streams) as streams
    from {{ ref('track_engagement_daily') }}
    group by campaign_id
)

{{ differences('weeks', 'daily') }}
