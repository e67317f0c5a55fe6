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

listed as (
    {{ newest_listings() }}
),

pulled_weeks as (
    select
        campaigns.campaign_id,
        floor((status.report_date - campaigns.start_date) / 7)::integer as week_since_start,
        -- of the days on which the listing lets rows be expected; all of them where there is no listing
        count(*) filter (
            where status.report_date >= coalesce(listed.start_date, date '0001-01-01')
            and status.report_date <= coalesce(listed.may_have_rows_until, date '9999-12-31')
        ) as expected_days_pulled
    from campaigns
    inner join {{ ref('stg_report_date_status') }} as status
        on campaigns.campaign_id = status.subject_id
    left join listed
        on campaigns.campaign_id = listed.row_campaign_id
    where status.export = 'campaign_engagement_daily'
    group by campaigns.campaign_id, floor((status.report_date - campaigns.start_date) / 7)::integer
),

weeks as (
    select
        track_days.campaign_id,
        -- floor, for integer division would put the six days before the start into week 0
        floor((track_days.report_date - campaigns.start_date) / 7)::integer as week_since_start,
        any_value(campaigns.newest) as newest,
        any_value(campaigns.start_date)
        + 7 * floor((track_days.report_date - campaigns.start_date) / 7)::integer as week_start_date,

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
    group by track_days.campaign_id, floor((track_days.report_date - campaigns.start_date) / 7)::integer
),

final as (
    select
        -- keys
        weeks.campaign_id,
        weeks.week_since_start,

        -- attributes
        weeks.newest.account_id,
        weeks.newest.campaign_name,
        weeks.week_start_date,
        weeks.week_start_date + 6 as week_end_date,

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
        -- The days outside of the campaign's life are waited for by nobody.
        coalesce(pulled_weeks.expected_days_pulled, 0) >= greatest(
            least(weeks.week_start_date + 6, coalesce(listed.may_have_rows_until, date '9999-12-31'))
            - greatest(weeks.week_start_date, coalesce(listed.start_date, date '0001-01-01'))
            + 1,
            0
        ) as is_complete,
        weeks.is_settled
    from weeks
    left join pulled_weeks
        on weeks.campaign_id = pulled_weeks.campaign_id
        and weeks.week_since_start = pulled_weeks.week_since_start
    left join listed
        on weeks.campaign_id = listed.row_campaign_id
)

select * from final
