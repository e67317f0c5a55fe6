-- Days that were pulled, but not for all that is listed and may have rows. The numbers there are right and incomplete.
{{ config(severity='warn') }}

select
    account,
    export,
    report_date,
    subjects_expected,
    subjects_pulled
from {{ ref('data_status') }}
where {{ within_window() }}
    and not is_complete
