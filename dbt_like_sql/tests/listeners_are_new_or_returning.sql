-- New and returning listeners and their streams add up to all of them, as the export promises.
select
    campaign_id,
    engagement_context,
    engaged_spotify_track_id,
    report_date,
    listeners,
    streams
from {{ ref('track_engagement_daily') }}
where {{ within_window() }}
    and (
        listeners <> new_listeners + returning_listeners
        or streams <> new_listener_streams + returning_listener_streams
    )
