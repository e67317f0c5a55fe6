-- Which share of a campaign's listener-days were new listeners, week by week since its start; final whole weeks alone.
select week_since_start, campaign_name as campaign, new_share
from marts.cohort
where is_settled and is_complete and week_since_start >= 0 and new_share is not null
