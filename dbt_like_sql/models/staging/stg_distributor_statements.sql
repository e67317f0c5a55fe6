with source as (
    select * from {{ source('soundlink', 'distributor_statements') }}
),

final as (
    select
        -- keys
        file,
        row,

        -- attributes
        isrc,
        store,
        sale_month,
        country_code,
        currency,

        -- measures
        streams,
        revenue
    from source
)

select * from final
