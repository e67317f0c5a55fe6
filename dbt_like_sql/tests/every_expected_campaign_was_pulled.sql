-- Days that were pulled, but not for every listed campaign that may have rows. The numbers there are right and incomplete.
{{ config(severity='warn') }}

select
    export,
    report_date,
    campaigns_expected,
    campaigns_pulled
from {{ ref('data_status') }}
where {{ within_window() }}
    and not is_complete
