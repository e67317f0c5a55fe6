-- Each country in the newest whole week (Monday to Sunday).
select
    w.country,
    w.currency,
    strftime(w.week_start_date, '%-d %b') as week_from,
    w.spend_total::decimal(18, 3) as spend,
    w.followers,
    w.followers_before,
    w.cost_per_follower,
    w.streams,
    case when not w.is_complete then 'incomplete' when w.is_settled then 'final' else 'provisional' end as state,
    coalesce(
        (select any_value(a.name) from accounts as a where list_contains(a.organization_ids, w.account_id)),
        w.account_id
    ) as account
from marts.country_weekly as w cross join publication as p
where w.week_end_date <= p.newest_report_date
qualify w.week_start_date = max(w.week_start_date) over ()
