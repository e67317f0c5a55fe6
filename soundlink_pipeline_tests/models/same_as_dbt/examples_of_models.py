"""Models and their configuration in a dbt project by hand, each with the table that dbt makes."""

from __future__ import annotations

from soundlink_pipeline_tests.models.same_as_dbt.example import SETTINGS, TEN, Example

OF_MODELS = {
    "what a model's file, its YAML and the project say": Example(
        {
            "dbt_project.yml": SETTINGS
            + """
models:
  +tags: [top]
  soundlink:
    +materialized: table
    +tags: [project]
    a:
      materialized: view
      schema: of_a
      +tags: [a]
      meta: {is: a folder}
      deep:
        +materialized: table
        +schema: of_deep
        tags: deep
      named: {+alias: by_name, +schema: of_name}
    hidden:
      enabled: false
""",
            "models/plain.sql": "select 0 as x",
            "models/a/in_file.sql": "{{ config(materialized='table', schema='of_file', tags='file') }} select 1 as x",
            "models/a/in_yaml.sql": "select 1 as x",
            "models/a/named.sql": "select 1 as x",
            "models/a/deep/inner.sql": "select 1 as x",
            "models/a/deep/twice.sql": "{{ config(materialized='view', tags='b') }}{{ config(tags='c') }} select 1",
            "models/hidden/stays_off.sql": "select 1 as x",
            "models/hidden/on_in_file.sql": "{{ config(enabled=true) }} select 1 as x",
            "models/hidden/on_in_yaml.sql": "select 1 as x",
            "models/models.yml": """
                models:
                  - name: in_file
                    config: {materialized: view, schema: of_yaml, alias: named_in_yaml, tags: [yaml]}
                  - name: in_yaml
                    tags: [no config]
                    config: {materialized: table, schema: of_yaml}
                  - name: on_in_yaml
                    config: {enabled: true}
                  - name: stays_off
                    columns: [{name: x, data_tests: [unique]}]
                  - name: plain
                    columns:
                      - name: x
                        data_tests:
                          - relationships: {arguments: {to: ref('stays_off'), field: x}}
            """,
            "tests/of_what_is_off.sql": "select * from {{ ref('stays_off') }}",
        },
        {},
        {
            "plain": "main.plain, table, project top",
            "in_file": "main_of_file.named_in_yaml, table, a file project top yaml",
            "in_yaml": "main_of_yaml.in_yaml, table, a project top",
            "named": "main_of_name.by_name, view, a project top",
            "inner": "main_of_deep.inner, table, a deep project top",
            "twice": "main_of_deep.twice, view, a b c deep project top",
            "on_in_file": "main.on_in_file, table, project top",
            "on_in_yaml": "main.on_in_yaml, table, project top",
        },
        left_out=("relationships_x", "of_what_is_off"),
    ),
    "the project's own schema and alias": Example(
        {
            "dbt_project.yml": SETTINGS + "models: {soundlink: {a: {+schema: ' marts '}, b: {+schema: Other}}}\n",
            "macros/names.sql": """
                {% macro generate_schema_name(custom_schema_name, node) -%}
                    {%- if custom_schema_name is none -%}{{ target.schema }}
                    {%- elif node.name == 'second' -%}of_{{ node.name }}_{{ custom_schema_name | trim | lower }}
                    {%- else -%}{{ custom_schema_name | trim }}{%- endif -%}
                {%- endmacro %}
                {% macro generate_alias_name(custom_alias_name=none, node=none) -%}
                    {{ custom_alias_name ~ '_x' if custom_alias_name else node.name }}
                {%- endmacro %}
            """,
            "models/a/first.sql": "{{ config(alias='one') }} select 1 as x",
            "models/b/second.sql": "select * from {{ ref('first') }}",
            "models/third.sql": "select * from {{ ref('soundlink', 'second') }}",
        },
        {},
        {"first": "marts.one_x, view, ", "second": "of_second_other.second, view, ", "third": "main.third, view, "},
    ),
    "macros and what templates know": Example(
        {
            "dbt_project.yml": SETTINGS + "vars: {label: top, soundlink: {label: scoped}}\n",
            "macros/all.sql": """
                {% macro double(x) %}({{ x }} * 2){% endmacro %}
                {% macro list_of(things) %}{{ return(things | map('upper') | list) }}{% endmacro %}
                {% macro wrapped() %}<{{ caller() }}>{% endmacro %}
            """,
            "models/numbers.sql": "select {{ double(double(3)) }} + {{ soundlink.double(1) }} as x",
            "models/texts.sql": "select '{{ list_of(['a', 'b']) | join }}{% call wrapped() %}c{% endcall %}' as x",
            "models/known.sql": """
                select '{{ target.name }} {{ target.schema }} {{ this.name }} {{ var("label") }}' as x
            """,
            "models/defaults.sql": 'select \'{{ var("nowhere", 1) }} {{ env_var("REGION_UNSET", "none") }}\' as x',
            "models/unknown_macro.sql": "select {{ nobody() }} as x",
            "models/no_var.sql": "select {{ var('nowhere') }} as x",
        },
        {},
        {
            "numbers": "main.numbers, view, ",
            "texts": "main.texts, view, ",
            "known": "main.known, view, ",
            "defaults": "main.defaults, view, ",
        },
        {
            "numbers": [14],
            "texts": ["AB<c>"],
            "known": ["warehouse main known scoped"],
            "defaults": ["1 none"],
        },
    ),
    "an incremental model that reads its own table": Example(
        {
            "models/daily.sql": """
                {{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='report_date') }}
                select report_date from {{ source('main', 'campaign_country_daily') }}
                {% if is_incremental() %}
                where report_date >= (select max(report_date) from {{ this }})
                {% endif %}
                group by all
            """,
            "models/daily.yml": """
                sources: [{name: main, tables: [{name: campaign_country_daily}]}]
                models:
                  - name: daily
                    config: {meta: {grain: [report_date]}}
                    data_tests: [unique: {column_name: report_date}]
            """,
        },
        {"unique_report_date": "pass"},
        {"daily": "main.daily, table, "},
    ),
    "templates in dbt_project.yml": Example(
        {
            "dbt_project.yml": SETTINGS
            + """
vars: {kind: table, least: 5}
models:
  soundlink:
    +materialized: "{{ 'table' if target.type == 'duckdb' else 'view' }}"
    +schema: "{{ var('kind', 'no_var_of_this_file') }}"
    hidden: {+enabled: "{{ target.name == 'elsewhere' }}"}
data_tests:
  soundlink:
    +where: "id > {{ var('least', 8) }}"
""",
            "models/ten.sql": TEN,
            "models/hidden/not_here.sql": "select 1 as x",
            "models/ten.yml": """
                models: [{name: ten, columns: [{name: id, data_tests: [accepted_values: {arguments: {values: [0]}}]}]}]
            """,
        },
        {"accepted_values_id": "fail 1"},
        {"ten": "main_no_var_of_this_file.ten, table, "},
    ),
    "null and nothing": Example(
        {
            "dbt_project.yml": SETTINGS
            + """
models: {soundlink: {+schema: of_project, within: {+schema: null}}}
data_tests: {soundlink: {+limit: 2, within: {+limit: null}}}
""",
            "models/in_file.sql": "{{ config(schema=none) }} select 1 as x",
            "models/in_yaml.sql": "select 1 as x",
            "models/within/in_project.sql": "select 1 as x",
            "models/empty.sql": "{{ config(schema='') }} select 1 as x",
            "models/ten.sql": TEN,
            "models/models.yml": """
                models:
                  - name: in_yaml
                    config: {schema: null}
                  - name: ten
                    columns:
                      - name: id
                        data_tests:
                          - accepted_values: {arguments: {values: [1]}, config: {limit: null}}
            """,
            "tests/in_test_file.sql": "{{ config(limit=none) }} select * from {{ ref('ten') }}",
            "tests/in_test_yaml.sql": "select * from {{ ref('ten') }}",
            "tests/within/in_test_project.sql": "select * from {{ ref('ten') }}",
            "tests/tests.yml": "data_tests: [{name: in_test_yaml, config: {limit: null}}]",
        },
        {
            "accepted_values_id": "fail 2",
            "in_test_file": "fail 2",
            "in_test_yaml": "fail 2",
            "in_test_project": "fail 10",
        },
        {
            "in_file": "main.in_file, view, ",
            "in_yaml": "main.in_yaml, view, ",
            "in_project": "main.in_project, view, ",
            "empty": "main_.empty, view, ",
            "ten": "main_of_project.ten, view, ",
        },
    ),
    "SQL that does not end well": Example(
        {
            "models/comment.sql": "select 1 as x -- the end",
            "models/semicolon.sql": "select 1 as x;",
            "models/only_comment.sql": "-- nothing",
            "models/empty.sql": "",
            "models/two.sql": "select 1 as x; select 2 as x",
            "models/behind.sql": "select * from {{ ref('semicolon') }}",
        },
        {},
        {"comment": "main.comment, view, "},
    ),
}
