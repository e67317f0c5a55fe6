{# The measures that people read, of all exports; settling_exports says which export has which. #}
{% macro settling_measures() -%}
{{ return(['impressions', 'views', 'link_clicks', 'streams', 'listeners', 'new_listeners', 'followers', 'spend_total']) }}
{%- endmacro %}


{#
    Of each export the column with the id of its subject, its currency, its measures, and of what values are estimated:
    each grain with the keys that it adds to account, day and currency. A grain is that of a daily mart, or the account.
#}
{% macro settling_exports() -%}
{%- set track = ['subject_id', 'engagement_context', 'engaged_spotify_track_id'] -%}
{%- set listening = ['new_listeners', 'listeners', 'streams'] -%}
{{ return({
    'campaign_country_daily': {
        'id': 'campaign_id',
        'currency': 'currency',
        'measures': ['impressions', 'link_clicks', 'streams', 'listeners', 'followers', 'spend_total'],
        'keys': ['subject_id', 'country_code'],
        'grains': {'account': [], 'subject': ['subject_id'], 'country': ['country_code']},
    },
    'campaign_engagement_daily': {
        'id': 'campaign_id',
        'currency': 'null::varchar',
        'measures': listening,
        'keys': track,
        'grains': {'account': [], 'track': track},
    },
    'soundlink_country_daily': {
        'id': 'soundlink_id',
        'currency': 'null::varchar',
        'measures': ['views', 'link_clicks', 'streams', 'listeners', 'followers'],
        'keys': ['subject_id'],
        'grains': {'account': [], 'subject': ['subject_id']},
    },
    'soundlink_engagement_daily': {
        'id': 'soundlink_id',
        'currency': 'null::varchar',
        'measures': listening,
        'keys': track,
        'grains': {'account': [], 'track': track},
    },
}) }}
{%- endmacro %}


{#
    The columns of a row of one export as those of all: null where the export has none. Counts stay whole numbers, whose
    sums DuckDB makes in a third of the time; all become DECIMAL(18, 6) once they are summed.
#}
{% macro settling_columns(export, of) -%}
        '{{ export }}' as export,
        account_id,
        {{ of.id }} as subject_id,
        {%- for key in ['country_code', 'engagement_context', 'engaged_spotify_track_id'] %}
        {{ key if key in of['keys'] else 'null::varchar' }} as {{ key }},
        {%- endfor %}
        {{ of.currency }} as currency,
        report_date,
        {%- for name in settling_measures() %}
        {{ name if name in of.measures else 'null::decimal(18, 6)' if name == 'spend_total' else 'null::bigint' }} as {{ name }},
        {%- endfor %}
{%- endmacro %}


{# A relation with the grains of each export, and with which keys each has. #}
{% macro settling_grains() -%}
(
        values
            {%- for export, of in settling_exports().items() %}
            {%- set outer_loop = loop %}
            {%- for grain, key in of.grains.items() %}
            ('{{ export }}', '{{ grain }}', {{ 'subject_id' in key }}, {{ 'country_code' in key }}, {{ 'engaged_spotify_track_id' in key }}){{ ',' if not (loop.last and outer_loop.last) }}
            {%- endfor %}
            {%- endfor %}
    ) as grains (export, grain, by_subject, by_country, by_track)
{%- endmacro %}


{# The keys of a row of `rows` at a grain of `grains`: null where the grain has none. #}
{% macro settling_keys() -%}
        rows.export,
        grains.grain,
        rows.account_id,
        case when grains.by_subject then rows.subject_id end as subject_id,
        case when grains.by_country then rows.country_code end as country_code,
        case when grains.by_track then rows.engagement_context end as engagement_context,
        case when grains.by_track then rows.engaged_spotify_track_id end as engaged_spotify_track_id,
        rows.currency,
        rows.report_date,
{%- endmacro %}


{#
    Which values are alike in how they settle: the least value of the band that a value lies in. Small counts jump, and
    large ones hardly do, so each band has factors of its own. Totals of an account's day have two bands: nothing, and
    something.
#}
{% macro values_from(value, grain) -%}
case
            when {{ value }} <= 0 then 0
            when {{ grain }} = 'account' then 1
            when {{ value }} < 10 then 1
            when {{ value }} < 100 then 10
            when {{ value }} < 1000 then 100
            else 1000
        end
{%- endmacro %}


{#
    The place in a sorted list of n values that a share p of new ones will stay below: p * (n + 1), from the first to the
    last. Counting n + 1 and not n, the tenth and the ninetieth percentile hold 80 % of values that are yet to come, and
    not of those in the list alone.
#}
{% macro expected_place(sorted, p) -%}
least(greatest({{ p }} * (len({{ sorted }}) + 1), 1), len({{ sorted }}))
{%- endmacro %}


{# The value at that place: between the two that are nearest. #}
{% macro expected_quantile(sorted, p) -%}
{%- set place = expected_place(sorted, p) -%}
(
            {{ sorted }}[floor({{ place }})::bigint]
            + ({{ place }} - floor({{ place }}))
            * ({{ sorted }}[ceil({{ place }})::bigint] - {{ sorted }}[floor({{ place }})::bigint])
        )
{%- endmacro %}
