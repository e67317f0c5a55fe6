-- Each track that a campaign's listeners played. A listener of two tracks is in both rows.
select
    campaign_name as campaign,
    engaged_track_name as track,
    case
        when is_promoted_track then 'promoted'
        when engagement_context = 'playlist' then 'in the playlist'
        else 'other'
    end as role,
    unique_listeners,
    streams,
    streams_per_unique_listener as streams_each,
    settled_unique_listeners as final_listeners,
    case when is_settled then 'final' else 'provisional' end as state
from marts.track_engagement_summary
