with country_days as (
    select * from {{ ref('country_daily') }}
),

countries as (
    select
        account_id,
        country_code,
        currency,
        max(country) as country,
        max_by(currency_account, report_date) as currency_account,
        min(report_date) as first_report_date,
        max(report_date) as last_report_date,

        count(*) as days,
        count(*) filter (where is_settled) as days_settled,
        sum(impressions)::bigint as impressions,
        sum(ad_clicks)::bigint as ad_clicks,
        sum(link_clicks)::bigint as link_clicks,
        sum(streams)::bigint as streams,
        sum(listeners)::bigint as listener_days,
        sum(followers)::bigint as followers,
        sum(spend_media)::decimal(18, 6) as spend_media,
        sum(spend_total)::decimal(18, 6) as spend_total,
        sum(fees)::decimal(18, 6) as fees,

        -- of the rows in which both sides of a ratio are known
        sum(spend_media_with_link_clicks)::decimal(18, 6) as spend_media_with_link_clicks,
        sum(link_clicks_with_impressions)::bigint as link_clicks_with_impressions,
        sum(impressions_with_link_clicks)::bigint as impressions_with_link_clicks,
        sum(ad_clicks_with_impressions)::bigint as ad_clicks_with_impressions,
        sum(impressions_with_ad_clicks)::bigint as impressions_with_ad_clicks,

        bool_and(is_settled) as is_settled
    from country_days
    group by account_id, country_code, currency
),

final as (
    select
        -- keys
        account_id,
        country_code,
        currency,

        -- attributes
        country,
        currency_account,
        first_report_date,
        last_report_date,

        -- measures
        days,
        days_settled,
        impressions,
        ad_clicks,
        link_clicks,
        streams,
        listener_days,
        followers,
        spend_media,
        spend_total,
        fees,

        -- of the rows in which both sides of a ratio are known: what to add up for a ratio of other rows
        spend_media_with_link_clicks,
        link_clicks_with_impressions,
        impressions_with_link_clicks,
        ad_clicks_with_impressions,
        impressions_with_ad_clicks,

        -- ratios of the sums; with nothing to divide by, 0 or null as in the export
        coalesce(streams / nullif(listener_days, 0), 0) as streams_per_listener,
        coalesce(spend_media / nullif(listener_days, 0), 0) as cpl,
        coalesce(spend_media / nullif(followers, 0), 0) as cpf,
        spend_media_with_link_clicks / nullif(link_clicks, 0) as cpc_linkclick,
        link_clicks_with_impressions / nullif(impressions_with_link_clicks, 0) as ctr_linkclick,
        ad_clicks_with_impressions / nullif(impressions_with_ad_clicks, 0) as ctr_adclick,

        -- place among the account's countries; amounts compare within one currency only
        spend_total / nullif(sum(spend_total) over in_currency, 0) as spend_share,
        listener_days / nullif(sum(listener_days) over in_currency, 0) as listener_share,
        rank() over (in_currency order by spend_total desc) as spend_rank,
        rank() over (in_currency order by listener_days desc) as listener_rank,

        -- status
        is_settled
    from countries
    window in_currency as (partition by account_id, currency)
)

select * from final
