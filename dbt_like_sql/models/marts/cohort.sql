-- Built in full: a week since the start is no calendar day, and the start may come to be known later.
with track_days as (
    select * from {{ ref('track_engagement_daily') }}
),

campaigns as (
    select
        campaign_id,
        max_by(
            struct_pack(account_id := account_id, campaign_name := campaign_name),
            (report_date, exported_at, engagement_context, engaged_spotify_track_id)
        ) as newest,
        -- the day the campaign started, or if it has not yet, its first day with rows
        coalesce(min(report_date) filter (where status <> 'scheduled'), min(report_date)) as start_date
    from track_days
    group by campaign_id
),

newest_days as (
    select
        subject_id as campaign_id,
        max(report_date) as report_date
    from {{ ref('stg_report_date_status') }}
    where export = 'campaign_engagement_daily'
    group by subject_id
),

weeks as (
    select
        track_days.campaign_id,
        -- floor, for integer division would put the six days before the start into week 0
        floor((track_days.report_date - campaigns.start_date) / 7)::integer as week_since_start,
        any_value(campaigns.newest) as newest,
        any_value(campaigns.start_date) as start_date,
        any_value(newest_days.report_date) as newest_report_date,

        count(distinct track_days.report_date) as days,
        sum(track_days.new_listeners)::bigint as new_listeners,
        sum(track_days.returning_listeners)::bigint as returning_listener_days,
        sum(track_days.listeners)::bigint as listener_days,
        coalesce(sum(track_days.new_listeners) filter (where track_days.is_promoted_track), 0)::bigint
            as promoted_new_listeners,
        coalesce(sum(track_days.returning_listeners) filter (where track_days.is_promoted_track), 0)::bigint
            as promoted_returning_listener_days,
        sum(track_days.new_listener_streams)::bigint as new_listener_streams,
        sum(track_days.returning_listener_streams)::bigint as returning_listener_streams,
        sum(track_days.streams)::bigint as streams,
        bool_and(track_days.is_settled) as is_settled
    from track_days
    inner join campaigns
        on track_days.campaign_id = campaigns.campaign_id
    left join newest_days
        on track_days.campaign_id = newest_days.campaign_id
    group by track_days.campaign_id, floor((track_days.report_date - campaigns.start_date) / 7)::integer
),

final as (
    select
        -- keys
        campaign_id,
        week_since_start,

        -- attributes
        newest.account_id,
        newest.campaign_name,
        start_date + 7 * week_since_start as week_start_date,
        start_date + 7 * week_since_start + 6 as week_end_date,

        -- measures
        days,
        new_listeners,
        returning_listener_days,
        listener_days,
        promoted_new_listeners,
        promoted_returning_listener_days,
        new_listener_streams,
        returning_listener_streams,
        streams,

        -- ratios; null where nobody listened
        new_listeners / nullif(listener_days, 0) as new_share,
        returning_listener_streams / nullif(streams, 0) as returning_stream_share,
        new_listener_streams / nullif(new_listeners, 0) as streams_per_new_listener,
        returning_listener_streams / nullif(returning_listener_days, 0) as streams_per_returning_listener_day,

        -- status
        coalesce(newest_report_date >= start_date + 7 * week_since_start + 6, false) as is_complete,
        is_settled
    from weeks
)

select * from final
