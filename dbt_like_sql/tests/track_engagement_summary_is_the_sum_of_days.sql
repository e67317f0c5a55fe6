-- A track's totals are the sums of its days.
with summary as (
    select
        campaign_id,
        engagement_context,
        engaged_spotify_track_id,
        days,
        unique_listeners,
        new_listener_streams,
        returning_listener_streams,
        streams
    from {{ ref('track_engagement_summary') }}
),

daily as (
    select
        campaign_id,
        engagement_context,
        engaged_spotify_track_id,
        count(*) as days,
        sum(new_listeners) as unique_listeners,
        sum(new_listener_streams) as new_listener_streams,
        sum(returning_listener_streams) as returning_listener_streams,
        sum(streams) as streams
    from {{ ref('track_engagement_daily') }}
    group by campaign_id, engagement_context, engaged_spotify_track_id
)

{{ differences('summary', 'daily') }}
