-- unique_key is the day, for a refresh replaces whole days: a row that is no more goes with its day.
{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='report_date'
    )
}}

with country_rows as (
    select * from {{ ref('stg_campaign_country_daily') }}
    {{ incremental_window() }}
),

status as (
    select * from {{ ref('stg_report_date_status') }}
    {{ incremental_window() }}
),

countries as (
    select * from {{ source('soundlink', 'countries') }}
),

rows_with_status as (
    select
        country_rows.*,
        coalesce(status.is_settled, false) as is_settled
    from country_rows
    left join status
        on status.export = 'campaign_country_daily'
        and country_rows.campaign_id = status.subject_id
        and country_rows.report_date = status.report_date
),

country_days as (
    select
        account_id,
        country_code,
        report_date,
        currency,

        -- that of the newest row: campaigns of an account are billed in one
        max_by(currency_account, (exported_at, campaign_id)) as currency_account,

        count(distinct campaign_id) as campaigns,
        sum(impressions)::bigint as impressions,
        sum(ad_clicks)::bigint as ad_clicks,
        sum(link_clicks)::bigint as link_clicks,
        sum(streams)::bigint as streams,
        sum(listeners)::bigint as listeners,
        sum(followers)::bigint as followers,
        sum(spend_media)::decimal(18, 6) as spend_media,
        sum(spend_total)::decimal(18, 6) as spend_total,
        sum(fees)::decimal(18, 6) as fees,

        -- of the rows in which both sides of a ratio are known
        sum(spend_media) filter (where link_clicks is not null)::decimal(18, 6) as spend_media_with_link_clicks,
        sum(spend_total) filter (where link_clicks is not null)::decimal(18, 6) as spend_total_with_link_clicks,
        sum(link_clicks) filter (where impressions is not null)::bigint as link_clicks_with_impressions,
        sum(impressions) filter (where link_clicks is not null)::bigint as impressions_with_link_clicks,
        sum(ad_clicks) filter (where impressions is not null)::bigint as ad_clicks_with_impressions,
        sum(impressions) filter (where ad_clicks is not null)::bigint as impressions_with_ad_clicks,

        bool_and(is_settled) as is_settled
    from rows_with_status
    group by account_id, country_code, report_date, currency
),

final as (
    select
        -- keys
        country_days.account_id,
        country_days.country_code,
        country_days.report_date,
        country_days.currency,

        -- attributes
        coalesce(countries.country_code, 'unknown (' || country_days.country_code || ')') as country,
        country_days.currency_account,

        -- measures
        campaigns,
        impressions,
        ad_clicks,
        link_clicks,
        streams,
        listeners,
        followers,
        spend_media,
        spend_total,
        fees,

        -- of the rows in which both sides of a ratio are known: what to add up for a ratio of other rows
        spend_media_with_link_clicks,
        spend_total_with_link_clicks,
        link_clicks_with_impressions,
        impressions_with_link_clicks,
        ad_clicks_with_impressions,
        impressions_with_ad_clicks,

        -- ratios of the sums; with nothing to divide by, 0 or null as in the export
        coalesce(streams / nullif(listeners, 0), 0) as streams_per_listener,
        coalesce(spend_media / nullif(listeners, 0), 0) as cpl,
        coalesce(spend_media / nullif(followers, 0), 0) as cpf,
        spend_media_with_link_clicks / nullif(link_clicks, 0) as cpc_linkclick,
        link_clicks_with_impressions / nullif(impressions_with_link_clicks, 0) as ctr_linkclick,
        ad_clicks_with_impressions / nullif(impressions_with_ad_clicks, 0) as ctr_adclick,

        -- place among the account's countries of the day; amounts compare within one currency only
        spend_total / nullif(sum(spend_total) over day_in_currency, 0) as spend_share,
        listeners / nullif(sum(listeners) over day_in_currency, 0) as listener_share,
        rank() over (day_in_currency order by spend_total desc) as spend_rank,
        rank() over (day_in_currency order by listeners desc) as listener_rank,

        -- status
        is_settled
    from country_days
    left join countries on country_days.country_code = countries.country_code
    window day_in_currency as (partition by account_id, report_date, currency)
)

select * from final
