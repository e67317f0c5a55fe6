with track_days as (
    select
        *,
        -- Without it, which of the tracks is another one is not known.
        campaign_target_spotify_track_id is not null as has_promoted_track
    from {{ ref('track_engagement_daily') }}
    where engagement_context = 'catalog' and campaign_target_type = 'track'
),

campaigns as (
    select
        campaign_id,
        max_by(
            struct_pack(account_id := account_id, campaign_name := campaign_name),
            (report_date, exported_at, engaged_spotify_track_id)
        ) as newest,
        -- the day the campaign started, or if it has not yet, its first day with rows
        coalesce(min(report_date) filter (where status <> 'scheduled'), min(report_date)) as start_date
    from track_days
    group by campaign_id
),

track_weeks as (
    select
        track_days.*,
        campaigns.newest,
        campaigns.start_date,
        -- floor, for integer division would put the six days before the start into week 0
        floor((track_days.report_date - campaigns.start_date) / 7)::integer as week_since_start
    from track_days
    inner join campaigns
        on track_days.campaign_id = campaigns.campaign_id
),

weeks as (
    select
        campaign_id,
        week_since_start,
        any_value(newest) as newest,
        any_value(start_date + 7 * week_since_start) as week_start_date,

        count(distinct report_date) as days,
        count(distinct engaged_spotify_track_id) filter (where not is_promoted_track) as other_tracks,
        coalesce(sum(new_listeners) filter (where is_promoted_track), 0)::bigint as promoted_new_listeners,
        coalesce(sum(new_listeners) filter (where not is_promoted_track), 0)::bigint as other_new_listeners,
        coalesce(sum(streams) filter (where is_promoted_track), 0)::bigint as promoted_streams,
        coalesce(sum(streams) filter (where not is_promoted_track), 0)::bigint as other_streams,

        -- of the rows whose promoted track is known
        sum(new_listeners) filter (where has_promoted_track)::bigint as shared_new_listeners,
        sum(new_listeners) filter (
            where has_promoted_track and not is_promoted_track
        )::bigint as shared_other_new_listeners,
        sum(streams) filter (where has_promoted_track)::bigint as shared_streams,
        sum(streams) filter (where has_promoted_track and not is_promoted_track)::bigint as shared_other_streams,

        bool_and(is_settled) as is_settled
    from track_weeks
    group by campaign_id, week_since_start
),

final as (
    select
        -- keys
        campaign_id,
        week_since_start,

        -- attributes
        newest.account_id,
        newest.campaign_name,
        week_start_date,
        week_start_date + 6 as week_end_date,

        -- measures
        days,
        other_tracks,
        promoted_new_listeners,
        other_new_listeners,
        promoted_streams,
        other_streams,

        -- ratios
        coalesce(shared_other_streams, 0) / nullif(shared_streams, 0) as spillover_stream_share,
        coalesce(shared_other_new_listeners, 0) / nullif(shared_new_listeners, 0) as spillover_listener_share,

        -- status
        is_settled
    from weeks
)

select * from final
