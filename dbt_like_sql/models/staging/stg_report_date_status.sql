-- A table, as most marts read it: the view below goes through the whole ledger each time.
{{ config(materialized='table') }}

with source as (
    select * from {{ source('soundlink', 'report_date_status') }}
),

final as (
    select
        -- keys
        export,
        -- The ledger goes by the id in the request; the rows may carry another.
        coalesce(row_subject_id, subject_id) as subject_id,
        report_date,

        -- status
        max(last_pulled_at) as last_pulled_at,
        sum(deliveries)::bigint as deliveries,
        -- A day is final once any pull of it was: a settled day does not change any more.
        bool_or(is_settled) as is_settled
    from source
    group by all
)

select * from final
