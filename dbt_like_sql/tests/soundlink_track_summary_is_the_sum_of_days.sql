-- A track's totals are the sums of its days.
{{ tracks_are_the_sum_of_days(ref('soundlink_track_summary'), ref('soundlink_track_daily'), 'soundlink_id') }}
