-- New and returning listeners and their streams add up to all of them, as the exports promise.
{% set marts = {'campaign_id': 'track_engagement_daily', 'soundlink_id': 'soundlink_track_daily'} %}

{% for id, mart in marts.items() %}
select
    {{ id }} as subject_id,
    engagement_context,
    engaged_spotify_track_id,
    report_date,
    listeners,
    streams
from {{ ref(mart) }}
where {{ within_window() }}
    and (
        listeners <> new_listeners + returning_listeners
        or streams <> new_listener_streams + returning_listener_streams
    )
{{ 'union all' if not loop.last }}
{% endfor %}
