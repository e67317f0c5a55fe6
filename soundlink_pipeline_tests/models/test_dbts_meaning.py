"""Configuration, macros and tests mean what they mean to dbt; the values here are what dbt-core 1.11 gives.

What is not honoured is said in words. `make dbt` compares with dbt itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import duckdb
import pytest

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.models import verdicts
from soundlink_pipeline.models.build import build_models, check_models, run_tests
from soundlink_pipeline.models.project import SqlProject, read_project
from soundlink_pipeline.warehouse.instances import in_memory
from soundlink_pipeline.warehouse.sql import quote_name
from soundlink_pipeline.warehouse.tables import create, warehouse_tables

NAME = "name: p\n"
ROWS = """
    {{ config(materialized='table') }}
    select * from (values
        (1, 'a', true, date '2026-01-01', 0.2, 'x'),
        (2, 'b', false, date '2026-01-02', 0.5, 'x'),
        (2, 'b', true, date '2026-01-02', 0.5, null)
    ) as t (id, kind, open, day, share, "Full Name")
"""


@pytest.fixture(scope="module")
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with in_memory() as connection:
        connection.execute("set threads = 1")
        for table in warehouse_tables(EXPORTS):
            connection.execute(create(table))
        yield connection


@dataclass
class Built:
    """A folder that was read and built."""

    project: SqlProject
    connection: duckdb.DuckDBPyConnection

    def rows(self, table: str) -> list[Any]:
        return self.connection.execute(f"from {table} order by all").fetchall()

    def results(self) -> dict[str, verdicts.TestResult]:
        return {
            result.test.name: result
            for model in self.project.models.values()
            for result in run_tests(self.connection, self.project, model)
        }

    def outcomes(self) -> dict[str, tuple[str, int]]:
        return {name: (result.outcome, result.bad_rows) for name, result in self.results().items()}

    @property
    def told(self) -> str:
        return "\n".join(map(str, self.project.notices))


class Folder:
    """Makes folders of models, builds them, and clears away what was built."""

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.path, self.connection = path, connection
        self.built: list[SqlProject] = []

    def read(self, files: dict[str, str], **environment: str) -> SqlProject:
        for name, text in {"dbt_project.yml": NAME, **files}.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text).lstrip("\n"))
        project = read_project(self.path, environment)
        check_models(project)
        return project

    def __call__(self, files: dict[str, str], **environment: str) -> Built:
        project = self.read(files, **environment)
        assert {name: str(error) for name, error in project.errors.items()} == {}
        build_models(self.connection, project)
        self.built.append(project)
        return Built(project, self.connection)


@pytest.fixture
def folder(tmp_path: Path, warehouse: duckdb.DuckDBPyConnection) -> Iterator[Folder]:
    made = Folder(tmp_path, warehouse)
    yield made
    for project in made.built:
        for model in reversed(project.models.values()):
            if model.materialized != "ephemeral":
                kind = "view" if model.materialized == "view" else "table"
                warehouse.execute(f"drop {kind} if exists {model.relation} cascade")
            if model.schema != "main":
                warehouse.execute(f"drop schema if exists {quote_name(model.schema)} cascade")


SETTINGS = """
    name: p
    vars: {x: 2, p: {x: 1, text: "it's"}}
    models:
        +tags: all
        +meta: {a: 1, b: 1}
        p:
            schema: outer
            +materialized: table
            inner:
                schema: inner
                materialized: view
                tags: [deep]
                meta: {read: as a folder}
                last: {+alias: named}
"""
PROPERTIES = """
    models:
        - name: yaml
          config: {schema: yaml, materialized: table, tags: [y], meta: {b: 2, c: 2}}
        - name: both
          tags: [lost]
          meta: {b: 2, c: 2}
          config: {schema: yaml, alias: yaml_both, enabled: false}
