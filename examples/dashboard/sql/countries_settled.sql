-- Followers of final days by country, over all campaigns and currencies.
select country, sum(followers)::bigint as followers
from marts.country_daily
where is_settled
group by country
