{# The columns of stg_campaign_country_daily, with which those of stg_campaign_country_daily_history begin. #}
{% macro campaign_country_daily_columns() -%}
        -- keys
        provider,
        account_id,
        report_date,
        campaign_id,
        country_code,

        -- attributes
        schema_version,
        report_date_timezone,
        exported_at,
        campaign_name,
        campaign_target_type,
        campaign_target_isrc,
        campaign_target_spotify_track_id,
        campaign_target_playlist_id,
        currency,
        currency_account,
        result_type,

        -- measures
        impressions,
        ad_clicks,
        link_clicks,
        streams,
        listeners,
        followers,
        new_listeners,
        returning_listeners,
        spend_media,
        spend_total,
        fees,

        -- ratios, rounded by Soundlink: recompute them from the measures when aggregating
        streams_per_listener,
        cpl,
        cpf,
        cpc_linkclick,
        ctr_linkclick,
        ctr_adclick,
        cost_per_result,

        -- version
        _pulled_at,
        _valid_from,
        _delivery_id,
        _unknown_fields
{%- endmacro %}


{# The columns of stg_campaign_engagement_daily, with which those of stg_campaign_engagement_daily_history begin. #}
{% macro campaign_engagement_daily_columns() -%}
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
        _unknown_fields
{%- endmacro %}


{# The columns of stg_soundlink_country_daily, with which those of stg_soundlink_country_daily_history begin. #}
{% macro soundlink_country_daily_columns() -%}
        -- keys
        provider,
        account_id,
        report_date,
        soundlink_id,
        country_code,

        -- attributes
        schema_version,
        report_date_timezone,
        exported_at,
        soundlink_name,
        soundlink_target_type,
        soundlink_target_isrc,
        soundlink_target_spotify_track_id,
        soundlink_target_playlist_id,

        -- measures
        views,
        link_clicks,
        streams,
        listeners,
        followers,
        new_listeners,
        returning_listeners,
        new_listener_streams,
        returning_listener_streams,
        spotify_link_clicks,
        apple_music_link_clicks,
        youtube_music_link_clicks,

        -- ratios, rounded by Soundlink: recompute them from the measures when aggregating
        streams_per_listener,
        ctr_lp,

        -- version
        _pulled_at,
        _valid_from,
        _delivery_id,
        _unknown_fields
{%- endmacro %}


{# The columns of stg_soundlink_engagement_daily, with which those of stg_soundlink_engagement_daily_history begin. #}
{% macro soundlink_engagement_daily_columns() -%}
        -- keys
        provider,
        account_id,
        report_date,
        soundlink_id,
        engagement_context,
        country_code,
        engaged_spotify_track_id,

        -- attributes
        schema_version,
        report_date_timezone,
        exported_at,
        soundlink_name,
        soundlink_target_type,
        soundlink_target_isrc,
        soundlink_target_spotify_track_id,
        soundlink_target_playlist_id,
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
        _unknown_fields
{%- endmacro %}
