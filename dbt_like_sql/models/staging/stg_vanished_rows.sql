with source as (
    select * from {{ source('soundlink', 'vanished_rows') }}
),

final as (
    select
        -- keys
        export,
        subject_id,
        report_date,
        key,

        -- its last version
        row,
        delivery_id,

        -- when it was there, and when no more
        last_seen_at,
        vanished_at,
        last_seen_delivery_id,
        vanished_delivery_id
    from source
)

select * from final
