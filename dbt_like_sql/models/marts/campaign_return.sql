with campaign_days as (
    select * from {{ ref('campaign_daily') }}
),

engagement_rows as (
    select * from {{ ref('stg_campaign_engagement_daily') }}
),

settlement as (
    select * from {{ ref('stg_report_date_status') }}
),

listed as (
    {{ newest_listings() }}
),

-- Soundlink counts Spotify's streams alone. A row without a country is of all that the statement names no row of.
statements as (
    select
        isrc,
        sale_month,
        coalesce(country_code, '') as country_code,
        currency,
        sum(streams)::bigint as streams,
        sum(revenue) as revenue
    from {{ ref('stg_distributor_statements') }}
    where lower(store) = 'spotify'
    group by all
),

statement_countries as (
    select
        isrc,
        sale_month,
        country_code,
        sum(streams)::bigint as streams
    from statements
    group by all
),

statement_months as (
    select
        isrc,
        sale_month,
        currency,
        sum(streams)::bigint as streams,
        sum(revenue)::decimal(18, 6) as revenue,
        -- a stream is of no currency
        (sum(sum(streams)) over (partition by isrc, sale_month))::bigint as streams_all_currencies
    from statements
    group by isrc, sale_month, currency
),

-- A campaign's time is that of its spend: its status changes before the last bill, or long after.
campaigns as (
    select
        campaign_id,
        max_by(
            struct_pack(account_id := account_id, campaign_name := campaign_name),
            (report_date, exported_at, currency)
        ) as newest,
        min(report_date) filter (where spend_total > 0) as first_spend_date,
        max(report_date) filter (where spend_total > 0) as last_spend_date
    from campaign_days
    group by campaign_id
    having count(*) filter (where spend_total > 0) > 0
),

listening as (
    select
        engagement_rows.campaign_id,
        upper(engagement_rows.engaged_track_isrc) as isrc,
        date_trunc('month', engagement_rows.report_date)::date as sale_month,
        engagement_rows.country_code,
        max_by(
            engagement_rows.engaged_track_name,
            (engagement_rows.report_date, engagement_rows.exported_at, engagement_rows.engaged_track_name)
        ) as track_name,
        coalesce(sum(engagement_rows.streams) filter (
            where engagement_rows.report_date < campaigns.first_spend_date
        ), 0)::bigint as streams_before,
        coalesce(sum(engagement_rows.streams) filter (
            where engagement_rows.report_date between campaigns.first_spend_date and campaigns.last_spend_date
        ), 0)::bigint as streams_during,
        coalesce(sum(engagement_rows.streams) filter (
            where engagement_rows.report_date > campaigns.last_spend_date
        ), 0)::bigint as streams_after,
        bool_and(coalesce(settlement.is_settled, false)) as is_settled
    from engagement_rows
    inner join campaigns
        on engagement_rows.campaign_id = campaigns.campaign_id
    left join settlement
        on settlement.export = 'campaign_engagement_daily'
        and engagement_rows.campaign_id = settlement.subject_id
        and engagement_rows.report_date = settlement.report_date
    where upper(engagement_rows.engaged_track_isrc) in (select isrc from statements)
    group by all
),

listening_months as (
    select
        campaign_id,
        isrc,
        sale_month,
        sum(streams_before)::bigint as streams_before,
        sum(streams_during)::bigint as streams_during,
        sum(streams_after)::bigint as streams_after,
        bool_and(is_settled) as is_settled
    from listening
    group by campaign_id, isrc, sale_month
),

-- Of each campaign from when to when its listening is followed. Days before the first that was pulled are waited for by
-- nobody.
followed as (
    select
        settlement.subject_id as campaign_id,
        min(settlement.report_date) as from_date,
        any_value(coalesce(listed.may_have_rows_until, date '9999-12-31')) as until_date
    from settlement
    left join listed
        on settlement.subject_id = listed.row_campaign_id
    where settlement.export = 'campaign_engagement_daily'
    group by settlement.subject_id
),

followed_months as (
    select
        settlement.subject_id as campaign_id,
        date_trunc('month', settlement.report_date)::date as sale_month,
        count(*) filter (where settlement.report_date <= followed.until_date) as days_pulled,
        bool_and(settlement.is_settled) as is_settled
    from settlement
    inner join followed
        on settlement.subject_id = followed.campaign_id
    where settlement.export = 'campaign_engagement_daily'
    group by all
),

campaign_tracks as (
    select
        campaign_id,
        isrc,
        max_by(track_name, (sale_month, track_name)) as track_name
    from listening
    group by campaign_id, isrc
),

