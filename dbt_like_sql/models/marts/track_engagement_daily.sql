-- unique_key is the day, for a refresh replaces whole days: a row that is no more goes with its day.
{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='report_date'
    )
}}

{{ track_days('campaign', of_the_day=['status']) }}
