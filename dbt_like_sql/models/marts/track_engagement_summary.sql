{{ track_totals('campaign', ref('track_engagement_daily')) }}
