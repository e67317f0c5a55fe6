-- A country's weeks are the sums of its days: all weeks together leave out nothing and count nothing twice.
{{ weeks_are_the_sum_of_days(ref('country_weekly'), ref('country_daily'), 'account_id, country_code') }}
