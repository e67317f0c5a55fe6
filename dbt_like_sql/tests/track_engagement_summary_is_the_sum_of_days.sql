-- A track's totals are the sums of its days.
{{ tracks_are_the_sum_of_days(ref('track_engagement_summary'), ref('track_engagement_daily'), 'campaign_id') }}
