-- Every row in the tables is of a day that the ledger knows.
with rows_per_day as (
    select
        'campaign_country_daily' as export,
        report_date
    from {{ ref('stg_campaign_country_daily') }}
    where report_date between date '{{ var("start_date") }}' and date '{{ var("end_date") }}'

    union

    select
        'campaign_engagement_daily' as export,
        report_date
    from {{ ref('stg_campaign_engagement_daily') }}
    where report_date between date '{{ var("start_date") }}' and date '{{ var("end_date") }}'
)

select
    export,
    report_date
from rows_per_day
except
select
    export,
    report_date
from {{ ref('data_status') }}
where report_date between date '{{ var("start_date") }}' and date '{{ var("end_date") }}'
