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
    {% if is_incremental() %}
    where report_date between date '{{ var("start_date") }}' and date '{{ var("end_date") }}'
    {% endif %}
),

status as (
    select * from {{ ref('stg_report_date_status') }}
    {% if is_incremental() %}
    where report_date between date '{{ var("start_date") }}' and date '{{ var("end_date") }}'
    {% endif %}
),

campaign_days as (
    select
        account_id,
        campaign_id,
        report_date,

        -- The countries of a day agree on these, unless one vanished and its row stayed: the newest row's.
        max_by(campaign_name, (exported_at, country_code)) as campaign_name,
        max_by(campaign_target_type, (exported_at, country_code)) as campaign_target_type,
        max_by(campaign_target_spotify_track_id, (exported_at, country_code)) as campaign_target_spotify_track_id,
        max_by(campaign_target_playlist_id, (exported_at, country_code)) as campaign_target_playlist_id,
        -- A campaign has one currency; the test one_currency_per_campaign fails where it has not.
        min(currency) as currency,

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

        max(exported_at) as exported_at
    from country_rows
    group by account_id, campaign_id, report_date
),

final as (
    select
        -- keys
        campaign_days.account_id,
        campaign_days.campaign_id,
        campaign_days.report_date,

        -- attributes
        campaign_days.campaign_name,
        campaign_days.campaign_target_type,
        campaign_days.campaign_target_spotify_track_id,
        campaign_days.campaign_target_playlist_id,
        campaign_days.currency,

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

        -- ratios of the sums; with nothing to divide by, 0 or null as in the export
        coalesce(campaign_days.streams / nullif(campaign_days.listeners, 0), 0) as streams_per_listener,
        coalesce(campaign_days.spend_media / nullif(campaign_days.listeners, 0), 0) as cpl,
        coalesce(campaign_days.spend_media / nullif(campaign_days.followers, 0), 0) as cpf,
        campaign_days.spend_media / nullif(campaign_days.link_clicks, 0) as cpc_linkclick,
        campaign_days.link_clicks / nullif(campaign_days.impressions, 0) as ctr_linkclick,
        campaign_days.ad_clicks / nullif(campaign_days.impressions, 0) as ctr_adclick,

        -- status
        campaign_days.exported_at,
        coalesce(status.is_settled, false) as is_settled
    from campaign_days
    left join status
        on status.export = 'campaign_country_daily'
        and campaign_days.campaign_id = status.campaign_id
        and campaign_days.report_date = status.report_date
)

select * from final
