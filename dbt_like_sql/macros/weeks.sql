{# What both weekly marts of the ads add up, over daily marts that have the same columns. #}
{% macro ads_week_measures() -%}
count(distinct report_date) as days,
        count(distinct report_date) filter (where is_settled) as days_settled,
        sum(impressions)::bigint as impressions,
        sum(ad_clicks)::bigint as ad_clicks,
        sum(link_clicks)::bigint as link_clicks,
        sum(streams)::bigint as streams,
        sum(listeners)::bigint as listener_days,
        sum(followers)::bigint as followers,
        sum(spend_media)::decimal(18, 6) as spend_media,
        sum(spend_total)::decimal(18, 6) as spend_total,
        sum(fees)::decimal(18, 6) as fees,
        bool_and(is_settled) as is_settled
{%- endmacro %}


{#
    The columns of a weekly mart after its attributes, of the relation weeks, joined with itself as previous. A change is null
    without anything before; the week itself says whether it is complete.
#}
{% macro week_against_the_one_before() -%}
-- measures
        weeks.days,
        weeks.days_pulled,
        weeks.days_settled,
        weeks.impressions,
        weeks.ad_clicks,
        weeks.link_clicks,
        weeks.streams,
        weeks.listener_days,
        weeks.followers,
        weeks.spend_media,
        weeks.spend_total,
        weeks.fees,

        -- ratios of the sums; with nothing to divide by, null
        weeks.streams / nullif(weeks.listener_days, 0) as streams_per_listener_day,
        weeks.spend_media / nullif(weeks.listener_days, 0) as cost_per_listener_day,
        weeks.spend_media / nullif(weeks.followers, 0) as cost_per_follower,

        -- the week before, and the change to this one as a share of it
        {% for measure in ['streams', 'listener_days', 'followers', 'spend_media', 'spend_total'] -%}
        previous.{{ measure }} as {{ measure }}_before,
        (weeks.{{ measure }} - previous.{{ measure }}) / nullif(previous.{{ measure }}, 0) as {{ measure }}_change,
        {% endfor %}
        -- status
        weeks.is_complete,
        -- A week of which the campaign lived but some days is complete, and no measure for a whole one.
        coalesce(
            weeks.is_complete and previous.is_complete and weeks.days_expected = 7 and previous.days_expected = 7, false
        ) as is_comparable,
        weeks.is_settled
{%- endmacro %}
