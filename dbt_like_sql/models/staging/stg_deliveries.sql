with source as (
    select * from {{ source('soundlink', 'deliveries') }}
),

final as (
    select
        -- key
        delivery_id,

        -- what was requested
        account,
        export,
        subject_id,
        row_subject_id,
        speaks_for,
        start_date,
        end_date,

        -- when
        requested_at,
        received_at,
        server_date,
        pulled_at,

        -- measures
        declared_rows,
        rows,
        bytes,
        inserted,
        updated,
        unchanged,
        ignored_as_older,

        -- origin
        sha256,
        unknown_fields,
        run_id,
        landed_file,
        load_order
    from source
)

select * from final
