-- The sums of a day are those of the export.
{{ tracks_reconcile(ref('track_engagement_daily'), ref('stg_campaign_engagement_daily')) }}
