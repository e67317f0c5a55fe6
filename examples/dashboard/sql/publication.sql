-- Which file this is, and which days are shown: one row.
select
    strftime(newest_report_date - 6, '%Y-%m-%d') || ' to ' || strftime(newest_report_date, '%Y-%m-%d') as this_week,
    strftime(newest_report_date - 13, '%Y-%m-%d') || ' to ' || strftime(newest_report_date - 7, '%Y-%m-%d')
        as week_before,
    strftime(newest_settled_date, '%Y-%m-%d') as final_up_to,
    strftime(published_at, '%Y-%m-%d %H:%M') || ' UTC' as published
from publication
