{{ track_totals('soundlink', ref('soundlink_track_daily')) }}
