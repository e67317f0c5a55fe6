with summary as (
    select
        campaign_id,
        currency,
        statement_streams,
        statement_streams_before + statement_streams_during + statement_streams_after as by_period,
        statement_revenue,
        matched_streams,
        attributed_revenue_estimate,
        later_revenue_estimate
    from {{ ref('campaign_return_summary') }}
),

months as (
    select
        campaign_id,
        currency,
        sum(statement_streams) as statement_streams,
        sum(statement_streams) as by_period,
        sum(statement_revenue) as statement_revenue,
        sum(campaign_streams_during) as matched_streams,
        sum(attributed_revenue_estimate) as attributed_revenue_estimate,
        sum(later_revenue_estimate) as later_revenue_estimate
    from {{ ref('campaign_return') }}
    group by campaign_id, currency
)

{{ differences('summary', 'months') }}
