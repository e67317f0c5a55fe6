-- unique_key is the day, for a refresh replaces whole days: a row that is no more goes with its day.
{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='report_date'
    )
}}

with country_rows as (
    select * from {{ ref('stg_campaign_country_daily') }}
    {{ incremental_window() }}
),

engagement_rows as (
    select * from {{ ref('stg_campaign_engagement_daily') }}
    {{ incremental_window() }}
),

country_history as (
    select * from {{ source('soundlink', 'campaign_country_daily_history') }}
    {{ incremental_window() }}
),

engagement_history as (
    select * from {{ source('soundlink', 'campaign_engagement_daily_history') }}
    {{ incremental_window() }}
),

vanished as (
    select * from {{ source('soundlink', 'vanished_rows') }}
    {{ incremental_window() }}
),

row_counts as (
    select
        'campaign_country_daily' as export,
        report_date,
        count(*) as rows
    from country_rows
    group by report_date

    union all

    select
        'campaign_engagement_daily' as export,
        report_date,
        count(*) as rows
    from engagement_rows
    group by report_date
),

revised as (
    select
        'campaign_country_daily' as export,
        report_date,
        count(distinct (provider, account_id, campaign_id, country_code)) as revised_keys
    from country_history
    where _vanished is distinct from true
    group by report_date

    union all

    select
        'campaign_engagement_daily' as export,
        report_date,
        count(
            distinct
            (provider, account_id, campaign_id, engagement_context, country_code, engaged_spotify_track_id)
        ) as revised_keys
    from engagement_history
    where _vanished is distinct from true
    group by report_date
),

vanished_counts as (
    select
        export,
        report_date,
        count(*) as vanished_keys
    from vanished
    group by export, report_date
),

counted_days as (
    select
        export,
        report_date
    from row_counts

    union

    select
        export,
        report_date
    from revised

    union

    select
        export,
        report_date
    from vanished_counts
),

final as (
    select
        -- keys
        counted_days.export,
        counted_days.report_date,

        -- measures
        coalesce(row_counts.rows, 0) as rows,
        coalesce(revised.revised_keys, 0) as revised_keys,
        coalesce(vanished_counts.vanished_keys, 0) as vanished_keys
    from counted_days
    left join row_counts
        on counted_days.export = row_counts.export
        and counted_days.report_date = row_counts.report_date
    left join revised
        on counted_days.export = revised.export
        and counted_days.report_date = revised.report_date
    left join vanished_counts
        on counted_days.export = vanished_counts.export
        and counted_days.report_date = vanished_counts.report_date
)

select * from final
