-- What the mart says of a track's month is what the statements' Spotify rows say, for each campaign, to the last unit.
with mart as (
    select distinct
        isrc,
        sale_month,
        currency,
        statement_streams as streams,
        statement_revenue as revenue
    from {{ ref('campaign_return') }}
),

raw as (
    select
        isrc,
        sale_month,
        currency,
        sum(streams)::bigint as streams,
        sum(revenue)::decimal(18, 6) as revenue
    from {{ ref('stg_distributor_statements') }}
    where lower(store) = 'spotify' and isrc in (select isrc from {{ ref('campaign_return') }})
    group by isrc, sale_month, currency
)

{{ differences('mart', 'raw') }}
