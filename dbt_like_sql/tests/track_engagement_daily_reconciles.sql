-- The sums of a day are those of the export.
with mart as (
    select
        report_date,
        sum(new_listeners) as new_listeners,
        sum(returning_listeners) as returning_listeners,
        sum(listeners) as listeners,
        sum(new_listener_streams) as new_listener_streams,
        sum(returning_listener_streams) as returning_listener_streams,
        sum(streams) as streams
    from {{ ref('track_engagement_daily') }}
    where report_date between date '{{ var("start_date") }}' and date '{{ var("end_date") }}'
    group by report_date
),

raw as (
    select
        report_date,
        sum(new_listeners) as new_listeners,
        sum(returning_listeners) as returning_listeners,
        sum(listeners) as listeners,
        sum(new_listener_streams) as new_listener_streams,
        sum(returning_listener_streams) as returning_listener_streams,
        sum(streams) as streams
    from {{ ref('stg_campaign_engagement_daily') }}
    where report_date between date '{{ var("start_date") }}' and date '{{ var("end_date") }}'
    group by report_date
)

-- the rows of one side that the other has not: a difference shows as two
(select 'mart' as side, * from mart except select 'mart', * from raw)
union all
(select 'raw' as side, * from raw except select 'raw', * from mart)
