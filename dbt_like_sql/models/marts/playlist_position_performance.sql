with track_days as (
    select * from {{ ref('track_engagement_daily') }}
    where engagement_context = 'playlist'
),

-- A campaign has one account in all of its bands.
campaigns as (
    select
        campaign_id,
        max_by(account_id, (report_date, exported_at, engaged_spotify_track_id)) as account_id
    from track_days
    group by campaign_id
),

banded as (
    select
        *,
        case
            when playlist_position is null then 'unknown'
            when playlist_position <= 10 then '01-10'
            when playlist_position <= 20 then '11-20'
            when playlist_position <= 30 then '21-30'
            when playlist_position <= 50 then '31-50'
            else '51+'
        end as slot_band
    from track_days
),

bands as (
    select
        campaign_id,
        slot_band,
        min(report_date) as first_report_date,
        max(report_date) as last_report_date,

        count(distinct engaged_spotify_track_id) as tracks,
        count(*) as track_days,
        sum(new_listeners)::bigint as unique_listeners,
        sum(streams)::bigint as streams,

        bool_and(is_settled) as is_settled
    from banded
    group by campaign_id, slot_band
),

final as (
    select
        -- keys
        bands.campaign_id,
        bands.slot_band,

        -- attributes
        campaigns.account_id,
        bands.first_report_date,
        bands.last_report_date,

        -- measures
        bands.tracks,
        bands.track_days,
        bands.unique_listeners,
        bands.streams,

        -- ratios
        bands.streams / nullif(bands.unique_listeners, 0) as streams_per_unique_listener,
        bands.streams / nullif(sum(bands.streams) over (partition by bands.campaign_id), 0) as stream_share,

        -- status
        bands.is_settled
    from bands
    inner join campaigns
        on bands.campaign_id = campaigns.campaign_id
)

select * from final
