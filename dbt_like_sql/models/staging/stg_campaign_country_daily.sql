with source as (
    select * from {{ source('soundlink', 'campaign_country_daily') }}
),

final as (
    select
        {{ campaign_country_daily_columns() }}
    from source
)

select * from final
