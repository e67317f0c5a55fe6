-- Built in full, as campaign_weekly is. Whether an account's days are complete data_status says, by the name of the account;
-- rows_by_day knows whose organization it is.
with country_days as (
    select * from {{ ref('country_daily') }}
),

accounts as (
    select distinct
        account,
        account_id
    from {{ ref('rows_by_day') }}
    where export = 'campaign_country_daily'
),

-- An organization that two accounts see is complete where both are.
account_days as (
    select
        accounts.account_id,
        data_status.report_date,
        bool_and(data_status.is_complete and data_status.last_pulled_at is not null) as is_complete
    from accounts
    inner join {{ ref('data_status') }} as data_status
        on accounts.account = data_status.account
    where data_status.export = 'campaign_country_daily'
    group by accounts.account_id, data_status.report_date
),

account_weeks as (
    select
        account_id,
        date_trunc('week', report_date)::date as week_start_date,
        count(*) filter (where is_complete) as days_pulled
    from account_days
    group by account_id, date_trunc('week', report_date)::date
),

week_sums as (
    select
        account_id,
        country_code,
        date_trunc('week', report_date)::date as week_start_date,
        currency,
        max(country) as country,
        max_by(currency_account, report_date) as currency_account,

        {{ ads_week_measures() }}
    from country_days
    group by account_id, country_code, date_trunc('week', report_date)::date, currency
),

weeks as (
    select
        week_sums.*,
        coalesce(account_weeks.days_pulled, 0) as days_pulled,
        7 as days_expected,
        coalesce(account_weeks.days_pulled, 0) = 7 as is_complete
    from week_sums
    left join account_weeks
        on week_sums.account_id = account_weeks.account_id
        and week_sums.week_start_date = account_weeks.week_start_date
),

final as (
    select
        -- keys
        weeks.account_id,
        weeks.country_code,
        weeks.week_start_date,
        weeks.currency,

        -- attributes
        weeks.country,
        weeks.currency_account,
        weeks.week_start_date + 6 as week_end_date,

        {{ week_against_the_one_before() }}
    from weeks
    left join weeks as previous
        on weeks.account_id = previous.account_id
        and weeks.country_code = previous.country_code
        and weeks.currency = previous.currency
        and weeks.week_start_date = previous.week_start_date + 7
)

select * from final
