"""Macros, vars and expressions for generated models: what dbt people write between braces."""

from __future__ import annotations

from datetime import date
from random import Random
from typing import Any

from soundlink_pipeline_tests.models.same_as_dbt.values import Column, Type, literal

PROJECT = "soundlink"
# Set while both sides run; UNSET never is.
ENVIRONMENT = {"REGION": "it's set"}
UNSET = "REGION_UNSET"
VARS: dict[str, Any] = {"least": 1, "label": "top", "countries": ["US", "DE"], "flag": True, "since": date(2026, 1, 2)}
VARS |= {"empty": None, "share": 0.10, "of": {"kind": "b", "list": [1, None]}, "day as text": "2026-01-02"}
SCOPED_VARS: dict[str, Any] = {"label": "scoped", "most": 7}

MACROS = {
    "money.sql": """
        {# In cents, as text. #}
        {% macro cents(column, digits=2) -%}
            round({{ column }} * 100, {{ digits }})::varchar
        {%- endmacro %}

        {% macro twice(expression) %}({{ expression }} + {{ expression }}){% endmacro %}
        {% macro four_times(expression) %}{{ twice(twice(expression)) }}{% endmacro %}
    """,
    "texts/texts.sql": """
        Words outside of a macro are no matter.
        {% macro quoted(text) %}{{ return("'" ~ (text | replace("'", "''")) ~ "'") }}{% endmacro %}
        {% macro listed(items, mark="'") -%}
            {% for item in items %}{{ mark ~ item ~ mark }}{% if not loop.last %}, {% endif %}{% endfor %}
        {%- endmacro %}
        {% macro label() %}{{ var('label') }} in {{ target.name }}{% endmacro %}
        {% macro wrapped() %}coalesce({{ caller() }}, '-'){% endmacro %}
        {% macro of(model) %}{{ ref(model) }}{% endmacro %}
        {% macro all_of() %}{{ varargs | join('+') }}{{ kwargs | length }}{% endmacro %}
        {%- macro default_label(text=var('label')) -%}{{ text }}{%- endmacro -%}
    """,
}


def templated(rng: Random, taken: list[Column]) -> list[tuple[str, Type]]:
    """Expressions that need a template, with their type."""
    found: list[tuple[str, Type]] = [
        ("'{{ var('label') }}'", "text"),
        ("'{{ var(\"nowhere\", 'a default') }}'", "text"),
        ("{{ var('least') }}::bigint", "integer"),
        ("{{ var('most', 3) }}::bigint", "integer"),
        ("{{ quoted(env_var('REGION')) }}", "text"),
        (f"'{{{{ env_var('{UNSET}', 'unset') }}}}'", "text"),
        ("'{{ target.name }} {{ target.type }} {{ target.schema }}'", "text"),
        ("'{{ this.name }} {{ this.schema }} {{ this.identifier }}'", "text"),
        ("'{{ model.name }} {{ project_name }}'", "text"),
        ("'{{ label() }}'", "text"),
        ("date '{{ var('since') }}'", "date"),
        ("'{{ var('empty') }} {{ var('empty', 'full') }} {{ var('empty') is none }}'", "text"),
        ("'{{ var('share') }} {{ var('of').kind }} {{ var('of')['list'] }} {{ var('day as text') }}'", "text"),
        ("'{{ var('of').nothing is defined }} {{ var('countries')[0] }} {{ var('least') + 1 }}'", "text"),
        (f"{{{{ {PROJECT}.twice(21) }}}}::bigint", "integer"),
        ("{{ four_times('1') }}::bigint", "integer"),
        ("{{ ['a', 'b'] | length }}::bigint", "integer"),
        ("{% set told = 'told' %}'{{ told }}'", "text"),
        ("{% if var('flag') and target.type == 'duckdb' %}true{% else %}false{% endif %}", "boolean"),
        ("{% if execute %}true{% else %}false{% endif %}", "boolean"),
        ("{# nothing #}1::bigint", "integer"),
        ("{% raw %}'{{ raw }}'{% endraw %}", "text"),
        ("'{{ config.get('materialized') }} {{ config.get('nothing', 'nowhere') }}'", "text"),
        ("'{{ model.resource_type }} {{ model.package_name }} {{ model.config.materialized }}'", "text"),
        ("'{{ model.path }} {{ model.original_file_path }} {{ model.fqn | join('.') }}'", "text"),
        (
            "'{{ model.tags | unique | sort | join(' ') }} {{ config.get('tags', []) | unique | sort | join(' ') }}'",
            "text",
        ),
        ("{{ quoted(model.description) }}", "text"),
        ("'{{ model.unique_id }} {{ model.alias }} {{ model.schema }}'", "text"),
        (
            "{% set n = namespace(n=0) %}{% for i in range(4) %}{% set n.n = n.n + i %}{% endfor %}{{ n.n }}::bigint",
            "integer",
        ),
        ("{% set l = [] %}{% do l.append('a') %}{% do l.append('b') %}'{{ l | join }}'", "text"),
        ("'{{ tojson({'a': [1, none]}) }} {{ fromjson('[1, 2]')[1] }} {{ fromyaml('a: b').a }}'", "text"),
        ("'{{ modules.datetime.date(2026, 1, 31) }}'", "text"),
        ("'{{ \"%03d\" | format(7) }} {{ [3, 1] | sort | first }} {{ 'A b' | lower | replace(' ', '_') }}'", "text"),
        ("'{{ zip([1], [2]) | list | length }} {{ set([1, 1]) | length }} {{ none }} {{ true }} {{ 1.50 }}'", "text"),
        ("'{{ all_of(1, 2, a=3) }} {{ default_label() }} {{ default_label('own') }}'", "text"),
        ('\'{{ var.has_var("label") }} {{ target.get("name") }} {{ target.profile_name }}\'', "text"),
        ("{{ 'null' if var('nothing', none) is none else '1' }}::bigint", "integer"),
        ("'{% for a, b in {\"x\": 1}.items() %}{{ a }}{{ b }}{{ loop.index }}{% endfor %}'", "text"),
        ("'{{ project_name }}{% if is_incremental() %}i{% else %}f{% endif %}{{ flags.FULL_REFRESH }}'", "text"),
        ("{% call wrapped() %}null::varchar{% endcall %}", "text"),
    ]
    for column in taken:
        escaped = column.sql.replace("'", "\\'")
        if column.type in ("decimal", "integer"):
            found.append((f"{{{{ cents('{escaped}') }}}}", "text"))
        if column.type == "integer":
            found.append((f"{{{{ twice('{escaped}') }}}}::bigint", "integer"))
        if column.type == "text":
            found.append((f"({column.sql} in ({{{{ listed(var('countries')) }}}}))", "boolean"))
    return [found[rng.randrange(len(found))] for _ in range(3)]


def condition(rng: Random, columns: list[Column]) -> str:
    """A condition over a row, as a `where` has it."""
    column = rng.choice(columns)
    return rng.choice(
        (
            f"{column.sql} is not null",
            f"{column.sql} <> {literal(rng, column.type)}",
            f"{column.sql} is null or {column.sql} >= {literal(rng, column.type)}",
            "1 = {{ var('least') }}",
            "true",
        )
    )
