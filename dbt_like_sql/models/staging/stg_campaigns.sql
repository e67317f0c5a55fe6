with source as (
    select * from {{ source('soundlink', 'campaigns') }}
),

ends as (
    select
        *,
        -- greatest() passes over nulls: with either of the two unknown, so is the end.
        case
            when status in ('ended', 'stopped', 'completed', 'failed', 'restart_failed', 'renew_failed', 'creating')
                and created_at is not null
                and updated_at is not null
                and campaign_duration between 0 and 99999
                then greatest(updated_at, created_at + to_days(campaign_duration::integer))::date
        end as ends_on
    from source
),

final as (
    select
        -- keys
        account,
        campaign_id,
        row_campaign_id,

        -- attributes
        organization_id,
        status,
        social_platform,
        campaign_duration,
        generation,
        artist_id,
        artist_name,
        track_id,
        playlist_id,
        track_name,
        campaign_url,
        strategy_type,
        auto_renew,
        created_at,
        updated_at,

        -- measures
        daily_budget,
        total_budget,

        -- status
        created_at::date as may_have_rows_from,
        -- before the ads run there is no click to attribute anything to
        case
            when status = 'creating' then created_at::date - 1
            else ends_on + {{ var('attribution_days') }}
        end as country_rows_until,
        ends_on + {{ var('engagement_tail_days') }} as may_have_rows_until,
        _listed_at = max(_listed_at) over (partition by account) and {{ is_expected_account() }} as is_listed,
        _listed_at,
        _run_id
    from ends
)

select * from final
