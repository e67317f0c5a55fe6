-- The shares of all countries of an account's day, in one currency, make a whole (or are all null).
select
    account_id,
    report_date,
    currency,
    sum(spend_share) as spend_share,
    sum(listener_share) as listener_share
from {{ ref('country_daily') }}
where {{ within_window() }}
group by account_id, report_date, currency
having abs(sum(spend_share) - 1) > 1e-9 or abs(sum(listener_share) - 1) > 1e-9
