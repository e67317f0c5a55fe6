-- Every row in the tables is of a day that the ledger knows.
{% set exports = [
    'campaign_country_daily', 'campaign_engagement_daily', 'soundlink_country_daily', 'soundlink_engagement_daily'
] %}

with rows_per_day as (
    {% for export in exports %}
    select
        '{{ export }}' as export,
        report_date
    from {{ ref('stg_' ~ export) }}
    where {{ within_window() }}
    {{ 'union' if not loop.last }}
    {% endfor %}
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
