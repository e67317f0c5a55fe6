{#
    A CTE's query: what is listed of each campaign, by the id in its rows. Several accounts may list one campaign, and one
    account under two ids: what is listed now comes before what was listed once, then the newest.
#}
{% macro newest_listings() -%}
    select
        account,
        campaign_id,
        -- until rows have come, nothing but the listed id is known
        coalesce(row_campaign_id, campaign_id) as row_campaign_id,
        status,
        artist_id,
        artist_name,
        strategy_type,
        campaign_duration,
        daily_budget,
        total_budget,
        may_have_rows_from as start_date,
        case
            when campaign_duration between 1 and 99999
                then may_have_rows_from + campaign_duration::integer - 1
        end as end_date,
        country_rows_until,
        may_have_rows_until
    from {{ ref('stg_campaigns') }}
    qualify row_number() over (
        partition by coalesce(row_campaign_id, campaign_id)
        order by is_listed desc, _listed_at desc, account, campaign_id
    ) = 1
{%- endmacro %}
