with campaign_months as (
    select * from {{ ref('campaign_return') }}
),

campaign_days as (
    select * from {{ ref('campaign_daily') }}
),

track_days as (
    select * from {{ ref('track_engagement_daily') }}
),

spends as (
    select
        campaign_id,
        currency,
        sum(spend_total)::decimal(18, 6) as spend_total,
        bool_and(is_settled) as is_settled
    from campaign_days
    group by campaign_id, currency
),

spend_currencies as (
    select
        campaign_id,
        count(*) filter (where spend_total > 0) as currencies,
        bool_and(is_settled) as is_settled
    from spends
    group by campaign_id
),

sums as (
    select
        campaign_id,
        currency,

        -- one value per campaign
        any_value(struct_pack(
            account_id := account_id,
            campaign_name := campaign_name,
            first_spend_date := first_spend_date,
            last_spend_date := last_spend_date
        )) as campaign,

        count(distinct isrc) as tracks,
        count(distinct sale_month) filter (where period = 'before') as months_before,
        count(distinct sale_month) filter (where period = 'during') as months_during,
        count(distinct sale_month) filter (where period = 'after') as months_after,
        coalesce(sum(statement_streams), 0)::bigint as statement_streams,
        coalesce(sum(statement_streams) filter (where period = 'before'), 0)::bigint as statement_streams_before,
        coalesce(sum(statement_streams) filter (where period = 'during'), 0)::bigint as statement_streams_during,
        coalesce(sum(statement_streams) filter (where period = 'after'), 0)::bigint as statement_streams_after,
        sum(statement_streams_all_currencies) filter (where period = 'during')::bigint as shared_streams,
        sum(statement_revenue)::decimal(18, 6) as statement_revenue,
        sum(campaign_streams_during)::bigint as matched_streams,
        sum(priced_streams)::bigint as priced_streams,
        sum(attributed_revenue_estimate)::decimal(18, 6) as attributed_revenue_estimate,
        sum(later_revenue_estimate)::decimal(18, 6) as later_revenue_estimate,
        bool_and(is_settled) as is_settled
    from campaign_months
    group by campaign_id, currency
),

-- All that the campaign's listeners played while it spent, of tracks that no statement has, too.
listening as (
    select
        track_days.campaign_id,
        sum(track_days.streams)::bigint as streams
    from track_days
    inner join (select distinct campaign_id, campaign.first_spend_date, campaign.last_spend_date from sums) as windows
        on track_days.campaign_id = windows.campaign_id
    where track_days.report_date between windows.first_spend_date and windows.last_spend_date
    group by track_days.campaign_id
),

final as (
    select
        -- keys
        sums.campaign_id,
        sums.currency,

        -- attributes
        sums.campaign.account_id,
        sums.campaign.campaign_name,
        sums.campaign.first_spend_date,
        sums.campaign.last_spend_date,

        -- what the statements say
        sums.tracks,
        sums.months_before,
        sums.months_during,
        sums.months_after,
        sums.statement_streams,
        sums.statement_streams_before,
        sums.statement_streams_during,
        sums.statement_streams_after,
        sums.statement_revenue,

        -- what Soundlink counted of the campaign's listeners while it spent
        coalesce(listening.streams, 0) as campaign_streams,
        sums.matched_streams,
        sums.priced_streams,

        -- what was spent in this currency
        spends.spend_total,

        -- estimates
        sums.attributed_revenue_estimate,
        sums.later_revenue_estimate,

        -- ratios
        sums.statement_revenue / nullif(sums.statement_streams, 0) as revenue_per_stream,
        sums.matched_streams / nullif(sums.shared_streams, 0) as attributed_share,
        sums.statement_streams_before / nullif(sums.months_before, 0) as streams_per_month_before,
        sums.statement_streams_during / nullif(sums.months_during, 0) as streams_per_month_during,
        sums.statement_streams_after / nullif(sums.months_after, 0) as streams_per_month_after,
        case
            when spend_currencies.currencies = 1
                then sums.attributed_revenue_estimate / nullif(spends.spend_total, 0)
        end as recoup_estimate,
        case
            when spend_currencies.currencies = 1
                then (sums.attributed_revenue_estimate + sums.later_revenue_estimate) / nullif(spends.spend_total, 0)
        end as recoup_with_later_estimate,

        -- status
        sums.is_settled and spend_currencies.is_settled as is_settled
    from sums
    inner join spend_currencies
        on sums.campaign_id = spend_currencies.campaign_id
    left join spends
        on sums.campaign_id = spends.campaign_id
        and sums.currency = spends.currency
    left join listening
        on sums.campaign_id = listening.campaign_id
)

select * from final
