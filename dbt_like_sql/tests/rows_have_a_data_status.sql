-- Every row in the tables is of a day that the ledger knows, of the account that it was delivered to.
{% set exports = [
    'campaign_country_daily', 'campaign_engagement_daily', 'soundlink_country_daily', 'soundlink_engagement_daily'
] %}

with rows_per_day as (
    {% for export in exports %}
    select
        '{{ export }}' as export,
        report_date,
        _delivery_id
    from {{ ref('stg_' ~ export) }}
    where {{ within_window() }}
    {{ 'union' if not loop.last }}
    {% endfor %}
)

select
    deliveries.account,
    rows_per_day.export,
    rows_per_day.report_date
from rows_per_day
left join {{ source('soundlink', 'deliveries') }} as deliveries
    on rows_per_day._delivery_id = deliveries.delivery_id
except
select
    account,
    export,
    report_date
from {{ ref('data_status') }}
where {{ within_window() }}
