-- The sums of an account's day in a country are those of the export.
{{
    reconciles(
        ref('new_listeners_country_daily'),
        ref('stg_campaign_engagement_daily'),
        by=['account_id', 'country_code', 'report_date'],
        measures=['new_listeners', 'returning_listeners', 'new_listener_streams', 'returning_listener_streams'],
    )
}}
