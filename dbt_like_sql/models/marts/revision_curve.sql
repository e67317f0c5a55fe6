-- A view, for it reads every version of the days it is about: nobody pays for it but who asks.
-- It reads tables and no views of staging: EXPORT DATABASE writes views by schema and name, and IMPORT DATABASE makes them
-- in that order, so a view here is made before those.
{{ config(materialized='view') }}

{% set measures = {
    'campaign_country_daily': ['impressions', 'link_clicks', 'streams', 'listeners', 'followers', 'spend_total'],
    'campaign_engagement_daily': ['new_listeners', 'listeners', 'streams'],
    'soundlink_country_daily': ['views', 'link_clicks', 'streams', 'listeners', 'followers'],
    'soundlink_engagement_daily': ['new_listeners', 'listeners', 'streams'],
} %}
-- Of which the values are money: they have a row for each currency.
{% set money = ['spend_total'] %}
{% set id_of = {
    'campaign_country_daily': 'campaign_id',
    'campaign_engagement_daily': 'campaign_id',
    'soundlink_country_daily': 'soundlink_id',
    'soundlink_engagement_daily': 'soundlink_id',
} %}
{% set currency_of = {'campaign_country_daily': 'currency'} %}

with deliveries as (
    select * from {{ source('soundlink', 'deliveries') }}
),

-- By account, which stg_report_date_status puts together.
status as (
    select * from {{ source('soundlink', 'report_date_status') }}
),

-- An empty delivery names nothing of its own: what its path delivered before or after tells.
subjects_of_paths as (
    select
        export,
        account,
        subject_id,
        max(row_subject_id) as row_subject_id
    from deliveries
    group by export, account, subject_id
),

pulled_days as (
    select
        deliveries.export,
        coalesce(subjects_of_paths.row_subject_id, deliveries.subject_id) as subject_id,
        unnest(generate_series(deliveries.start_date, deliveries.end_date, interval 1 day))::date as report_date,
        deliveries.pulled_at
    from deliveries
    inner join subjects_of_paths
        on deliveries.export = subjects_of_paths.export
        and deliveries.account = subjects_of_paths.account
        and deliveries.subject_id = subjects_of_paths.subject_id
),

first_pulls as (
    select
        export,
        subject_id,
        report_date,
        min(pulled_at) as first_pulled_at
    from pulled_days
    group by export, subject_id, report_date
),

-- The newest of each account's own. Where two accounts have pulled one subject, its days count once.
settled_days as (
    select distinct
        export,
        subject_id,
        report_date
    from (
        select
            export,
            coalesce(row_subject_id, subject_id) as subject_id,
            report_date,
            max(report_date) over (partition by account, export) as newest_date
        from status
        where is_settled
    )
    where report_date > newest_date - {{ var('revision_window_days', 90) }}
),

-- The day closes at report_date + 1; day k after that ends at report_date + 2 + k.
moments as (
    select
        settled_days.export,
        settled_days.subject_id,
        settled_days.report_date,
        k.days_after_close,
        (settled_days.report_date + 2 + k.days_after_close)::timestamp as moment
    from settled_days
    inner join first_pulls
        on settled_days.export = first_pulls.export
        and settled_days.subject_id = first_pulls.subject_id
        and settled_days.report_date = first_pulls.report_date
    cross join (select unnest([0, 1, 2, 3, 4, 5, 6, 7]) as days_after_close) as k
    -- Only days that were pulled by the end of day 0, at every k: so all rows of a measure are about the same days, and
    -- one may be compared with another. A day that was first pulled later, as in a backfill, tells of no k.
    where first_pulls.first_pulled_at < settled_days.report_date + 2
),

{% for export, names in measures.items() %}
{{ export }}_versions as (
    select account_id, {{ id_of[export] }} as subject_id, report_date, {{ currency_of.get(export, 'null::varchar') }} as currency, {{ 'currency_account' if export in currency_of else 'null::varchar as currency_account' }}, _valid_from, null::timestamp as _valid_until, {{ names | join(', ') }}
    from {{ source('soundlink', export) }}

    union all

    select account_id, {{ id_of[export] }} as subject_id, report_date, {{ currency_of.get(export, 'null::varchar') }} as currency, {{ 'currency_account' if export in currency_of else 'null::varchar as currency_account' }}, _valid_from, _valid_until, {{ names | join(', ') }}
    from {{ source('soundlink', export ~ '_history') }}
),

-- Of each measure what was believed at the moment, and what the current version says.
{{ export }}_sums as (
    select
        versions.account_id,
        moments.export,
        moments.report_date,
        moments.days_after_close,
        versions.currency,
        max_by(versions.currency_account, versions._valid_from) as currency_account,
        {% for name in names %}
        sum(versions.{{ name }}) filter (
            where versions._valid_from < moments.moment
            and (versions._valid_until is null or versions._valid_until >= moments.moment)
        ) as {{ name }}_then,
        sum(versions.{{ name }}) filter (where versions._valid_until is null) as {{ name }}_settled{{ ',' if not loop.last }}
        {% endfor %}
    from moments
    inner join {{ export }}_versions as versions
        on moments.export = '{{ export }}'
        and moments.subject_id = versions.subject_id
        and moments.report_date = versions.report_date
    group by versions.account_id, moments.export, moments.report_date, moments.days_after_close, versions.currency
),
{% endfor %}

day_values as (
    {% for export, names in measures.items() %}
    {% for name in names %}
    select
        account_id,
        export,
        '{{ name }}' as measure,
        {{ 'currency' if name in money else 'null::varchar' }} as currency,
        max({{ 'currency_account' if name in money else 'null::varchar' }}) as currency_account,
        report_date,
        days_after_close,
        coalesce(sum({{ name }}_then), 0)::decimal(38, 6) as value_then,
        coalesce(sum({{ name }}_settled), 0)::decimal(38, 6) as value_settled
    from {{ export }}_sums
    group by all
    {{ 'union all' if not loop.last }}
    {% endfor %}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

final as (
    select
        -- keys
        account_id,
        export,
        measure,
        currency,
        days_after_close,

        -- attribute: that of the newest day
        max_by(currency_account, report_date) as currency_account,

        -- measures; a sum of 10^12 or more fits no column of a mart, and its shares are there all the same
        count(*) as report_dates,
        try_cast(sum(value_then) as decimal(18, 6)) as value_then,
        try_cast(sum(value_settled) as decimal(18, 6)) as value_settled,

        -- ratios
        (sum(value_settled) - sum(value_then)) / nullif(sum(value_settled), 0) as shortfall_share,
        max((value_settled - value_then) / nullif(value_settled, 0)) as worst_shortfall_share
    from day_values
    group by account_id, export, measure, currency, days_after_close
)

select * from final
