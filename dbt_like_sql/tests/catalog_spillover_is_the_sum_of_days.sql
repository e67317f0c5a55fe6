-- The weeks of a track campaign leave out nothing of its catalog listening, and count nothing twice.
with weeks as (
    select
        campaign_id,
        sum(promoted_new_listeners + other_new_listeners) as new_listeners,
        sum(promoted_streams + other_streams) as streams
    from {{ ref('catalog_spillover') }}
    group by campaign_id
),

daily as (
    select
        campaign_id,
        sum(new_listeners) as new_listeners,
        sum(streams) as streams
    from {{ ref('track_engagement_daily') }}
    where engagement_context = 'catalog' and campaign_target_type = 'track'
    group by campaign_id
)

{{ differences('weeks', 'daily') }}
