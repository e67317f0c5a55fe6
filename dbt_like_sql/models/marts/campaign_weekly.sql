-- Built in full: it reads campaign_daily, a row per day, and what a refresh changes in a week changes the one after it.
with campaign_days as (
    select * from {{ ref('campaign_daily') }}
),

listed as (
    {{ newest_listings() }}
),

pulled_weeks as (
    select
        status.subject_id as campaign_id,
        date_trunc('week', status.report_date)::date as week_start_date,
        count(*) as days_pulled,
        -- of the days on which the listing lets rows be expected; all of them where there is no listing
        count(*) filter (
            where status.report_date >= coalesce(listed.start_date, date '0001-01-01')
            and status.report_date <= coalesce(listed.country_rows_until, date '9999-12-31')
        ) as expected_days_pulled
    from {{ ref('stg_report_date_status') }} as status
    left join listed
        on status.subject_id = listed.row_campaign_id
    where status.export = 'campaign_country_daily'
    group by status.subject_id, date_trunc('week', status.report_date)::date
),

week_sums as (
    select
        campaign_id,
        date_trunc('week', report_date)::date as week_start_date,
        currency,

        -- all of them the latest day's
        max_by(
            struct_pack(
                account_id := account_id,
                campaign_name := campaign_name,
                currency_account := currency_account
            ),
            report_date
        ) as newest,

        {{ ads_week_measures() }}
    from campaign_days
    group by campaign_id, date_trunc('week', report_date)::date, currency
),

expected_weeks as (
    select
        week_sums.*,
        coalesce(pulled_weeks.days_pulled, 0) as days_pulled,
        coalesce(pulled_weeks.expected_days_pulled, 0) as expected_days_pulled,
        -- The days outside of the campaign's life are waited for by nobody.
        greatest(
            least(week_sums.week_start_date + 6, coalesce(listed.country_rows_until, date '9999-12-31'))
            - greatest(week_sums.week_start_date, coalesce(listed.start_date, date '0001-01-01'))
            + 1,
            0
        ) as days_expected
    from week_sums
    left join pulled_weeks
        on week_sums.campaign_id = pulled_weeks.campaign_id
        and week_sums.week_start_date = pulled_weeks.week_start_date
    left join listed
        on week_sums.campaign_id = listed.row_campaign_id
),

weeks as (
    select
        *,
        expected_days_pulled >= days_expected as is_complete
    from expected_weeks
),

final as (
    select
        -- keys
        weeks.campaign_id,
        weeks.week_start_date,
        weeks.currency,

        -- attributes
        weeks.newest.account_id,
        weeks.newest.campaign_name,
        weeks.newest.currency_account,
        weeks.week_start_date + 6 as week_end_date,

        {{ week_against_the_one_before() }}
    from weeks
    left join weeks as previous
        on weeks.campaign_id = previous.campaign_id
        and weeks.currency = previous.currency
        and weeks.week_start_date = previous.week_start_date + 7
)

select * from final
