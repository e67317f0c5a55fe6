"""Tests in a dbt project by hand, each with the verdict that dbt comes to."""

from __future__ import annotations

from soundlink_pipeline_tests.models.same_as_dbt.example import SETTINGS, TEN, Example

_VALUES = """
    select * from (values
        (1::bigint, true, 0.2::decimal(9, 2), 0.25::double, date '2026-01-01', 'US', 'a''b'),
        (2, false, 0.3, 0.5, date '2026-01-02', 'DE', '1'),
        (3, null, null, null, null, null, null)
    ) as t(id, flag, price, rate, day, country, odd)
"""
# By the test's name: its config, and the verdict on ten rows of which seven fail.
_JUDGED = {
    "where_chooses": ("{where: id < 3}", "pass"),
    "where_leaves_some": ("{where: id < 5}", "fail 2"),
    "where_with_template": ("""{where: "id < {{ var('most', 5) }}"}""", "fail 2"),
    "limit_cuts": ("{limit: 2}", "fail 2"),
    "limit_as_text": ("{limit: '2'}", "fail 2"),
    "limit_of_none": ("{limit: 0}", "pass"),
    "limit_below_error_if": ("{limit: 2, error_if: '>3'}", "warn 2"),
    "severity_in_any_case": ("{severity: WARN}", "warn 7"),
    "error_if_not_reached": ("{error_if: '>10'}", "warn 7"),
    "error_if_reached": ("{error_if: '>=7', warn_if: '>3'}", "fail 7"),
    "neither_reached": ("{error_if: '>10', warn_if: '>8'}", "pass"),
    "warn_if_alone": ("{warn_if: '>100'}", "fail 7"),
    "warn_knows_no_error_if": ("{severity: warn, error_if: '>3', warn_if: '>8'}", "pass"),
    "warn_with_warn_if": ("{severity: warn, warn_if: '>6'}", "warn 7"),
    "between": ("{error_if: between 5 and 9}", "fail 7"),
    "none_is_an_error": ("{where: id < 3, error_if: = 0}", "fail 0"),
    "no_condition_at_all": ("{error_if: foo}", "error"),
    "another_count": ("{fail_calc: sum(value_field)}", "fail 42"),
    "another_count_of_nothing": ("{where: id < 3, fail_calc: sum(value_field)}", "error"),
    "switched_off": ("{enabled: false}", ""),
}


def _judged() -> Example:
    tests = [
        f"          - accepted_values: {{name: {name}, arguments: {{values: [0, 1, 2]}}, config: {config}}}\n"
        for name, (config, _) in _JUDGED.items()
    ]
    yaml = "models:\n  - name: ten\n    columns:\n      - name: id\n        data_tests:\n" + "".join(tests)
    verdicts = {name: verdict for name, (_, verdict) in _JUDGED.items() if verdict}
    return Example({"models/ten.sql": TEN, "models/ten.yml": yaml}, verdicts)


