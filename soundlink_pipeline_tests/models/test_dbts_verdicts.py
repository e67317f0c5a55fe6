"""Tests of data compare, count and judge as they do in dbt; the values here are what dbt-core 1.11 gives."""

from __future__ import annotations

from soundlink_pipeline.models.build import run_tests
from soundlink_pipeline_tests.models.dbt_folder import ROWS, Folder, with_columns

KINDS = [
    ("{name: open, tests: [{accepted_values: {values: [true, false]}}]}", ("pass", 0)),
    ("{name: open, tests: [{accepted_values: {values: [true]}}]}", ("fail", 1)),
    ("{name: id, tests: [{accepted_values: {values: [1, 2]}}]}", ("pass", 0)),
    ("{name: id, tests: [{accepted_values: {values: ['1', 3]}}]}", ("fail", 1)),
    ("{name: share, tests: [{accepted_values: {values: [0.2, 0.5]}}]}", ("pass", 0)),
    ("{name: share, tests: [{accepted_values: {values: [0.2], quote: false}}]}", ("fail", 1)),
    ("{name: day, tests: [{accepted_values: {values: [2026-01-01, 2026-01-02]}}]}", ("pass", 0)),
    ("{name: day, tests: [{accepted_values: {values: [\"date '2026-01-01'\"], quote: false}}]}", ("fail", 1)),
    ("{name: kind, tests: [{accepted_values: {arguments: {values: [a]}}}]}", ("fail", 1)),
    ("{name: kind, tests: [{accepted_values: {values: [a, it''s]}}]}", ("fail", 1)),
    ("{name: kind, tests: [{accepted_values: {values: []}}]}", ("fail", 2)),
    ("{name: id, tests: [{accepted_values: {values: [a]}}]}", ("error", 0)),
    ('{name: kind, tests: [{accepted_values: {values: ["it\'s"]}}]}', ("error", 0)),
    ("{name: id, data_tests: [unique]}", ("fail", 1)),
    ("{name: Full Name, quote: true, data_tests: [not_null]}", ("fail", 1)),
    ("{name: Full Name, data_tests: [not_null]}", ("error", 0)),
    ("{name: id, data_tests: [{relationships: {to: ref('m'), field: id}}]}", ("pass", 0)),
    ("{name: kind, data_tests: [{relationships: {to: \"{{ ref('m') }}\", field: '\"Full Name\"'}}]}", ("fail", 3)),
    ("{name: id, data_tests: [{relationships: {to: \"source('s', 'campaigns')\", field: campaign_id}}]}", ("fail", 3)),
    (
        "{name: kind, data_tests: [{relationships: {to: \"source('s', 'campaigns')\", field: campaign_id}}]}",
        ("fail", 3),
    ),
    ("{name: id, data_tests: [{test_name: unique, config: {where: \"kind = 'a'\"}}]}", ("pass", 0)),
    ("{name: id, data_tests: [{unique: {where: open}}]}", ("pass", 0)),
    ("{name: Full Name, quote: true, data_tests: [{not_null: {config: {where: id = 1}}}]}", ("pass", 0)),
]


def test_the_four_kinds_of_tests_compare_as_dbt_does(folder: Folder) -> None:
    sources = "sources: [{name: s, schema: main, tables: [{name: campaigns}]}]"
    files = with_columns("\n".join(columns for columns, _ in KINDS))
    built = folder({**files, "models/_s.yml": sources.replace("[{name: s", "\n  - {name: s").replace("]}]", "]}")})
    results = [
        run for model in built.project.models.values() for run in run_tests(built.connection, built.project, model)
    ]
    results.sort(key=lambda result: result.test.line or 0)
    got = [(columns, (result.outcome, result.bad_rows)) for (columns, _), result in zip(KINDS, results, strict=True)]
    assert got == KINDS


VERDICTS = [
    ("{}", ("fail", 2)),
    ("{severity: WARN}", ("warn", 2)),
    ("{error_if: '> 5'}", ("warn", 2)),
    ("{error_if: '> 5', warn_if: '> 2'}", ("pass", 0)),
    ("{warn_if: '> 100'}", ("fail", 2)),
    ("{severity: warn, warn_if: '> 2', error_if: '> 1'}", ("pass", 0)),
    ("{error_if: between 2 and 3}", ("fail", 2)),
    ("{error_if: = 0}", ("warn", 2)),
    ("{limit: 1}", ("fail", 1)),
    ("{limit: 1, error_if: '> 1'}", ("warn", 1)),
    ("{limit: '1'}", ("fail", 1)),
    ("{limit: 0}", ("pass", 0)),
    ("{fail_calc: sum(id), error_if: '>= 4'}", ("fail", 4)),
    ("{fail_calc: sum(id), where: id = 7}", ("error", 0)),
    ("{fail_calc: id}", ("error", 0)),
    ("{fail_calc: id, where: id = 7}", ("error", 0)),
    ("{fail_calc: \"max('NaN'::double)\"}", ("error", 0)),
    ("{where: id = 1}", ("pass", 0)),
    ("{error_if: foo}", ("error", 0)),
    ("{severity: \"{{ 'warn' if var('soft', true) else 'error' }}\"}", ("warn", 2)),
]


