with source as (
    select * from {{ source('soundlink', 'campaign_engagement_daily') }}
),

final as (
    select
        {{ campaign_engagement_daily_columns() }}
    from source
)

select * from final