-- A stream is worth what its own country pays: campaigns are often cheap where streams are, too.
listening_by_price as (
    select
        listening.campaign_id,
        listening.isrc,
        listening.sale_month,
        coalesce(statement_countries.country_code, '') as country_code,
        sum(listening.streams_during)::bigint as streams_during,
        sum(listening.streams_after)::bigint as streams_after
    from listening
    left join statement_countries
        on listening.isrc = statement_countries.isrc
        and listening.sale_month = statement_countries.sale_month
        and listening.country_code = statement_countries.country_code
    group by all
),

-- Never more of a country's revenue than all of it, whatever Soundlink counts.
shares as (
    select
        listening_by_price.campaign_id,
        listening_by_price.isrc,
        listening_by_price.sale_month,
        listening_by_price.country_code,
        listening_by_price.streams_during,
        least(1, listening_by_price.streams_during / statement_countries.streams) as share_during,
        least(1, (listening_by_price.streams_during + listening_by_price.streams_after) / statement_countries.streams)
            as share_of_both
    from listening_by_price
    inner join statement_countries
        on listening_by_price.isrc = statement_countries.isrc
        and listening_by_price.sale_month = statement_countries.sale_month
        and listening_by_price.country_code = statement_countries.country_code
    where statement_countries.streams > 0
),

estimates as (
    select
        shares.campaign_id,
        shares.isrc,
        shares.sale_month,
        statements.currency,
        sum(shares.streams_during)::bigint as priced_streams,
        sum((statements.revenue::double * shares.share_during)::decimal(18, 6))::decimal(18, 6) as during,
        sum((statements.revenue::double * (shares.share_of_both - shares.share_during))::decimal(18, 6))::decimal(18, 6)
            as later
    from shares
    inner join statements
        on shares.isrc = statements.isrc
        and shares.sale_month = statements.sale_month
        and shares.country_code = statements.country_code
    group by all
),

final as (
    select
        -- keys
        campaign_tracks.campaign_id,
        campaign_tracks.isrc,
        statement_months.sale_month,
        statement_months.currency,

        -- attributes
        campaigns.newest.account_id,
        campaigns.newest.campaign_name,
        campaign_tracks.track_name,
        campaigns.first_spend_date,
        campaigns.last_spend_date,
        case
            when statement_months.sale_month < date_trunc('month', campaigns.first_spend_date) then 'before'
            when statement_months.sale_month <= campaigns.last_spend_date then 'during'
            else 'after'
        end as period,

        -- what the statement says
        statement_months.streams as statement_streams,
        statement_months.streams_all_currencies as statement_streams_all_currencies,
        statement_months.revenue as statement_revenue,

        -- what Soundlink counted of the campaign's listeners
        coalesce(listening_months.streams_before, 0) as campaign_streams_before,
        coalesce(listening_months.streams_during, 0) as campaign_streams_during,
        coalesce(listening_months.streams_after, 0) as campaign_streams_after,
        coalesce(estimates.priced_streams, 0) as priced_streams,

        -- estimates
        coalesce(estimates.during, 0) as attributed_revenue_estimate,
        coalesce(estimates.later, 0) as later_revenue_estimate,

        -- ratios
        statement_months.revenue / nullif(statement_months.streams, 0) as revenue_per_stream,
        coalesce(listening_months.streams_during, 0) / nullif(statement_months.streams_all_currencies, 0)
            as attributed_share,

        -- status
        -- A month without listening so far is final once no day of it can bring some.
        coalesce(listening_months.is_settled, true)
        and coalesce(followed_months.is_settled, true)
        and coalesce(followed_months.days_pulled, 0) >= greatest(
            least(
                (statement_months.sale_month + interval 1 month)::date - 1,
                coalesce(followed.until_date, date '9999-12-31')
            )
            - greatest(statement_months.sale_month, followed.from_date)
            + 1,
            0
        ) as is_settled
    from campaign_tracks
    inner join campaigns
        on campaign_tracks.campaign_id = campaigns.campaign_id
    inner join statement_months
        on campaign_tracks.isrc = statement_months.isrc
    left join listening_months
        on campaign_tracks.campaign_id = listening_months.campaign_id
        and campaign_tracks.isrc = listening_months.isrc
        and statement_months.sale_month = listening_months.sale_month
    left join followed
        on campaign_tracks.campaign_id = followed.campaign_id
    left join followed_months
        on campaign_tracks.campaign_id = followed_months.campaign_id
        and statement_months.sale_month = followed_months.sale_month
    left join estimates
        on campaign_tracks.campaign_id = estimates.campaign_id
        and campaign_tracks.isrc = estimates.isrc
        and statement_months.sale_month = estimates.sale_month
        and statement_months.currency = estimates.currency
)

select * from final
