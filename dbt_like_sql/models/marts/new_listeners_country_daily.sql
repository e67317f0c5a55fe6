-- unique_key is the day, for a refresh replaces whole days: a row that is no more goes with its day.
{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='report_date'
    )
}}

with engagement_rows as (
    select * from {{ ref('stg_campaign_engagement_daily') }}
    {{ incremental_window() }}
),

status as (
    select * from {{ ref('stg_report_date_status') }}
    {{ incremental_window() }}
),

countries as (
    select * from {{ source('soundlink', 'countries') }}
),

country_days as (
    select
        engagement_rows.account_id,
        engagement_rows.country_code,
        engagement_rows.report_date,

        count(distinct engagement_rows.campaign_id) as campaigns,
        sum(engagement_rows.new_listeners)::bigint as new_listeners,
        sum(engagement_rows.returning_listeners)::bigint as returning_listeners,
        -- of the track that a campaign promotes: no listener of one campaign is in here twice
        sum(engagement_rows.new_listeners) filter (
            where engagement_rows.campaign_target_type = 'track'
            and engagement_rows.engaged_spotify_track_id = engagement_rows.campaign_target_spotify_track_id
        )::bigint as promoted_new_listeners,
        sum(engagement_rows.new_listener_streams)::bigint as new_listener_streams,
        sum(engagement_rows.returning_listener_streams)::bigint as returning_listener_streams,
        bool_and(coalesce(status.is_settled, false)) as is_settled
    from engagement_rows
    left join status
        on status.export = 'campaign_engagement_daily'
        and engagement_rows.campaign_id = status.subject_id
        and engagement_rows.report_date = status.report_date
    group by engagement_rows.account_id, engagement_rows.country_code, engagement_rows.report_date
),

final as (
    select
        -- keys
        country_days.account_id,
        country_days.country_code,
        country_days.report_date,

        -- attributes
        coalesce(countries.country_code, 'unknown (' || country_days.country_code || ')') as country,

        -- measures
        country_days.campaigns,
        country_days.new_listeners,
        country_days.returning_listeners,
        coalesce(country_days.promoted_new_listeners, 0) as promoted_new_listeners,
        country_days.new_listener_streams,
        country_days.returning_listener_streams,

        -- ratio; null where nobody listened
        country_days.new_listeners
        / nullif(country_days.new_listeners + country_days.returning_listeners, 0) as new_listener_share,

        -- status
        country_days.is_settled
    from country_days
    left join countries
        on country_days.country_code = countries.country_code
)

select * from final
