-- unique_key is the day, for a refresh replaces whole days: a row that is no more goes with its day.
{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='report_date'
    )
}}

-- Of each export what tells one row of a day from another.
{% set keys = {
    'campaign_country_daily': 'provider, account_id, campaign_id, country_code',
    'campaign_engagement_daily':
        'provider, account_id, campaign_id, engagement_context, country_code, engaged_spotify_track_id',
    'soundlink_country_daily': 'provider, account_id, soundlink_id, country_code',
    'soundlink_engagement_daily':
        'provider, account_id, soundlink_id, engagement_context, country_code, engaged_spotify_track_id',
} %}

with vanished as (
    select * from {{ source('soundlink', 'vanished_rows') }}
    {{ incremental_window() }}
),

{% for export in keys %}
{{ export }}_rows as (
    select * from {{ ref('stg_' ~ export) }}
    {{ incremental_window() }}
),

{{ export }}_versions as (
    select * from {{ source('soundlink', export ~ '_history') }}
    {{ incremental_window() }}
),
{% endfor %}

row_counts as (
    {% for export in keys %}
    select
        '{{ export }}' as export,
        report_date,
        count(*) as rows
    from {{ export }}_rows
    group by report_date
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

revised as (
    {% for export, key in keys.items() %}
    select
        '{{ export }}' as export,
        report_date,
        count(distinct ({{ key }})) as revised_keys
    from {{ export }}_versions
    where _vanished is distinct from true
    group by report_date
    {{ 'union all' if not loop.last }}
    {% endfor %}
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
