-- Every row in the tables is of a day that the ledger knows.
with rows_per_day as (
    select
        'campaign_country_daily' as export,
        report_date
    from {{ ref('stg_campaign_country_daily') }}
    where {{ within_window() }}

    union

    select
        'campaign_engagement_daily' as export,
        report_date
    from {{ ref('stg_campaign_engagement_daily') }}
    where {{ within_window() }}
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
where {{ within_window() }}
