{#
    The days that a build or a test is about: those of the vars start_date to end_date, both included. Without the vars
    that is every day.
#}
{% macro within_window() -%}
    report_date between date '{{ var("start_date") }}' and date '{{ var("end_date") }}'
{%- endmacro %}


{# What an incremental model reads of a relation with a report_date: in a build by days those days, in a full one all. #}
{% macro incremental_window() -%}
    {% if is_incremental() %}where {{ within_window() }}{% endif %}
{%- endmacro %}
