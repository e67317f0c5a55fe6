{#
    The days of tracks that were listened to because of campaigns, or of soundlinks: a whole incremental model over an
    engagement export.

    subject: campaign or soundlink, with which the names of the export, its id and its attributes begin.
    of_the_day: further attributes of the export's rows, to be told of the day.
#}
{% macro track_days(subject, of_the_day=[]) -%}
{%- set export = subject ~ '_engagement_daily' -%}
{%- set id = subject ~ '_id' -%}
{%- set attributes = [
    'account_id', subject ~ '_name', subject ~ '_target_type', subject ~ '_target_spotify_track_id',
    subject ~ '_target_playlist_id', 'engaged_track_name', 'engaged_track_isrc',
] + of_the_day + ['playlist_position'] -%}
with engagement_rows as (
    select * from {{ ref('stg_' ~ export) }}
    {{ incremental_window() }}
),

settlement as (
    select * from {{ ref('stg_report_date_status') }}
    {{ incremental_window() }}
),

track_days as (
    select
        {{ id }},
        engagement_context,
        engaged_spotify_track_id,
        report_date,

        -- All attributes are those of one row, the newest; one by one, max_by would pass over what is null there.
        max_by(
            struct_pack(
                {%- for name in attributes %}
                {{ name }} := {{ name }}{{ ',' if not loop.last }}
                {%- endfor %}
            ),
            -- of one moment the highest place, and no place last
            (exported_at, -coalesce(playlist_position, 9223372036854775807), country_code, account_id)
        ) as newest,

        count(distinct country_code) as countries,
        sum(new_listeners)::bigint as new_listeners,
        sum(returning_listeners)::bigint as returning_listeners,
        sum(listeners)::bigint as listeners,
        sum(new_listener_streams)::bigint as new_listener_streams,
        sum(returning_listener_streams)::bigint as returning_listener_streams,
        sum(streams)::bigint as streams,

        max(exported_at) as exported_at
    from engagement_rows
    group by {{ id }}, engagement_context, engaged_spotify_track_id, report_date
),

final as (
    select
        -- keys
        track_days.{{ id }},
        track_days.engagement_context,
        track_days.engaged_spotify_track_id,
        track_days.report_date,

        -- attributes
        {%- for name in attributes %}
        track_days.newest.{{ name }},
        {%- endfor %}
        coalesce(
            track_days.newest.{{ subject }}_target_type = 'track'
            and track_days.engaged_spotify_track_id = track_days.newest.{{ subject }}_target_spotify_track_id,
            false
        ) as is_promoted_track,

        -- measures
        track_days.countries,
        track_days.new_listeners,
        track_days.returning_listeners,
        track_days.listeners,
        track_days.new_listener_streams,
        track_days.returning_listener_streams,
        track_days.streams,

        -- ratio of the sums; 0 without listeners, as in the export
        coalesce(track_days.streams / nullif(track_days.listeners, 0), 0) as spl,

        -- status
        track_days.exported_at,
        coalesce(settlement.is_settled, false) as is_settled
    from track_days
    left join settlement
        on settlement.export = '{{ export }}'
        and track_days.{{ id }} = settlement.subject_id
        and track_days.report_date = settlement.report_date
)

select * from final
{%- endmacro %}


{# Such days, each track in one row: a whole model over one that track_days makes, daily, of the same subject. #}
{% macro track_totals(subject, daily) -%}
{%- set id = subject ~ '_id' -%}
with track_days as (
    select * from {{ daily }}
),

tracks as (
    select
        {{ id }},
        engagement_context,
        engaged_spotify_track_id,

        -- all of them the latest day's
        max_by(
            struct_pack(
                account_id := account_id,
                {{ subject }}_name := {{ subject }}_name,
                engaged_track_name := engaged_track_name,
                engaged_track_isrc := engaged_track_isrc,
                is_promoted_track := is_promoted_track
            ),
            report_date
        ) as newest,
        min(report_date) as first_report_date,
        max(report_date) as last_report_date,

        count(*) as days,
        count(*) filter (where is_settled) as days_settled,
        -- A listener is new to a track on one day only, so these may be summed; listeners may not.
        sum(new_listeners)::bigint as unique_listeners,
        sum(new_listeners) filter (where is_settled)::bigint as settled_unique_listeners,
        sum(new_listener_streams)::bigint as new_listener_streams,
        sum(returning_listener_streams)::bigint as returning_listener_streams,
        sum(streams)::bigint as streams,
        sum(streams) filter (where is_settled)::bigint as settled_streams,

        bool_and(is_settled) as is_settled
    from track_days
    group by {{ id }}, engagement_context, engaged_spotify_track_id
),

final as (
    select
        -- keys
        {{ id }},
        engagement_context,
        engaged_spotify_track_id,

        -- attributes
        newest.account_id,
        newest.{{ subject }}_name,
        newest.engaged_track_name,
        newest.engaged_track_isrc,
        newest.is_promoted_track,
        first_report_date,
        last_report_date,

        -- measures
        days,
        days_settled,
        unique_listeners,
        coalesce(settled_unique_listeners, 0) as settled_unique_listeners,
        new_listener_streams,
        returning_listener_streams,
        streams,
        coalesce(settled_streams, 0) as settled_streams,

        -- ratio
        streams / nullif(unique_listeners, 0) as streams_per_unique_listener,

        -- status
        is_settled
    from tracks
)

select * from final
{%- endmacro %}
