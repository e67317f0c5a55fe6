-- Built in full: a day's numbers are in the six days after it, too.
{% set measures = {
    'spend_media': 'decimal(18, 6)',
    'spend_total': 'decimal(18, 6)',
    'followers': 'bigint',
    'listeners': 'bigint',
    'streams': 'bigint',
    'link_clicks': 'bigint',
    'spend_media_with_link_clicks': 'decimal(18, 6)',
    'spend_total_with_link_clicks': 'decimal(18, 6)',
} %}
-- Of each result the column that counts it in these seven days, and what the spend is that belongs to it.
{% set results = {
    'follower': ('followers_7d', ''),
    'listener_day': ('listener_days_7d', ''),
    'stream': ('streams_7d', ''),
    'link_click': ('link_clicks_7d', '_with_link_clicks'),
} %}

with campaign_days as (
    select * from {{ ref('campaign_daily') }}
),

sums as (
    select
        campaign_id,
        report_date,
        currency,
        account_id,
        campaign_name,
        currency_account,

        count(*) over last_7_days as days_7d,
        {% for measure, type in measures.items() -%}
        (sum({{ measure }}) over last_7_days)::{{ type }} as {{ 'listener_days' if measure == 'listeners' else measure }}_7d,
        {% endfor %}
        bool_and(is_settled) over last_7_days as is_settled
    from campaign_days
    window last_7_days as (
        partition by campaign_id, currency
        order by report_date
        range between interval 6 days preceding and current row
    )
),

final as (
    select
        -- keys
        campaign_id,
        report_date,
        currency,

        -- attributes
        account_id,
        campaign_name,
        currency_account,

        -- measures of the day and the six before it
        days_7d,
        spend_media_7d,
        spend_total_7d,
        followers_7d,
        listener_days_7d,
        streams_7d,
        link_clicks_7d,

        -- ratios of these sums, without fees and with them; null where there is nothing to divide by
        {% for name, (count, which) in results.items() -%}
        spend_media{{ which }}_7d / nullif({{ count }}, 0) as media_cost_per_{{ name }}_7d,
        spend_total{{ which }}_7d / nullif({{ count }}, 0) as total_cost_per_{{ name }}_7d,
        {% endfor %}
        -- status
        is_settled
    from sums
)

select * from final
