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

campaign_days as (
    select
        campaign_id,
        report_date,
        currency,

        -- All attributes are those of one row, the newest; one by one, max_by would pass over what is null there.
        -- The account is one of them: a campaign may move to another.
        max_by(
            struct_pack(
                account_id := account_id,
                currency_account := currency_account,
                campaign_name := campaign_name,
                campaign_target_type := campaign_target_type,
                campaign_target_spotify_track_id := campaign_target_spotify_track_id,
                campaign_target_playlist_id := campaign_target_playlist_id
            ),
            (exported_at, country_code, account_id)
        ) as newest,

        count(distinct country_code) as countries,
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

        max(exported_at) as exported_at
    from country_rows
    group by campaign_id, report_date, currency
),

final as (
    select
        -- keys
        campaign_days.campaign_id,
        campaign_days.report_date,
        campaign_days.currency,

        -- attributes
        campaign_days.newest.account_id,
        campaign_days.newest.currency_account,
        campaign_days.newest.campaign_name,
        campaign_days.newest.campaign_target_type,
        campaign_days.newest.campaign_target_spotify_track_id,
        campaign_days.newest.campaign_target_playlist_id,

        -- measures
        campaign_days.countries,
        campaign_days.impressions,
        campaign_days.ad_clicks,
        campaign_days.link_clicks,
        campaign_days.streams,
        campaign_days.listeners,
        campaign_days.followers,
        campaign_days.spend_media,
        campaign_days.spend_total,
        campaign_days.fees,

        -- of the rows in which both sides of a ratio are known: what to add up for a ratio of other rows
        campaign_days.spend_media_with_link_clicks,
        campaign_days.spend_total_with_link_clicks,
        campaign_days.link_clicks_with_impressions,
        campaign_days.impressions_with_link_clicks,
        campaign_days.ad_clicks_with_impressions,
        campaign_days.impressions_with_ad_clicks,

        -- ratios of the sums; with nothing to divide by, 0 or null as in the export
        coalesce(campaign_days.streams / nullif(campaign_days.listeners, 0), 0) as streams_per_listener,
        coalesce(campaign_days.spend_media / nullif(campaign_days.listeners, 0), 0) as cpl,
        coalesce(campaign_days.spend_media / nullif(campaign_days.followers, 0), 0) as cpf,
        campaign_days.spend_media_with_link_clicks / nullif(campaign_days.link_clicks, 0) as cpc_linkclick,
        campaign_days.link_clicks_with_impressions / nullif(campaign_days.impressions_with_link_clicks, 0) as ctr_linkclick,
        campaign_days.ad_clicks_with_impressions / nullif(campaign_days.impressions_with_ad_clicks, 0) as ctr_adclick,

        -- status
        campaign_days.exported_at,
        coalesce(status.is_settled, false) as is_settled
    from campaign_days
    left join status
        on status.export = 'campaign_country_daily'
        and campaign_days.campaign_id = status.subject_id
        and campaign_days.report_date = status.report_date
)

select * from final
