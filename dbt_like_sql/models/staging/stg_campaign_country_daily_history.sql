with source as (
    select * from {{ source('soundlink', 'campaign_country_daily_history') }}
),

final as (
    select
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
        _valid_until,
        _last_seen_delivery_id,
        _replaced_by_delivery_id,
        _vanished
    from source
)

select * from final
