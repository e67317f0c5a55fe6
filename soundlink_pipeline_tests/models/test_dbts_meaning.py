"""Configuration, macros and descriptions mean what they mean to dbt; the values here are what dbt-core 1.11 gives.

What is not honoured is said in words. `make dbt` compares with dbt itself.
"""

from __future__ import annotations

import pytest

from soundlink_pipeline_tests.models.dbt_folder import ROWS, Folder

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
