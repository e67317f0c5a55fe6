-- The same track, store, month, country and currency in two files: most likely one statement was put there twice.
{{ config(severity='warn') }}

select
    isrc,
    store,
    sale_month,
    country_code,
    currency,
    count(distinct file) as files
from {{ ref('stg_distributor_statements') }}
group by isrc, store, sale_month, country_code, currency
having count(distinct file) > 1