def test_severity_conditions_and_limit_decide_as_in_dbt(folder: Folder) -> None:
    entries = "".join(
        f"      - {{not_one: {{column_name: id, name: t{number}, config: {config}}}}}\n"
        for number, (config, _) in enumerate(VERDICTS)
    )
    macro = "{% test not_one(model, column_name) %}select * from {{ model }} where {{ column_name }} <> 1{% endtest %}"
    yaml = f"models:\n  - name: m\n    data_tests:\n{entries}"
    built = folder({"models/m.sql": ROWS, "models/_m.yml": yaml, "tests/generic/not_one.sql": macro})
    outcomes = built.outcomes()
    assert [(config, outcomes[f"t{number}"]) for number, (config, _) in enumerate(VERDICTS)] == VERDICTS


def test_failing_rows_are_shown_whatever_they_hold(folder: Folder) -> None:
    # No timedelta of Python's is that long.
    rows = "select interval '100000000 years' as age, null as kind"
    yaml = "models:\n  - name: m\n    columns: [{name: kind, data_tests: [not_null]}]\n"
    (result,) = folder({"models/m.sql": rows, "models/_m.yml": yaml}).results().values()
    assert (result.outcome, result.bad_rows, result.columns, result.rows) == (
        "fail",
        1,
        ["age", "kind"],
        [("100000000 years", None)],
    )


def test_a_setting_that_no_test_has_is_told(folder: Folder) -> None:
    yaml = """
        models:
          - name: m
            columns:
              - name: id
                data_tests:
                  - not_null: {config: {severty: warn}}
    """
    built = folder({"models/m.sql": ROWS, "models/_m.yml": yaml})
    assert "_m.yml, line 6: not honoured by soundlink: config 'severty' of a test" in built.told


def test_own_generic_tests_and_who_overrides_whom(folder: Folder) -> None:
    macros = """
        {% test at_most(model, column_name, most=1, other=none) %}
        {{ config(severity='warn', limit=1) }}
        select * from {{ model }} where {{ column_name }} > {{ most }}
        {% if other %}and {{ column_name }} in (select id from {{ other }}){% endif %}
        {% endtest %}
        {% test not_null(model, column_name) %}select 1 as own from {{ model }} limit 3{% endtest %}
    """
    columns = """
        {name: id, data_tests: [at_most, {at_most: {name: errs, most: 0, config: {severity: error, limit: 5}}}]}
        {name: id, data_tests: [{at_most: {name: none_above, arguments: {most: 2, other: ref('m')}}}, not_null]}
    """
    built = folder(
        {
            **with_columns(columns),
            "macros/tests.sql": macros,
            "dbt_project.yml": """
                name: p
                data_tests: {p: {+severity: warn, +warn_if: '> 0', singular: {+enabled: false}}}
            """,
            "tests/plain.sql": "select * from {{ ref('m') }} where id = 2",
            "tests/own.sql": "{{ config(severity='error', error_if='> 1', limit=7) }} select * from {{ ref('m') }}",
            "tests/singular/off.sql": "select nonsense",
        }
    )
    assert built.outcomes() == {
        "at_most_id": ("warn", 1),
        "errs": ("fail", 3),
        "none_above": ("pass", 0),
        "not_null_id": ("warn", 3),
        "plain": ("warn", 2),
        "own": ("fail", 3),
    }


def test_switched_off_tests_and_described_singular_ones(folder: Folder) -> None:
    yaml = """
        models:
            - name: m
              columns: [{name: id, data_tests: [{unique: {config: {enabled: false}}}]}]
        data_tests:
            - {name: soft, description: Softly., config: {severity: warn}}
            - {name: switched_off, config: {enabled: "{{ 1 == 2 }}"}}
    """
    built = folder(
        {
            "models/m.sql": ROWS,
            "models/_m.yml": yaml,
            "tests/soft.sql": "select 1 as a from {{ ref('m') }}",
            "tests/switched_off.sql": "select 1",
        }
    )
    (result,) = built.results().values()
    assert (result.outcome, result.bad_rows, result.test.description) == ("warn", 3, "Softly.")
