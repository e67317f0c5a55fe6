-- What each settled day was worth when it was younger: settling_factors is made of it. A day's rows follow from the
-- versions and pulls of that day alone, so a refresh adds the days that have settled and leaves the others.
{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='report_date'
    )
}}

{% set measures = settling_measures() %}
{% set exports = settling_exports() %}

with deliveries as (
    select * from {{ ref('stg_deliveries') }}
    {% if is_incremental() %}
    where start_date <= date '{{ var("end_date") }}' and end_date >= date '{{ var("start_date") }}'
    {% endif %}
),

status as (
    select * from {{ ref('stg_report_date_status') }}
    {{ incremental_window() }}
),

pulled_days as (
    select distinct
        export,
        -- An empty delivery names nothing of its own, but the one that its path speaks for.
        coalesce(row_subject_id, speaks_for, subject_id) as subject_id,
        unnest(generate_series(start_date, end_date, interval 1 day))::date as report_date,
        pulled_at::date as pulled_on
    from deliveries
),

-- The days on which a settled day was pulled while it was provisional. The day after report_date is day 0; what is
-- pulled from day 7 on is settled.
ages as (
    select
        pulled_days.export,
        pulled_days.subject_id,
        pulled_days.report_date,
        (pulled_days.pulled_on - pulled_days.report_date - 1)::integer as days_after_close,
        (pulled_days.pulled_on + 1)::timestamp as moment
    from pulled_days
    inner join status
        on pulled_days.export = status.export
        and pulled_days.subject_id = status.subject_id
        and pulled_days.report_date = status.report_date
    where
        status.is_settled
        and pulled_days.pulled_on - pulled_days.report_date - 1 between 0 and {{ var('settled_after_days') }} - 2
),

versions as (
    {% for export, of in exports.items() %}
    select
        {{ settling_columns(export, of) }}
        _valid_from,
        null::timestamp as _valid_until
    from {{ ref('stg_' ~ export) }}
    {{ incremental_window() }}

    union all

    select
        {{ settling_columns(export, of) }}
        _valid_from,
        _valid_until
    from {{ ref('stg_' ~ export ~ '_history') }}
    {{ incremental_window() }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

versions_then as (
    select
        versions.*,
        ages.days_after_close,
        versions._valid_until is null as is_current,
        versions._valid_from < ages.moment
        and (versions._valid_until is null or versions._valid_until >= ages.moment) as was_believed
    from ages
    inner join versions
        on ages.export = versions.export
        and ages.subject_id = versions.subject_id
        and ages.report_date = versions.report_date
),

final as (
    select
        -- keys
        {{ settling_keys() }}
        rows.days_after_close,

        -- measures; null is "not reported", and what was there on one side only counts 0 on the other. Case, and not
        -- filter: of so many sums DuckDB makes them in two thirds of the time.
        {%- for name in measures %}
        case when count({{ name }}) > 0
            then try_cast(coalesce(sum(case when was_believed then {{ name }} end), 0) as decimal(18, 6))
        end as {{ name }}_then,
        case when count({{ name }}) > 0
            then try_cast(coalesce(sum(case when is_current then {{ name }} end), 0) as decimal(18, 6))
        end as {{ name }}_settled{{ ',' if not loop.last }}
        {%- endfor %}
    from versions_then as rows
    inner join {{ settling_grains() }} on rows.export = grains.export
    where rows.was_believed or rows.is_current
    group by all
    -- Beside a row that did not exist yet no estimate could have stood.
    having bool_or(was_believed)
)

select * from final
