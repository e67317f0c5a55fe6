-- The sums of a day are those of the export.
{{ tracks_reconcile(ref('soundlink_track_daily'), ref('stg_soundlink_engagement_daily')) }}
