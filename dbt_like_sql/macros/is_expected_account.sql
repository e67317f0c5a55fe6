{# Whether the account of a row is one that the settings name; before they were first kept, all are. #}
{% macro is_expected_account() -%}
(
            account in (select account from {{ source('soundlink', 'expected_accounts') }})
            or not exists (select 1 from {{ source('soundlink', 'expected_accounts') }})
        )
{%- endmacro %}
