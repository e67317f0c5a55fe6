-- fees = spend_total - spend_media. Soundlink rounds each of the three by itself, so a cent per country may differ.
select
    account_id,
    campaign_id,
    report_date,
    spend_media,
    spend_total,
    fees
from {{ ref('campaign_daily') }}
where report_date between date '{{ var("start_date") }}' and date '{{ var("end_date") }}'
    and abs(fees - (spend_total - spend_media)) > 0.01 * countries
