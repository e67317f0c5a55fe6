"""Folders of SQL models as people leave them behind: real projects' shapes, with files and YAML nodes mutated."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from datetime import date
from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml

from soundlink_pipeline_tests.support.sql_folder import FILES

# Beside the mutated files: nothing that happens to those may touch these.
HEALTHY = {
    "models/healthy/_healthy.yml": """
        models:
            - name: healthy_days
              config: {meta: {grain: [report_date]}}
              columns: [{name: report_date, data_tests: [not_null]}]
    """,
    "models/healthy/healthy_days.sql": """
        {{ config(materialized='table', schema='marts') }}
        select date '2026-04-01' as report_date, 1 as streams
    """,
    "models/healthy/healthy_total.sql": "select sum(streams) as streams from {{ ref('healthy_days') }}",
}
SHOP = {
    "dbt_project.yml": """
        name: shop
        version: '1.0'
        profile: shop
        vars: {least: 1, shop: {most: 9}}
        models: {shop: {+materialized: table, staging: {+schema: staging, materialized: view}}}
        data_tests: {shop: {+severity: warn}}
        on-run-start: ["select 1"]
    """,
    "macros/cents.sql": "{% macro cents(column) %}({{ column }} * 100)::bigint{% endmacro %}",
    "macros/even.sql": """
        {% test even(model, column_name, by=2) %}
        select * from {{ model }} where {{ column_name }} % {{ by }} <> 0
        {% endtest %}
    """,
    "models/staging/stg_orders.sql": """
        {{ config(tags=['daily'], meta={'team': 'a'}) }}
        select 1 as id, 2 as n, date '2026-01-01' as day, 'a' as kind, true as open
        union all select 2, {{ var('least') }}, date '2026-01-02', 'b', false
    """,
    "models/staging/stg_people.sql": "select 1 as id, 'x' as \"Full Name\", 0.2::decimal(9, 2) as share",
    "models/orders.sql": """
        {% set kinds = ['a', 'b'] %}
        select
            id,
            {% for kind in kinds %}
            {{ cents("n") }} as n_{{ kind }}{{ "," if not loop.last }}
            {% endfor %}
        from {{ ref('stg_orders') }}
    """,
    "models/people.sql": "{{ config(alias='persons', schema='people') }} select * from {{ ref('shop', 'stg_people') }}",
    "models/inlined.sql": "{{ config(materialized='ephemeral') }} select * from {{ ref('orders') }} -- all",
    "models/last.sql": "select count(*) as n from {{ ref('inlined') }} where id > {{ var('most') }}",
    "models/_models.yml": """
        version: 2
        models:
            - name: orders
              description: "{{ doc('orders') }}"
              config: {contract: {enforced: false}, tags: [b]}
              data_tests: [{unique: {column_name: id, config: {where: "id > 0"}}}]
              columns:
                  - name: id
                    data_tests:
                        - unique
                        - even: {by: 1, config: {severity: error}}
                        - relationships: {to: ref('stg_orders'), field: id, config: {error_if: "> 10", warn_if: "> 5"}}
            - name: stg_orders
              columns:
                  - {name: kind, tests: [{accepted_values: {arguments: {values: [a, b]}, config: {limit: 5}}}]}
                  - {name: open, tests: [{accepted_values: {values: [true, false]}}]}
                  - {name: day, tests: [{accepted_values: {values: [2026-01-01, 2026-01-02]}}]}
            - name: stg_people
              meta: {owner: 'team:people'}
              columns: [{name: Full Name, quote: true, description: Whole, data_tests: [not_null]}]
    """,
    "models/docs.md": "{% docs orders %}All orders.{% enddocs %}",
    "tests/no_orders_lost.sql": """
        {{ config(severity='warn', warn_if='>3') }}
        select * from {{ ref('orders') }} where id is null
    """,
    "seeds/countries.csv": "code,name\nDE,Germany\n",
    "snapshots/orders_snapshot.sql": "{% snapshot orders_snapshot %}select 1{% endsnapshot %}",
    "packages.yml": "packages: [{package: dbt-labs/dbt_utils, version: 1.3.0}]",
}

# What may stand in place of any node of a YAML file.
_NODES: list[Any] = [
    None,
    0,
    -1,
    3.5,
    True,
    "",
    "x",
    "{{ boom }}",
    "{{ 1 / 0 }}",
    "{% for",
    "{{ env_var('NOT_THERE') }}",
    [],
    {},
    [[]],
    [None],
    [1],
    {"name": None},
    {"name": 5},
    {"name": ["x"]},
    {None: 1},
    {5: {6: 7}},
    date(2026, 1, 1),
    "x" * 300,
    "\u202e\x07",
    ["a", ["b"]],
    {"config": []},
    "campaigns",
    "main",
    "information_schema",
    'we"ird',
    "order by",
    "a;b",
    "1=1) ; drop table x; --",
    "é",
]
# What may stand in place of a file, or of a piece of it.
_CONTENTS: list[bytes] = [
    b"",
    b"\n\n",
    b"-- nothing",
    b"\xff\xfe\x00",
    b"select 1 as a;",
    b"select 1 as a; select 2 as b",
    b"select 1 as a --",
    b"create table main.campaigns as select 1 as a",
    b"copy (select 1) to '/nonexistent/x'",
    b"attach ':memory:' as other",
    b"install httpfs",
    b"select 1 as a) ; drop table x; select (1",
    b"select * from read_csv('https://127.0.0.1:1/x.csv')",
    b"{{ config(enabled=false) }}",
    b"{{ config(materialized='table', schema='a\"b', alias='c d') }} select 1 as a",
    b"{{ config(schema='temp') }} select 1 as a",
    b"{{ config(schema=5) }} select 1 as a",
    b"{{ config(pre_hook='x') }} select 1 as a",
    b"{{ config(1) }} select 1 as a",
    b"{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
    b"{{ 'x' * 10 ** 12 }}",
    b"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    b"{{ run_query('select 1') }}",
    b"{{ adapter.quote('x') }} {{ 1 / 0 }}",
    b"{{ ref(5) }}",
    b"{{ ref('orders', v=2) }}",
    b"{{ source('a') }}",
    b"select {{ this }} as a",
    b'select 1 as a, 2 as A, null as b, 4 as ""',
    b"select * from {{ ref('daily') }} union select * from {{ ref('orders') }}",
    b"{{ ref('healthy_days').nothing }}",
    b"models:\n\t- name: x\n",
    b"a: &a [*a]\nmodels: *a",
    b"models: [{name: x, name: y}]",
    b"[" * 5000,
    b"a: 2026-13-45",
    b"? [a]\n: b",
    b"models: [{name: orders, columns: [{name: id, data_tests: [{unique: [1]}, 5, {a: 1, b: 2}]}]}]",
    b"{% snapshot x %}{% endsnapshot %}",
    b"{% macro generate_schema_name(a, b) %}{{ 1 / 0 }}{% endmacro %}",
    b"{% test even(model) %}",
    b"sources: [{name: soundlink, tables: 5}]",
    b"select * from (select 1 as a) where a = ?",
    b"pivot (select 1 as a, 2 as b) on a using sum(b)",
    b"select " + b"(" * 3000 + b"1",
]
_PATHS = [
    "models/new.sql",
    "models/campaigns.sql",
    "models/marts/campaign_country_daily.sql",
    "models/published_database.sql",
    "models/models.sql",
    "models/Daily.sql",
    "models/other/daily.sql",
    "models/a/orders.sql",
    "models/ORDERS.SQL",
    "models/my model.sql",
    "models/é.sql",
    "models/data_tests.sql",
    "models/2026.sql",
    "models/a.b.sql",
    "models/.sql",
    "models/_x.sql",
    "models/new.yml",
    "models/new.yaml",
    "models/x.py",
    "models/x.csv",
    "models/x.md",
    "models/marts/new.md",
    "tests/new.sql",
    "tests/data_tests.sql",
    "tests/daily.sql",
    "tests/generic/new.sql",
    "macros/new.sql",
    "macros/generate_schema_name.sql",
    "profiles.yml",
    "packages.yml",
    "seeds/x.csv",
    "snapshots/s.yml",
    "models/load_landed_deliveries.sql",
    "tests/x y.sql",
    "models/broken__new.sql",
]


def base(chance: random.Random, real: dict[str, bytes]) -> dict[str, bytes]:
    """A sound project: one made for tests, a shop's, or (seldom, for it is large) the pipeline's own."""
    made = chance.choice([FILES, SHOP, SHOP, SHOP])
    files = {name: dedent(text).lstrip("\n").encode() for name, text in made.items()}
    if chance.random() < 0.04:
        files = dict(real)
    return files


def mutated(files: dict[str, bytes], chance: random.Random) -> tuple[dict[str, bytes], list[str]]:
    """Up to four things that go wrong, and what they are."""
    kinds: list[Callable[[dict[str, bytes], random.Random], str]] = [
        _node,
        _node,
        _node,
        _bytes,
        _replace,
        _add,
        _add,
        _move,
    ]
    found = dict(files)
    return found, [chance.choice(kinds)(found, chance) for _ in range(chance.randint(1, 4))]


def write(folder: Path, files: dict[str, bytes], chance: random.Random) -> None:
    """The files, those that are healthy, and now and then something that is no file."""
    for name, content in {**files, **{name: dedent(text).encode() for name, text in HEALTHY.items()}}.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError:
            continue  # a mutation has made a folder of it, or a file of its folder
    for make in chance.sample(_NO_FILES, chance.choice([0, 0, 0, 1, 2])):
        try:
            make(folder)
        except OSError:
            continue


_NO_FILES: list[Callable[[Path], object]] = [
    lambda folder: (folder / "models/a_folder.sql").mkdir(),
    lambda folder: (folder / "models/a_folder.yml").mkdir(),
    lambda folder: (folder / "models/nowhere.sql").symlink_to(folder / "nothing"),
    lambda folder: (folder / "models/itself.sql").symlink_to(folder / "models/itself.sql"),
    lambda folder: (folder / "models/around").symlink_to(folder / "models"),
    lambda folder: os.mkfifo(folder / "models/pipe.sql"),
    lambda folder: Path(os.fsdecode(os.fsencode(folder / "models/") + b"/\xff.sql")).write_text("select 1 as a"),
    lambda folder: (folder / "models/locked.sql").touch(0o000),
]


def _pick(files: dict[str, bytes], chance: random.Random, *suffixes: str) -> str:
    return chance.choice(sorted(name for name in files if name.endswith(suffixes)))


def _node(files: dict[str, bytes], chance: random.Random) -> str:
    """Put something else in the place of a node of a YAML file."""
    names = [name for name in files if name.endswith(".yml")]
    if not names:
        return "nothing"
    # dbt_project.yml concerns every model: not so often.
    name = chance.choice([name for name in names if name != "dbt_project.yml" or chance.random() < 0.2] or names)
    try:
        content = yaml.safe_load(files[name])
    except (yaml.YAMLError, ValueError, RecursionError):
        return _bytes(files, chance)
    places = _places(content)
    if not places:
        return _bytes(files, chance)
    within, key = chance.choice(places)
    value = chance.choice(_NODES)
    if chance.random() < 0.15 and isinstance(within, dict):
        within[chance.choice(["data_tests", "config", "columns", "meta", "tests", "quote", "versions", "+schema"])] = (
            value
        )
    else:
        within[key] = value
    files[name] = yaml.safe_dump(content, allow_unicode=True).encode("utf-8", "surrogatepass")
    return f"{name}: {key} is {value!r}"


def _places(content: Any, depth: int = 12) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner if depth else ():
        found += [(content, key), *_places(value, depth - 1)]
    return found


def _bytes(files: dict[str, bytes], chance: random.Random) -> str:
    name = _pick(files, chance, "")
    content = files[name]
    at, until = sorted((chance.randint(0, len(content)), chance.randint(0, len(content))))
    until = min(until, at + 40)
    piece = chance.choice([b"", content[at:until] * 2, bytes(chance.randbytes(3)), chance.choice(_CONTENTS)])
    files[name] = content[:at] + piece + content[until:]
    return f"{name}: bytes {at} to {until} are {piece!r}"


def _replace(files: dict[str, bytes], chance: random.Random) -> str:
    name = _pick(files, chance, ".sql", ".yml", ".md", ".csv")
    files[name] = chance.choice(_CONTENTS)
    return f"{name} is {files[name][:60]!r}"


def _add(files: dict[str, bytes], chance: random.Random) -> str:
    name = chance.choice(_PATHS)
    files[name] = chance.choice([*_CONTENTS, *files.values()])
    return f"{name} is new: {files[name][:60]!r}"


def _move(files: dict[str, bytes], chance: random.Random) -> str:
    name, to = _pick(files, chance, ""), chance.choice(_PATHS)
    files[to] = files.pop(name)
    return f"{name} is now {to}"
