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

-- A row's day is one that its delivery was asked for.
with deliveries as (
    select * from {{ source('soundlink', 'deliveries') }}
    {% if is_incremental() %}
    where start_date <= date '{{ var("end_date") }}' and end_date >= date '{{ var("start_date") }}'
    {% endif %}
),

vanished as (
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

-- A row, and a version of it, is of the account that it was delivered to.
row_counts as (
    {% for export in keys %}
    select
        deliveries.account,
        export_rows.account_id,
        '{{ export }}' as export,
        export_rows.report_date,
        count(*) as rows
    from {{ export }}_rows as export_rows
    left join deliveries
        on export_rows._delivery_id = deliveries.delivery_id
    group by deliveries.account, export_rows.account_id, export_rows.report_date
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

revised as (
    {% for export, key in keys.items() %}
    select
        deliveries.account,
        versions.account_id,
        '{{ export }}' as export,
        versions.report_date,
        count(distinct ({{ key }})) as revised_keys
    from {{ export }}_versions as versions
    left join deliveries
        on versions._delivery_id = deliveries.delivery_id
    where versions._vanished is distinct from true
    group by deliveries.account, versions.account_id, versions.report_date
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

vanished_counts as (
    select
        deliveries.account,
        vanished.key ->> '$.account_id' as account_id,
        vanished.export,
        vanished.report_date,
        count(*) as vanished_keys
    from vanished
    left join deliveries
        on vanished.delivery_id = deliveries.delivery_id
    group by all
),

counted as (
    select * from row_counts
    union all by name
    select * from revised
    union all by name
    select * from vanished_counts
),

final as (
    select
        -- keys
        account,
        account_id,
        export,
        report_date,

        -- measures
        coalesce(sum(rows), 0)::bigint as rows,
        coalesce(sum(revised_keys), 0)::bigint as revised_keys,
        coalesce(sum(vanished_keys), 0)::bigint as vanished_keys
    from counted
    group by account, account_id, export, report_date
)

select * from final
