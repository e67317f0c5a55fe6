-- The sums of a day are those of the export.
{{
    reconciles(
        ref('track_engagement_daily'),
        ref('stg_campaign_engagement_daily'),
        by=['report_date'],
        measures=[
            'new_listeners', 'returning_listeners', 'listeners',
            'new_listener_streams', 'returning_listener_streams', 'streams',
        ],
    )
}}
