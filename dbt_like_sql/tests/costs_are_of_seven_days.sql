-- A row of costs is made of the day and the six before it, of the same campaign and currency.
with costs as (
    select
        campaign_id,
        report_date,
        currency,
        days_7d,
        spend_media_7d,
        spend_total_7d,
        followers_7d,
        listener_days_7d,
        streams_7d,
        link_clicks_7d
    from {{ ref('costs') }}
    where {{ within_window() }}
),

-- Each day is in the sums of the seven days that it is one of; most of these have a row of their own.
shifted as (
    select
        *,
        unnest(generate_series(report_date, report_date + 6, interval 1 day))::date as of_date
    from {{ ref('campaign_daily') }}
    where report_date between date '{{ var("start_date") }}' - 6 and date '{{ var("end_date") }}'
),

days as (
    select
        campaign_id,
        of_date as report_date,
        currency,
        count(*) as days_7d,
        sum(spend_media) as spend_media_7d,
        sum(spend_total) as spend_total_7d,
        sum(followers) as followers_7d,
        sum(listeners) as listener_days_7d,
        sum(streams) as streams_7d,
        sum(link_clicks) as link_clicks_7d
    from shifted
    group by campaign_id, of_date, currency
    having count(*) filter (where of_date = report_date) > 0
),

daily as (
    select * from days
    where {{ within_window() }}
)

{{ differences('costs', 'daily') }}
