-- A campaign's weeks are the sums of its days: all weeks together leave out nothing and count nothing twice.
{{ weeks_are_the_sum_of_days(ref('campaign_weekly'), ref('campaign_daily'), 'campaign_id') }}
