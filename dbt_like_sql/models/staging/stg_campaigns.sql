with source as (
    select * from {{ source('soundlink', 'campaigns') }}
),

ends as (
    select
        *,
        -- greatest() passes over nulls: with either of the two unknown, so is the end.
        case
            when status in ('ended', 'stopped')
                and updated_at is not null
                and campaign_duration between 0 and 99999
                then greatest(updated_at, created_at + to_days(campaign_duration::integer))
        end as ended_at
    from source
),

final as (
    select
        -- key
        campaign_id,

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
        created_at,
        updated_at,

        -- measures
        daily_budget,
        total_budget,

        -- status
        created_at::date as may_have_rows_from,
        -- engagement goes on after the end, and the last day of it is revised until it is final
        (
            case
                when created_at is not null
                    then ended_at + interval {{ var('engagement_tail_days') + var('settled_after_days') }} days
            end
        )::date as may_have_rows_until,
        _listed_at = max(_listed_at) over () as is_listed,
        _listed_at,
        _run_id
    from ends
)

select * from final
