with source as (
    select * from {{ source('soundlink', 'soundlink_country_daily') }}
),

final as (
    select
        {{ soundlink_country_daily_columns() }}
    from source
)

select * from final
