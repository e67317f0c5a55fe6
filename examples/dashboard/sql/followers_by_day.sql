-- Followers of all campaigns, day by day: they have no currency, so those of all currencies may be added up.
select
    d.report_date::timestamp as day,
    case when bool_and(d.is_settled) then 'final' else 'provisional' end
    || case when (select count(*) from accounts) > 1 then ': ' || coalesce(
        (select any_value(a.name) from accounts as a where list_contains(a.organization_ids, d.account_id)),
        d.account_id
    ) else '' end as series,
    sum(d.followers)::bigint as followers
from marts.campaign_daily as d cross join publication as p
where p.newest_report_date - d.report_date < 28
group by d.report_date, d.account_id
