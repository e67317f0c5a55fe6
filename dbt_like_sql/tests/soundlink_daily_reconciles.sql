-- The sums of a day are those of the export.
{{
    reconciles(
        ref('soundlink_daily'),
        ref('stg_soundlink_country_daily'),
        by=['report_date'],
        measures=[
            'views', 'link_clicks', 'spotify_link_clicks', 'apple_music_link_clicks', 'youtube_music_link_clicks',
            'streams', 'listeners', 'followers', 'new_listeners', 'returning_listeners',
            'new_listener_streams', 'returning_listener_streams',
        ],
        of_known={'views_with_link_clicks': ('views', 'link_clicks')},
    )
}}
