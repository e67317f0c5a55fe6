-- Built in full: what was spent to date follows from all days before, and the budget from the newest listing.
with campaign_days as (
    select * from {{ ref('campaign_daily') }}
),

summary as (
    select * from {{ ref('campaign_summary') }}
),

-- A budget is the whole campaign's: it says nothing of a part of it that is in another currency. The time of a campaign
-- begins with its spend, in whichever currency; the day on which it was made may be weeks earlier.
campaigns as (
    select
        campaign_id,
        currency,
        first_report_date,
        start_date,
        campaign_duration,
        case when count(*) over of_campaign = 1 then daily_budget end as daily_budget,
        case
            when count(*) over of_campaign = 1
                then coalesce(
                    total_budget,
                    -- what fits no column is no budget, and stops nothing
                    case when campaign_duration between 1 and 99999
                        then try_cast(daily_budget * campaign_duration as decimal(18, 6))
                    end
                )
        end as total_budget,
        count(*) over of_campaign > 1 as has_several_currencies,
        coalesce(status in ('ended', 'stopped', 'completed', 'failed', 'restart_failed', 'renew_failed'), false) as is_over,
        min(first_spend_date) over of_campaign as run_start_date,
        max(last_report_date) over of_campaign as last_report_date
    from summary
    where currency is not null
    window of_campaign as (partition by campaign_id)
),

last_spends as (
    select
        campaign_id,
        max(report_date) as last_spend_date
    from campaign_days
    where spend_total > 0
    group by campaign_id
),

runs as (
    select
        campaigns.*,
        last_spends.last_spend_date,
        case
            when campaign_duration between 1 and 99999 then run_start_date + campaign_duration::integer - 1
        end as run_end_date
    from campaigns
    left join last_spends
        on campaigns.campaign_id = last_spends.campaign_id
),

-- The days that were pulled, with rows or without, and those with rows.
known_days as (
    select
        campaign_id,
        report_date,
        bool_or(is_pulled) as is_pulled,
        bool_and(is_settled) as is_settled
    from (
        select
            subject_id as campaign_id,
            report_date,
            true as is_pulled,
            is_settled
        from {{ ref('stg_report_date_status') }}
        where export = 'campaign_country_daily'

        union all

        select
            campaign_id,
            report_date,
            false as is_pulled,
            is_settled
        from campaign_days
    )
    group by campaign_id, report_date
),

-- After its last row a campaign is followed until its time is over, and one day more, which says that it is.
days as (
    select
        runs.*,
        known_days.report_date,
        coalesce(campaign_days.spend_media, 0) as spend_media,
        coalesce(campaign_days.spend_total, 0) as spend_total,
        (sum(campaign_days.spend_media) over so_far)::decimal(18, 6) as spend_media_to_date,
        (sum(campaign_days.spend_total) over so_far)::decimal(18, 6) as spend_total_to_date,
        -- from the day it was made, or where that is not known, from its first row
        known_days.report_date - least(runs.start_date, runs.first_report_date) + 1
        - count(*) filter (
            where known_days.is_pulled and known_days.report_date >= least(runs.start_date, runs.first_report_date)
        ) over so_far as days_not_pulled,
        bool_and(known_days.is_settled) over so_far as is_settled
    from runs
    inner join known_days
        on runs.campaign_id = known_days.campaign_id
    left join campaign_days
        on runs.campaign_id = campaign_days.campaign_id
        and runs.currency = campaign_days.currency
        and known_days.report_date = campaign_days.report_date
    where known_days.report_date between least(runs.start_date, runs.first_report_date)
        and greatest(runs.last_report_date, runs.run_end_date + 1)
    window so_far as (partition by runs.campaign_id, runs.currency order by known_days.report_date)
),

shares as (
    select
        *,
        -- greatest() and least() pass over nulls: without an end there is no share
        case
            when run_end_date is not null
                then greatest(least((report_date - run_start_date + 1) / campaign_duration, 1), 0)
        end as time_share,
        -- of a budget that there is: 0 and less is none
        coalesce(spend_total_to_date, 0) / nullif(greatest(total_budget, 0), 0) as budget_share,
        coalesce(spend_media_to_date, 0) / nullif(greatest(total_budget, 0), 0) as media_budget_share
    from days
),

paces as (
    select
        *,
        report_date > last_spend_date and (is_over or report_date > run_end_date) as has_ended,
        -- Past its planned time a campaign that still spends was renewed or extended, by how much is not told.
        report_date > run_end_date and report_date <= last_spend_date as goes_on,
        -- rounded, so that 0.9 is 0.9 whatever it was divided by
        round(budget_share / nullif(time_share, 0), 9) as pace
    from shares
),

final as (
    select
        -- keys
        paces.campaign_id,
        paces.report_date,
        paces.currency,

        -- attributes
        summary.account_id,
        summary.campaign_name,
        summary.currency_account,
        paces.run_start_date,
        paces.run_end_date,
        paces.daily_budget,
        paces.total_budget,

        -- measures
        paces.spend_media,
        paces.spend_total,
        coalesce(paces.spend_media_to_date, 0) as spend_media_to_date,
        coalesce(paces.spend_total_to_date, 0) as spend_total_to_date,
        paces.days_not_pulled,

        -- ratios
        paces.time_share,
        paces.budget_share,
        paces.media_budget_share,
        paces.pace,

        -- Where it goes if it spends on as it has so far. What is not known yet is in no projection; of two currencies one
        -- is spent at the time of the other, so neither goes anywhere by itself.
        case
            when paces.days_not_pulled > 0 or paces.goes_on then null
            when paces.has_ended then coalesce(paces.spend_total_to_date, 0)
            when not paces.has_several_currencies
                then try_cast(paces.spend_total_to_date / nullif(paces.time_share, 0) as decimal(18, 6))
        end as projected_spend_total,
        case
            when paces.has_ended then 'ended'
            when paces.days_not_pulled > 0 or paces.goes_on or paces.pace is null then null
            when paces.pace > 1 + {{ var('pacing_tolerance') }} then 'over'
            when paces.pace < 1 - {{ var('pacing_tolerance') }} then 'under'
            else 'on pace'
        end as state,

        -- status
        paces.is_settled
    from paces
    inner join summary
        on paces.campaign_id = summary.campaign_id
        and paces.currency = summary.currency
)

select * from final
