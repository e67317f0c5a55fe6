{#
    What a test that two CTEs of its own hold the same rows returns: the rows of one that the other has not, with the
    CTE's name as their side. A difference shows as two rows. Grouped, for DuckDB plans two EXCEPT for twice as long.
#}
{% macro differences(one, other) -%}
select
    min(side) as side,
    * exclude (side)
from (
    select '{{ one }}' as side, * from {{ one }}
    union all
    select '{{ other }}' as side, * from {{ other }}
)
group by all
having min(side) = max(side)
{%- endmacro %}


{#
    A whole test: the sums of a daily mart are those of the rows it is made of, to the last decimal.

    mart, rows: the relations.
    by: the columns to sum by.
    measures: columns of both.
    of_known: measures of the mart that sum only some rows, as {column: (measure, other)}: `measure` of the rows in which
    `other` is known.
#}
{% macro reconciles(mart, rows, by, measures, of_known={}) -%}
with mart as (
    select
        {{ by | join(', ') }}
        {%- for column in measures + (of_known | list) %},
        sum({{ column }}) as {{ column }}
        {%- endfor %}
    from {{ mart }}
    where {{ within_window() }}
    group by {{ by | join(', ') }}
),

raw as (
    select
        {{ by | join(', ') }}
        {%- for measure in measures %},
        sum({{ measure }}) as {{ measure }}
        {%- endfor %}
        {%- for column, (measure, other) in of_known.items() %},
        sum({{ measure }}) filter (where {{ other }} is not null) as {{ column }}
        {%- endfor %}
    from {{ rows }}
    where {{ within_window() }}
    group by {{ by | join(', ') }}
)

{{ differences('mart', 'raw') }}
{%- endmacro %}


{# The same for a daily mart of the ads, which has the measures of campaign_country_daily. #}
{% macro ads_reconcile(mart, by=['report_date', 'currency']) -%}
{{
    reconciles(
        mart,
        ref('stg_campaign_country_daily'),
        by=by,
        measures=[
            'impressions', 'ad_clicks', 'link_clicks', 'streams', 'listeners', 'followers',
            'spend_media', 'spend_total', 'fees',
        ],
        of_known={
            'spend_media_with_link_clicks': ('spend_media', 'link_clicks'),
            'spend_total_with_link_clicks': ('spend_total', 'link_clicks'),
            'link_clicks_with_impressions': ('link_clicks', 'impressions'),
            'impressions_with_link_clicks': ('impressions', 'link_clicks'),
            'ad_clicks_with_impressions': ('ad_clicks', 'impressions'),
            'impressions_with_ad_clicks': ('impressions', 'ad_clicks'),
        },
    )
}}
{%- endmacro %}


{# The same for a daily mart of tracks, which has the measures of an engagement export. #}
{% macro tracks_reconcile(mart, rows) -%}
{{
    reconciles(
        mart,
        rows,
        by=['report_date'],
        measures=[
            'new_listeners', 'returning_listeners', 'listeners',
            'new_listener_streams', 'returning_listener_streams', 'streams',
        ],
    )
}}
{%- endmacro %}


{#
    A whole test: the totals of a summary of tracks are the sums of its days.

    id: the column that says whose tracks they are.
#}
{% macro tracks_are_the_sum_of_days(summary, daily, id) -%}
{%- set key = id ~ ', engagement_context, engaged_spotify_track_id' -%}
with summary as (
    select
        {{ key }},
        days,
        unique_listeners,
        new_listener_streams,
        returning_listener_streams,
        streams
    from {{ summary }}
),

daily as (
    select
        {{ key }},
        count(*) as days,
        sum(new_listeners) as unique_listeners,
        sum(new_listener_streams) as new_listener_streams,
        sum(returning_listener_streams) as returning_listener_streams,
        sum(streams) as streams
    from {{ daily }}
    group by {{ key }}
)

{{ differences('summary', 'daily') }}
{%- endmacro %}


{#
    A whole test: what a weekly mart of the ads adds up is what its days add up to, whatever the week.

    id: the columns that say whose weeks they are.
#}
{% macro weeks_are_the_sum_of_days(weekly, daily, id) -%}
with weekly as (
    select
        {{ id }},
        currency,
        week_start_date,
        days,
        impressions,
        ad_clicks,
        link_clicks,
        streams,
        listener_days,
        followers,
        spend_media,
        spend_total,
        fees
    from {{ weekly }}
),

daily as (
    select
        {{ id }},
        currency,
        -- Monday is day 1 of ISO's week
        report_date - (isodow(report_date)::integer - 1) as week_start_date,
        count(*) as days,
        sum(impressions) as impressions,
        sum(ad_clicks) as ad_clicks,
        sum(link_clicks) as link_clicks,
        sum(streams) as streams,
        sum(listeners) as listener_days,
        sum(followers) as followers,
        sum(spend_media) as spend_media,
        sum(spend_total) as spend_total,
        sum(fees) as fees
    from {{ daily }}
    group by all
)

{{ differences('weekly', 'daily') }}
{%- endmacro %}
