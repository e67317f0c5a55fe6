-- By how much the values of the last settled days still grew, from each day after their close on.
{% set measures = settling_measures() %}
{# The share of values that a range is to hold, and pairs of percentiles by the share outside on either side, the widest first. #}
{% set to_hold = 0.8 %}
{% set tails = [0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3] %}

with settling_days as (
    select
        *,
        max(report_date) over (partition by account_id, export) as newest_date
    from {{ ref('settling_days') }}
),

recent as (
    select * from settling_days
    where report_date > newest_date - {{ var('revision_window_days', 90) }}
),

measured as (
    select
        account_id,
        export,
        grain,
        currency,
        days_after_close,
        report_date,
        unnest([
            {%- for name in measures %}
            struct_pack(measure := '{{ name }}', value_then := {{ name }}_then::double, value_settled := {{ name }}_settled::double){{ ',' if not loop.last }}
            {%- endfor %}
        ]) as of
    from recent
),

day_values as (
    select
        * exclude (of),
        of.measure,
        of.value_then,
        of.value_settled
    from measured
    where of.value_then is not null
        and of.value_settled is not null
),

factors as (
    select
        account_id,
        export,
        grain,
        measure,
        currency,
        days_after_close,
        {{ values_from('value_then', 'grain') }} as values_from,
        report_date,
        -- Of nothing there is no share: there the settled value itself is what is learned.
        case when value_then > 0 then value_settled / value_then else value_settled - value_then end as factor
    from day_values
),

learned as (
    select
        account_id,
        export,
        grain,
        measure,
        currency,
        days_after_close,
        values_from,
        count(distinct report_date) as report_dates,
        count(*) as values_compared,
        list(factor order by factor) as factors
    from factors
    group by all
),

-- The tenth and the ninetieth percentile, and narrower pairs.
ends as (
    select
        learned.*,
        tails.tail,
        {{ expected_quantile('factors', 'tails.tail') }} as low_factor,
        {{ expected_quantile('factors', '(1 - tails.tail)') }} as high_factor
    from learned
    cross join (select unnest({{ tails }}) as tail) as tails
),

-- The share of new values that each pair holds: what is between percentiles, or where values are alike what lies on the
-- ends, too. One of the list counts as the one to come. The list is sorted, so that places tell how many lie between.
ranges as (
    select
        *,
        greatest(
            1 - 2 * tail,
            (
                coalesce(
                    values_compared + 1 - list_position(list_reverse(factors), high_factor),
                    floor({{ expected_place('factors', '(1 - tail)') }})
                )
                - coalesce(
                    list_position(factors, low_factor) - 1,
                    floor({{ expected_place('factors', 'tail') }})
                )
                - 1
            ) / (values_compared + 1)
        ) as held_share
    from ends
),

-- Many values are alike where counts are small, and an end that falls on such a value takes all of them in: the tenth and
-- the ninetieth percentile would hold nine in ten. So it is the narrowest of the pairs that come nearest to four in five.
nearest as (
    select *
    from ranges
    qualify row_number() over (
        partition by account_id, export, grain, measure, currency, days_after_close, values_from
        order by round(abs(held_share - {{ to_hold }}), 9), high_factor - low_factor, tail
    ) = 1
),

final as (
    select
        -- keys
        account_id,
        export,
        grain,
        measure,
        currency,
        days_after_close,
        values_from,

        -- measures
        report_dates,
        values_compared,

        -- ratios
        {{ expected_quantile('factors', 0.5) }} as median_factor,
        low_factor,
        high_factor
    from nearest
)

select * from final
