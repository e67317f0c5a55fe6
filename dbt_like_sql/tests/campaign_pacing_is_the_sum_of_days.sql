-- What was spent to date on a campaign's last day is all that it has spent, and so is the sum of the days.
with pacing as (
    select
        campaign_id,
        currency,
        sum(spend_media) as spend_media,
        sum(spend_total) as spend_total,
        max_by(spend_media_to_date, report_date) as spend_media_to_date,
        max_by(spend_total_to_date, report_date) as spend_total_to_date
    from {{ ref('campaign_pacing') }}
    group by campaign_id, currency
),

daily as (
    select
        campaign_id,
        currency,
        sum(spend_media) as spend_media,
        sum(spend_total) as spend_total,
        sum(spend_media) as spend_media_to_date,
        sum(spend_total) as spend_total_to_date
    from {{ ref('campaign_daily') }}
    group by campaign_id, currency
)

{{ differences('pacing', 'daily') }}