"""
BOTH = "{{ config(schema='file', enabled=true, tags='f', meta={'c': 3}) }}{{ config(tags=['g']) }} select 1 as a"


def test_the_nearest_setting_counts_tags_add_up_and_meta_merges(folder: Folder) -> None:
    built = folder(
        {
            "dbt_project.yml": SETTINGS,
            "models/_models.yml": PROPERTIES,
            "models/outer.sql": "select 1 as a",
            "models/inner/inner.sql": "select 1 as a",
            "models/inner/last.sql": "select 1 as a",
            "models/inner/yaml.sql": "select 1 as a",
            "models/inner/both.sql": BOTH,
            "models/inner/off.sql": "{{ config(enabled=false) }} select nothing from nowhere",
        }
    )
    found = {
        name: (model.table, model.materialized, model.tags, model.config.meta())
        for name, model in built.project.models.items()
    }
    assert found == {
        "outer": ("main_outer.outer", "table", ("all",), {"a": 1, "b": 1}),
        "inner": ("main_inner.inner", "view", ("all", "deep"), {"a": 1, "b": 1}),
        "last": ("main_inner.named", "view", ("all", "deep"), {"a": 1, "b": 1}),
        "yaml": ("main_yaml.yaml", "table", ("all", "deep", "y"), {"a": 1, "b": 2, "c": 2}),
        "both": ("main_file.yaml_both", "view", ("all", "deep", "f", "g"), {"a": 1, "b": 2, "c": 3}),
    }
    assert "_models.yml, line 5: not honoured by soundlink: 'tags' of a model; it belongs into its config" in built.told
    assert "dbt_project.yml, line 13: applies to nothing: no folder or model p.inner.meta" in built.told


def test_the_projects_own_macros_name_the_tables(folder: Folder) -> None:
    macros = """
        {% macro generate_schema_name(custom_schema_name, node) -%}
            {% if node.name == 'b' %} {{ node.fqn[1] }} {% else %} {{ custom_schema_name or target.schema }} {% endif %}
        {%- endmacro %}
        {% macro generate_alias_name(custom_alias_name, node) %}
        {{ custom_alias_name or node.name ~ '_x' }}{% endmacro %}
    """
    built = folder(
        {
            "macros/names.sql": macros,
            "models/a.sql": "{{ config(schema='mine', alias='aa') }} select 1 as a",
            "models/deep/b.sql": "select * from {{ ref('a') }}",
            "models/c.sql": "select '{{ this }} {{ this.schema }} {{ this.identifier }}' as a",
        }
    )
    assert [model.table for model in built.project.models.values()] == ["mine.aa", "main.c_x", "deep.b_x"]
    assert built.rows("main.c_x") == [('"main"."c_x" main c_x',)]


def test_macros_vars_and_words_of_dbt(folder: Folder) -> None:
    macros = """
        {% macro cents(column, by=100) %}({{ column }} * {{ by }}){% endmacro %}
        {% macro _hidden() %}{{ return([3, 4]) }}{% endmacro %}
        {% macro wrapped() %}<{{ caller() }}>{% endmacro %}
        {% macro of_model() %}{{ model.name }} {{ ref('a') }} {{ var('x') }}{% endmacro %}
    """
    built = folder(
        {
            "dbt_project.yml": SETTINGS,
            "profiles.yml": "p: {target: t, outputs: {t: {type: duckdb, schema: main, threads: 3}}}",
            "macros/all.sql": macros,
            "models/a.sql": "select 7 as a",
            "models/b.sql": """
                {% set values = p._hidden() %}
                {% do log('x') %}
                {% if execute and not is_incremental() %}
                select
                    {{ cents('a') }} as cents,
                    {{ values[1] + 1 }} as five,
                    {{ var('x') }} as x, {{ var('none', 9) }} as nine,
                    '{{ env_var("HOME_TOWN") }} {{ env_var("NONE", "default") }}' as town,
                    '{{ target.name }} {{ target.type }} {{ target.schema }} {{ project_name }}' as target,
                    '{% call wrapped() %}in{% endcall %}' as wrapped,
                    '{{ of_model() }}' as of_model,
                    '{{ tojson({"k": [1, none]}) }} {{ config.get("schema") }}' as json
                from {{ ref('p', 'a') }}
                {% endif %}
            """,
        },
        HOME_TOWN="Rome",
    )
    assert built.rows("main_outer.b") == [
        (
            700,
            5,
            1,
            9,
            "Rome default",
            "default duckdb main p",
            "<in>",
            'b "main_outer"."a" 1',
            '{"k": [1, null]} outer',
        )
    ]


def test_an_ephemeral_model_is_read_where_it_is_named(folder: Folder) -> None:
    built = folder(
        {
            "models/a.sql": "{{ config(materialized='ephemeral') }} select 1 as a -- not the last line",
            "models/b.sql": "select a.a + 1 as b from {{ ref('a') }} as a",
            "models/_m.yml": "models: [{name: a, columns: [{name: a, data_tests: [not_null, unique]}]}]",
        }
    )
    assert built.rows("main.b") == [(2,)]
    assert built.outcomes() == {"not_null_a": ("pass", 0), "unique_a": ("pass", 0)}
    assert built.connection.execute("select 1 from duckdb_views() where view_name = 'a'").fetchall() == []


def with_columns(columns: str) -> dict[str, str]:
    entry = "models:\n  - name: m\n    columns:\n" + "".join(
        f"      - {line}\n" for line in columns.strip().splitlines()
    )
    return {"models/m.sql": ROWS, "models/_m.yml": entry}


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


def test_descriptions_become_comments_with_docs_blocks_and_as_persist_docs_says(folder: Folder) -> None:
    files = {
        "models/docs.md": "{% docs m %}\nTwo\nlines.\n{% enddocs %}",
        "models/m.sql": ROWS,
        "models/n.sql": "{{ config(persist_docs={'relation': true}) }} select 1 as id",
        "models/_m.yml": """
            models:
                - {name: m, description: "{{ doc('m') }}", columns: [{name: id, description: a  b}, {name: gone}]}
                - {name: n, description: Of n., columns: [{name: id, description: None}]}
        """,
    }
    built = folder(files)
    comments = built.connection.execute(
        "select comment from duckdb_tables() where table_name = 'm' union all"
        " select comment from duckdb_columns() where table_name in ('m', 'n') and column_name = 'id' union all"
        " select comment from duckdb_views() where view_name = 'n'"
    ).fetchall()
    assert comments == [("Two\nlines.",), ("a  b",), (None,), ("Of n.",)]
    assert "_m.yml, line 2: describes the column gone, which m does not have; it has id, kind, " in built.told


NOT_HONOURED = {
    "config(pre_hook='x')": "m.sql, line 1: not honoured by soundlink: pre_hook",
    "config(post_hook=['x'])": "m.sql, line 1: not honoured by soundlink: post_hook",
    "config(sql_header='x')": "m.sql, line 1: not honoured by soundlink: sql_header",
    "config(database='x')": "m.sql, line 1: not honoured by soundlink: database",
    "config(materialized='external')": "m.sql, line 1: not honoured by soundlink: materialized='external'",
    "run_query('select 1')": "m.sql, line 1: not honoured by soundlink: run_query",
    "adapter.dispatch('x')": "m.sql, line 1: not honoured by soundlink: adapter.dispatch",
    "dbt.type_string()": "m.sql, line 1: not honoured by soundlink: dbt.type_string",
    "dbt_utils.star(ref('m'))": "m.sql, line 1: not honoured by soundlink: dbt_utils.star",
    "target.path": "m.sql, line 1: not honoured by soundlink: target.path",
    "this.database": "m.sql, line 1: not honoured by soundlink: the database of a relation",
    "env_var('SOUNDLINK_API_KEY', '')": "not honoured by soundlink: env_var('SOUNDLINK_API_KEY'), a variable",
    "env_var('DBT_ENV_SECRET_X')": "not honoured by soundlink: env_var('DBT_ENV_SECRET_X'), a variable",
    "nobody": "m.sql, line 1: 'nobody' is undefined (not honoured by soundlink: a name without a meaning",
    "ref('other', 'm')": "m.sql, line 1: not honoured by soundlink: packages (other)",
    "ref('m', v=2)": "m.sql, line 1: not honoured by soundlink: versions of a model",
    "ref('seeded')": "m.sql, line 1: needs seeded: ",
    "ref('snapped')": "m.sql, line 1: needs snapped: ",
    "ref('yaml_snapshot')": "m.sql, line 1: needs yaml_snapshot: ",
    "a_package.x()": "m.sql, line 1: not honoured by soundlink: packages (a_package).x",
    "ref('of_a_package')": "there is no model 'of_a_package' to ref; not honoured by soundlink: packages",
}


@pytest.mark.parametrize("call", NOT_HONOURED)
def test_what_a_model_depends_on_and_is_not_honoured_costs_the_model(folder: Folder, call: str) -> None:
    project = folder.read(
        {
            "models/m.sql": f"select 1 as a {{{{ {call} }}}}",
            "models/other.sql": "select 1 as a",
            "models/_s.yml": "snapshots: [{name: yaml_snapshot, relation: ref('other')}]",
            "seeds/seeded.csv": "a\n1\n",
            "snapshots/s.sql": "{% snapshot snapped %}select 1{% endsnapshot %}",
            "packages.yml": "packages:\n  - package: me/a_package\n    version: 1.0.0\n",
        }
    )
    assert {*project.models} == {"other"}
    assert NOT_HONOURED[call] in str(project.errors["m"])
    assert "not honoured by soundlink: " in str(project.errors["m"])


def test_what_no_table_depends_on_is_said_once(folder: Folder) -> None:
    built = folder(
        {
            "dbt_project.yml": "name: p\non-run-start: [x]\nquoting: {schema: false}\nseeds: {p: {+enabled: false}}\n",
            "models/m.sql": "{{ config(grants={'select': ['x']}, my_own=1) }} select 1 as a",
            "models/_m.yml": """
                exposures: [{name: e}]
                unit_tests: [{name: u}]
                groups: [{name: g}]
                models: [{name: m, access: public, config: {group: g, contract: {enforced: true}}, constraints: [x]}]
                sources: [{name: s, freshness: {}, tables: [{name: t, columns: [{name: a, data_tests: [unique]}]}]}]
            """,
            "analyses/a.sql": "select",
            "macros/m.sql": "{% materialization own, default %}{{ x }}{% endmaterialization %}",
            ".dbtignore": "x",
        }
    )
    for told in (
        "dbt_project.yml, line 2: not honoured by soundlink: 'on-run-start'",
        "dbt_project.yml, line 3: not honoured by soundlink: 'quoting'",
        "dbt_project.yml, line 4: not honoured by soundlink: 'seeds'",
        "m.sql, line 1: not honoured by soundlink: config 'grants'",
        "m.sql, line 1: not honoured by soundlink: config 'my_own'",
        "_m.yml, line 1: not honoured by soundlink: exposures",
        "_m.yml, line 2: not honoured by soundlink: unit_tests",
        "_m.yml, line 3: not honoured by soundlink: groups",
        "_m.yml, line 4: not honoured by soundlink: 'access' of a model",
        "_m.yml, line 4: not honoured by soundlink: config 'group'",
        "_m.yml, line 4: not honoured by soundlink: config 'contract'",
        "_m.yml, line 4: not honoured by soundlink: 'constraints' of a model",
        "_m.yml, line 5: not honoured by soundlink: 'freshness' of a source",
        "_m.yml, line 5: not honoured by soundlink: tests of a source (s.t)",
        "analyses/a.sql: not honoured by soundlink: analyses",
        "macros/m.sql: not honoured by soundlink: the materialization own",
        ".dbtignore: not honoured by soundlink: .dbtignore",
    ):
        assert told in built.told
    assert built.rows("main.m") == [(1,)]


def test_a_switched_off_model_is_gone_and_what_refs_it_says_so(folder: Folder) -> None:
    project = folder.read(
        {
            "models/gone.sql": "{{ config(enabled=false) }} select 1 as a",
            "models/m.sql": "select * from {{ ref('gone') }}",
            "models/other.sql": "select 1 as a",
            "models/_m.yml": """
                models:
                    - {name: gone, columns: [{name: a, data_tests: [unique]}]}
                    - {name: other, columns: [{name: a, data_tests: [{relationships: {to: ref('gone'), field: a}}]}]}
            """,
        }
    )
    assert ({*project.models}, {*project.errors}) == ({"other"}, {"m"})
    assert "m.sql, line 1: needs gone: " in str(project.errors["m"])
    assert "gone.sql: is not enabled" in str(project.errors["m"])
    (test,) = project.tests
    assert "_m.yml, line 3: column a: needs gone: " in str(test.error)


def test_a_source_is_named_as_in_dbt_and_fills_no_model_of_its_name(folder: Folder) -> None:
    yaml = """
        sources:
            - name: main
              tables: [{name: "the campaigns", identifier: campaigns}, {name: campaigns_too, identifier: campaigns}]
            - {name: raw, schema: main, tables: [{name: orders, identifier: deliveries}]}
            - {name: absent, config: {enabled: false}, tables: [{name: t}]}
    """
    built = folder(
        {
            "models/_s.yml": yaml,
            "models/orders.sql": "select delivery_id from {{ source('raw', 'orders') }}",
            "models/m.sql": "select campaign_id from {{ source('main', 'the campaigns') }}",
        }
    )
    assert built.rows("main.orders") == []
    assert [source.assets for source in built.project.models["m"].sources] == [("campaigns",)]
    project = folder.read({"models/reads_off.sql": "select * from {{ source('absent', 't') }}"})
    assert "is not enabled" in str(project.errors["reads_off"])
