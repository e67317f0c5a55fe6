with source as (
    select * from {{ source('soundlink', 'soundlink_engagement_daily') }}
),

final as (
    select
        {{ soundlink_engagement_daily_columns() }}
    from source
)

select * from final
