with track_days as (
    select * from {{ ref('track_engagement_daily') }}
),

tracks as (
    select
        campaign_id,
        engagement_context,
        engaged_spotify_track_id,

        -- all of them the latest day's
        max_by(
            struct_pack(
                account_id := account_id,
                campaign_name := campaign_name,
                engaged_track_name := engaged_track_name,
                engaged_track_isrc := engaged_track_isrc,
                is_promoted_track := is_promoted_track
            ),
            report_date
        ) as newest,
        min(report_date) as first_report_date,
        max(report_date) as last_report_date,

        count(*) as days,
        count(*) filter (where is_settled) as days_settled,
        -- A listener is new to a track on one day only, so these may be summed; listeners may not.
        sum(new_listeners)::bigint as unique_listeners,
        sum(new_listeners) filter (where is_settled)::bigint as settled_unique_listeners,
        sum(new_listener_streams)::bigint as new_listener_streams,
        sum(returning_listener_streams)::bigint as returning_listener_streams,
        sum(streams)::bigint as streams,
        sum(streams) filter (where is_settled)::bigint as settled_streams,

        bool_and(is_settled) as is_settled
    from track_days
    group by campaign_id, engagement_context, engaged_spotify_track_id
),

final as (
    select
        -- keys
        campaign_id,
        engagement_context,
        engaged_spotify_track_id,

        -- attributes
        newest.account_id,
        newest.campaign_name,
        newest.engaged_track_name,
        newest.engaged_track_isrc,
        newest.is_promoted_track,
        first_report_date,
        last_report_date,

        -- measures
        days,
        days_settled,
        unique_listeners,
        coalesce(settled_unique_listeners, 0) as settled_unique_listeners,
        new_listener_streams,
        returning_listener_streams,
        streams,
        coalesce(settled_streams, 0) as settled_streams,

        -- ratio
        streams / nullif(unique_listeners, 0) as streams_per_unique_listener,

        -- status
        is_settled
    from tracks
)

select * from final