OF_TESTS = {
    "accepted values of every type": Example(
        {
            "models/given.sql": _VALUES,
            "models/given.yml": """
                models:
                  - name: given
                    columns:
                      - name: flag
                        data_tests:
                          - accepted_values: {name: both, arguments: {values: [true, false]}}
                          - accepted_values: {name: only_true, arguments: {values: [true]}}
                          - accepted_values: {name: bare, arguments: {values: [true, false], quote: false}}
                          - accepted_values: {name: as_texts, arguments: {values: ["true", "no"]}}
                          - accepted_values: {name: no_boolean, arguments: {values: [maybe]}}
                      - name: id
                        data_tests:
                          - accepted_values: {name: ids, arguments: {values: [1, 2, 3]}}
                          - accepted_values: {name: two_ids, arguments: {values: [1, 2]}}
                          - accepted_values: {name: old_form, values: [1, 2]}
                          - accepted_values: {name: with_fraction, arguments: {values: [1.0, 2.0, 3.0]}}
                          - accepted_values: {name: bare_ids, arguments: {values: [1, 2, 3], quote: false}}
                          - accepted_values: {name: no_ids, arguments: {values: [a]}}
                          - accepted_values: {name: none_at_all, arguments: {values: []}}
                          - accepted_values: {name: with_null, arguments: {values: [1, null]}}
                      - name: price
                        data_tests:
                          - accepted_values: {name: prices, arguments: {values: [0.2, 0.3]}}
                          - accepted_values: {name: one_price, arguments: {values: [0.2]}}
                          - accepted_values: {name: bare_prices, arguments: {values: [0.2, 0.30], quote: false}}
                      - name: rate
                        data_tests:
                          - accepted_values: {name: rates, arguments: {values: [0.25, 5e-1]}}
                      - name: day
                        data_tests:
                          - accepted_values: {name: days, arguments: {values: [2026-01-01, 2026-01-02]}}
                          - accepted_values: {name: day_as_text, arguments: {values: ["2026-01-01"]}}
                          - accepted_values: {name: bare_days, arguments: {values: [2026-01-01], quote: false}}
                          - accepted_values:
                              {name: expression, arguments: {values: ["date '2026-01-01'", "day"], quote: false}}
                      - name: country
                        data_tests:
                          - accepted_values: {arguments: {values: [US]}}
                          - accepted_values: {arguments: {values: [DE]}}
                          - accepted_values: {name: countries, arguments: {values: [US, DE]}}
                          - accepted_values: {name: from_var, arguments: {values: "{{ var('countries', ['US']) }}"}}
                      - name: odd
                        data_tests:
                          - accepted_values: {name: number_in_text, arguments: {values: [1, "a''b"]}}
                          - accepted_values: {name: lone_quote, arguments: {values: ["a'b"]}}
            """,
        },
        {
            "both": "pass",
            "only_true": "fail 1",
            "bare": "pass",
            "as_texts": "pass",
            "no_boolean": "error",
            "ids": "pass",
            "two_ids": "fail 1",
            "old_form": "fail 1",
            "with_fraction": "pass",
            "bare_ids": "pass",
            "no_ids": "error",
            "none_at_all": "fail 3",
            "with_null": "error",
            "prices": "pass",
            "one_price": "fail 1",
            "bare_prices": "pass",
            "rates": "pass",
            "days": "pass",
            "day_as_text": "fail 1",
            "bare_days": "error",
            "expression": "error",  # the values are asked of a query that has no such column
            "accepted_values_country": "fail 1",
            "accepted_values_country_2": "fail 1",
            "countries": "pass",
            "from_var": "fail 1",
            "number_in_text": "pass",
            "lone_quote": "error",
        },
    ),
    "where, limit, severity, error_if, warn_if, fail_calc, enabled": _judged(),
    "columns that need quotes": Example(
        {
            "models/odd.sql": 'select 1 as "Total Spend", 2 as "select" union all select 1, null',
            "models/odd.yml": """
                models:
                  - name: odd
                    columns:
                      - name: Total Spend
                        quote: true
                        data_tests:
                          - not_null
                          - unique: {name: twice}
                          - accepted_values: {name: accepted, arguments: {values: [1]}}
                          - relationships: {name: itself, arguments: {to: ref('odd'), field: '"Total Spend"'}}
                      - name: select
                        quote: true
                        data_tests:
                          - not_null: {name: missing, config: {where: '"Total Spend" = 1'}}
            """,
        },
        {
            "not_null__Total_Spend_": "pass",
            "twice": "fail 1",
            "accepted": "pass",
            "itself": "pass",
            "missing": "fail 1",
        },
    ),
    "relationships": Example(
        {
            "models/child.sql": "select * from (values (1), (2), (2), (9), (9), (null)) as t(x)",
            "models/parent.sql": "select * from (values (1), (2), (null)) as t(y)",
            "models/models.yml": """
                sources:
                  - name: warehouse
                    schema: main
                    tables: [{name: countries}]
                models:
                  - name: child
                    columns:
                      - name: x
                        tests:
                          - relationships: {name: rows, arguments: {to: ref('parent'), field: y}}
                          - relationships:
                              {name: chosen, arguments: {to: ref('parent'), field: y}, config: {where: x < 5}}
                          - relationships: {name: old_form, to: "{{ ref('parent') }}", field: y, config: {limit: 1}}
                          - relationships: {name: no_field, to: ref('parent')}
                          - relationships:
                              name: to_source
                              arguments: {to: "source('warehouse', 'countries')", field: country_code}
                              config: {where: x is null}
                          - relationships: {name: to_nothing, arguments: {to: ref('nothing'), field: y}}
            """,
        },
        {"rows": "fail 2", "chosen": "pass", "old_form": "fail 1", "no_field": "error", "to_source": "pass"},
        left_out=("to_nothing",),
    ),
    "singular tests": Example(
        {
            "dbt_project.yml": SETTINGS
            + "data_tests: {soundlink: {+severity: warn, deep: {+limit: 3, severity: error}}}\n",
            "models/ten.sql": TEN,
            "models/ten.yml": "models: [{name: ten, columns: [{name: even, data_tests: [unique]}]}]",
            "tests/of_project.sql": "select * from {{ ref('ten') }} where id > 3 -- six",
            "tests/deep/of_folder.sql": "select * from {{ ref('ten') }} where id > 3",
            "tests/of_file.sql": """
                {{ config(severity='error', error_if='>100', warn_if='>2', limit=4) }}
                select * from {{ ref('ten') }} where id > 3
            """,
            "tests/of_yaml.sql": "select * from {{ ref('ten') }} where id > 3",
            "tests/of_file_and_yaml.sql": "{{ config(limit=4) }} select * from {{ ref('ten') }} where id > 3",
            "tests/off.sql": "{{ config(enabled=false) }} select * from {{ ref('ten') }}",
            "tests/with_where.sql": "{{ config(where='id < 5') }} select * from {{ ref('ten') }} where id > 3",
            "tests/with_semicolon.sql": "select * from {{ ref('ten') }};",
            "tests/of_no_model.sql": "select 1 as x",
            "tests/tests.yml": """
                data_tests:
                  - name: of_yaml
                    description: Has its settings here.
                    config: {severity: error}
                  - name: of_file_and_yaml
                    config: {severity: error, limit: 2}
            """,
        },
        {
            "unique_even": "warn 2",
            "of_project": "warn 6",
            "of_folder": "fail 3",
            "of_file": "warn 4",
            "of_yaml": "fail 6",
            "of_file_and_yaml": "fail 4",
            "with_where": "warn 6",
            "with_semicolon": "error",
            "of_no_model": "warn 1",
        },
    ),
    "the project's own generic tests": Example(
        {
            "dbt_project.yml": SETTINGS + "data_tests: {soundlink: {+limit: 5}}\n",
            "models/ten.sql": TEN,
            "macros/above.sql": """
                {% test above(model, column_name, most=2) %}
                    {{ config(severity='warn', limit=3) }}
                    select * from {{ model }} where {{ column_name }} > {{ most }}
                {% endtest %}
            """,
            "tests/generic/rows_of.sql": """
                {% test rows_of(model, count) %}
                    select n from (select count(*) as n from {{ model }}) where n <> {{ count }}
                {% endtest %}
            """,
            "models/ten.yml": """
                models:
                  - name: ten
                    data_tests:
                      - rows_of: {arguments: {count: 10}}
                      - rows_of: {name: half, arguments: {count: 10}, config: {where: even}}
                    columns:
                      - name: id
                        data_tests:
                          - above
                          - above: {name: nearest, arguments: {most: 3}, config: {severity: error, limit: 100}}
                          - nowhere
            """,
        },
        {
            "rows_of": "pass",
            "half": "fail 1",
            "above_id": "warn 3",
            "nearest": "fail 6",
            "nowhere_id": "error",
        },
    ),
    "a test of no model beside a model that is broken": Example(
        {
            "models/a_sound.sql": "select 1 as x",
            "models/z_broken.sql": "select no_such_column from {{ ref('a_sound') }}",
            "tests/of_no_model.sql": "select 1 as x",
        },
        {"of_no_model": "fail 1"},
        {"a_sound": "main.a_sound, view, "},
    ),
}
