-- What provisional values will have been. A table made anew by each build, for all of it changes with every settled day;
-- it has rows of provisional days alone.
{% set measures = settling_measures() %}
{% set exports = settling_exports() %}

with status as (
    select * from {{ ref('stg_report_date_status') }}
),

provisional_days as (
    select distinct
        export,
        report_date
    from status
    where not is_settled
),

factors as (
    select * from {{ ref('settling_factors') }}
    where report_dates >= {{ var('settling_min_days', 14) }}
),

export_rows as (
    {% for export, of in exports.items() %}
    select
        {{ settling_columns(export, of) }}
    from {{ ref('stg_' ~ export) }}
    where report_date in (select report_date from provisional_days where export = '{{ export }}')
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

rows_with_status as (
    select
        export_rows.*,
        status.last_pulled_at::date - export_rows.report_date - 1 as days_after_close,
        coalesce(status.is_settled, false) as is_settled
    from export_rows
    left join status
        on export_rows.export = status.export
        and export_rows.subject_id = status.subject_id
        and export_rows.report_date = status.report_date
),

provisional as (
    select
        {{ settling_keys() }}
        -- What was pulled on different days has no age of its own.
        case when min(rows.days_after_close) = max(rows.days_after_close) and not bool_or(rows.is_settled)
            then min(rows.days_after_close)::integer
        end as days_after_close,
        {%- for name in measures %}
        sum(rows.{{ name }}) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from rows_with_status as rows
    inner join {{ settling_grains() }} on rows.export = grains.export
    group by all
    having not bool_and(rows.is_settled)
),

measured as (
    select
        * exclude ({{ measures | join(', ') }}),
        -- A value of 10^12 or more has no estimate, as it fits no column of a mart.
        unnest([
            {%- for name in measures %}
            struct_pack(measure := '{{ name }}', value_now := try_cast({{ name }} as decimal(18, 6))){{ ',' if not loop.last }}
            {%- endfor %}
        ]) as of
    from provisional
),

provisional_values as (
    select
        * exclude (of),
        of.measure,
        of.value_now
    from measured
    where of.value_now is not null
),

estimates as (
    select
        provisional_values.*,
        factors.report_dates,
        -- Of nothing there is no share: there the factor is the settled value itself.
        case when value_now > 0 then value_now::double else 1 end as unit,
        case when value_now > 0 then 0 else value_now::double end as base,
        base + unit * factors.median_factor as median,
        base + unit * factors.low_factor as low,
        base + unit * factors.high_factor as high,
        -- Of counts whole numbers; the ends go inwards, so that they hold as many values as before.
        provisional_values.measure = 'spend_total' as is_money
    from provisional_values
    left join factors
        on provisional_values.account_id = factors.account_id
        and provisional_values.export = factors.export
        and provisional_values.grain = factors.grain
        and provisional_values.measure = factors.measure
        and provisional_values.currency is not distinct from factors.currency
        and provisional_values.days_after_close = factors.days_after_close
        and {{ values_from('provisional_values.value_now', 'provisional_values.grain') }} = factors.values_from
),

final as (
    select
        -- keys
        account_id,
        export,
        grain,
        subject_id,
        country_code,
        engagement_context,
        engaged_spotify_track_id,
        currency,
        report_date,
        measure,

        -- measures
        days_after_close,
        value_now,
        try_cast(case when is_money then median else round(median) end as decimal(18, 6)) as settled_estimate,
        try_cast(case when is_money then low else least(ceil(round(low, 9)), round(median)) end as decimal(18, 6)) as settled_low,
        try_cast(case when is_money then high else greatest(floor(round(high, 9)), round(median)) end as decimal(18, 6)) as settled_high,
        report_dates
    from estimates
)

select * from final
