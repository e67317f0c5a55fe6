with source as (
    select * from {{ source('soundlink', 'soundlinks') }}
),

final as (
    select
        -- keys
        account,
        soundlink_id,
        row_soundlink_id,

        -- attributes
        organization_id,
        name,
        url,
        target_type,
        spotify_url,
        auto_follow,
        artist_id_follow,
        meta_pixel_id,
        tiktok_pixel_id,
        apple_music_url,
        youtube_music_url,
        created_at,

        -- status
        status,
        created_at::date as may_have_rows_from,
        -- nothing tells an end: after this day rows are expected for as long as they come
        created_at::date + {{ var('soundlink_first_days') }} as may_have_rows_until,
        _listed_at = max(_listed_at) over (partition by account) and {{ is_expected_account() }} as is_listed,
        _listed_at,
        _run_id
    from source
)

select * from final
