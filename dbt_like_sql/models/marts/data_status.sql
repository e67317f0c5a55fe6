-- Built in full: what is expected follows from each account's newest listings and from the newest rows, also on days that
-- no refresh touches. What would be costly to count, rows by day, is a model of its own.
-- What only keeps the books is read from its source. Pulls go by the id that was asked for, which is the listed one;
-- stg_report_date_status goes by the id in the rows, which may differ.

-- Of each export the id in its rows, and how many days after its last day with rows more are expected.
{% set after_rows = {
    'campaign_country_daily': ('campaign_id', 0),
    'campaign_engagement_daily': ('campaign_id', var('engagement_after_rows_days')),
    'soundlink_country_daily': ('soundlink_id', var('soundlink_after_rows_days')),
    'soundlink_engagement_daily': ('soundlink_id', var('soundlink_after_rows_days')),
} %}

with pulls as (
    select * from {{ source('soundlink', 'report_date_status') }}
),

campaigns as (
    select * from {{ ref('stg_campaigns') }}
),

soundlinks as (
    select * from {{ ref('stg_soundlinks') }}
),

expected_accounts as (
    select * from {{ source('soundlink', 'expected_accounts') }}
),

-- An account's rows may be of several organizations, as after a move.
row_counts as (
    select
        account,
        export,
        report_date,
        sum(rows)::bigint as rows,
        sum(revised_keys)::bigint as revised_keys,
        sum(vanished_keys)::bigint as vanished_keys
    from {{ ref('rows_by_day') }}
    group by account, export, report_date
),

paths as (
    select distinct
        account,
        export,
        subject_id,
        row_subject_id
    from {{ source('soundlink', 'deliveries') }}
    where row_subject_id is not null
),

-- Rows are expected for as long as they come.
newest_rows as (
    {% for export, (id, days) in after_rows.items() %}
    select
        '{{ export }}' as export,
        {{ id }} as row_subject_id,
        max(report_date) + {{ days }} as newest_row
    from {{ ref('stg_' ~ export) }}
    group by {{ id }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

expected_by_rows as (
    select
        paths.account,
        paths.export,
        paths.subject_id,
        max(newest_rows.newest_row) as expected_until
    from paths
    inner join newest_rows
        on paths.export = newest_rows.export
        and paths.row_subject_id = newest_rows.row_subject_id
    group by paths.account, paths.export, paths.subject_id
),

expected_by_listing as (
    select
        account,
        'campaign_country_daily' as export,
        campaign_id as subject_id,
        is_listed,
        may_have_rows_from as expected_from,
        country_rows_until as expected_until
    from campaigns

    union all

    select
        account,
        'campaign_engagement_daily' as export,
        campaign_id as subject_id,
        is_listed,
        may_have_rows_from as expected_from,
        may_have_rows_until as expected_until
    from campaigns

    union all

    select
        account,
        export,
        soundlink_id as subject_id,
        is_listed,
        may_have_rows_from as expected_from,
        may_have_rows_until as expected_until
    from soundlinks
    cross join (select unnest(['soundlink_country_daily', 'soundlink_engagement_daily']) as export) as e
),

expected_days as (
    select
        expected_by_listing.account,
        expected_by_listing.export,
        expected_by_listing.subject_id,
        expected_by_listing.is_listed,
        greatest(
            coalesce(expected_by_listing.expected_from, date '0001-01-01'), expected_accounts.start_date
        ) as expected_from,
        -- greatest() passes over nulls: without an end by the listing there is none.
        case
            when expected_by_listing.expected_until is null then date '9999-12-31'
            else greatest(expected_by_listing.expected_until, expected_by_rows.expected_until)
        end as expected_until
    from expected_by_listing
    left join expected_by_rows
        on expected_by_listing.account = expected_by_rows.account
        and expected_by_listing.export = expected_by_rows.export
        and expected_by_listing.subject_id = expected_by_rows.subject_id
    left join expected_accounts
        on expected_by_listing.account = expected_accounts.account
),

pulled_days as (
    select
        pulls.account,
        pulls.export,
        pulls.report_date,
        count(*) as subjects_pulled,
        count(*) filter (where pulls.report_date > expected_days.expected_until) as subjects_probed,
        max(pulls.last_pulled_at) as last_pulled_at,
        -- Where no rows are expected, nothing is waited for. What is not known may have some.
        bool_and(
            pulls.is_settled
            or coalesce(
                pulls.report_date not between expected_days.expected_from and expected_days.expected_until, false
            )
        ) as is_settled
    from pulls
    left join expected_days
        on pulls.account = expected_days.account
        and pulls.export = expected_days.export
        and pulls.subject_id = expected_days.subject_id
    group by pulls.account, pulls.export, pulls.report_date
),

-- A day that was pulled for one account is waited for by every other that may have rows on it.
days as (
    select distinct
        export,
        report_date
    from pulls
),

expected as (
    select
        expected_days.account,
        days.export,
        days.report_date,
        count(*) as subjects_expected,
        count(pulls.subject_id) as expected_and_pulled
    from days
    inner join expected_days
        on days.export = expected_days.export
        and expected_days.is_listed
        and days.report_date between expected_days.expected_from and expected_days.expected_until
    left join pulls
        on days.export = pulls.export
        and days.report_date = pulls.report_date
        and expected_days.account = pulls.account
        and expected_days.subject_id = pulls.subject_id
    group by expected_days.account, days.export, days.report_date
),

account_days as (
    select
        account,
        export,
        report_date,
        coalesce(expected.subjects_expected, 0) as subjects_expected,
        coalesce(pulled_days.subjects_pulled, 0) as subjects_pulled,
        coalesce(pulled_days.subjects_probed, 0) as subjects_probed,
        pulled_days.last_pulled_at,
        coalesce(expected.expected_and_pulled = expected.subjects_expected, true) as is_complete,
        pulled_days.is_settled
    from pulled_days
    full join expected using (account, export, report_date)
),

final as (
    select
        -- keys
        account_days.account,
        account_days.export,
        account_days.report_date,

        -- measures
        account_days.subjects_expected,
        account_days.subjects_pulled,
        account_days.subjects_probed,
        coalesce(row_counts.rows, 0) as rows,
        coalesce(row_counts.revised_keys, 0) as revised_keys,
        coalesce(row_counts.vanished_keys, 0) as vanished_keys,

        -- status
        account_days.last_pulled_at,
        account_days.is_complete,
        -- what was not pulled at all is not complete
        account_days.is_complete and account_days.is_settled as is_settled
    from account_days
    left join row_counts
        on account_days.account = row_counts.account
        and account_days.export = row_counts.export
        and account_days.report_date = row_counts.report_date
)

select * from final
