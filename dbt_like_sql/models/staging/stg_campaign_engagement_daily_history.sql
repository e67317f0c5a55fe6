with source as (
    select * from {{ source('soundlink', 'campaign_engagement_daily_history') }}
),

final as (
    select
        -- keys
        provider,
        account_id,
        report_date,
        campaign_id,
        engagement_context,
        country_code,
        engaged_spotify_track_id,

        -- attributes
        schema_version,
        report_date_timezone,
        exported_at,
        campaign_name,
        campaign_target_type,
        campaign_target_isrc,
        campaign_target_spotify_track_id,
        campaign_target_playlist_id,
        status,
        engaged_track_isrc,
        engaged_track_name,
        playlist_position,

        -- measures
        new_listeners,
        returning_listeners,
        listeners,
        new_listener_streams,
        returning_listener_streams,
        streams,

        -- ratios, rounded by Soundlink: recompute them from the measures when aggregating
        spl,

        -- version
        _pulled_at,
        _valid_from,
        _delivery_id,
        _valid_until,
        _last_seen_delivery_id,
        _replaced_by_delivery_id,
        _vanished
    from source
)

select * from final
