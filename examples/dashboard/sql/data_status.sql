-- How far the last 14 days can be trusted, by export.
select
    s.account,
    s.export,
    s.report_date as day,
    case when not s.is_complete then 'incomplete' when s.is_settled then 'final' else 'provisional' end as state,
    s.rows,
    s.revised_keys as revised,
    s.vanished_keys as vanished,
    strftime(s.last_pulled_at, '%Y-%m-%d %H:%M') as last_pulled_utc
from marts.data_status as s cross join publication as p
where p.newest_report_date - s.report_date < 14
