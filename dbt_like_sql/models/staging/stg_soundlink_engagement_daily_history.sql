with source as (
    select * from {{ source('soundlink', 'soundlink_engagement_daily_history') }}
),

final as (
    select
        {{ soundlink_engagement_daily_columns() }},

        -- until when it was current, and what took its place
        _valid_until,
        _last_seen_delivery_id,
        _replaced_by_delivery_id,
        _vanished
    from source
)

select * from final
