"""Random models: their SQL, over sources, literals and each other, in the ways that dbt people write it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from soundlink_pipeline_tests.models.same_as_dbt.expressions import PROJECT, condition, templated
from soundlink_pipeline_tests.models.same_as_dbt.values import ODD_NAMES, SOURCES, VALUES, Column, literal

FOLDERS = ("", "staging", "marts", "marts/deep", "other")


@dataclass
class RandomModel:
    """A model in the making. `settings` are those that stand in the file, in its YAML entry, and in dbt_project.yml."""

    name: str
    folder: str
    columns: list[Column]
    sql: str
    refs: set[str] = field(default_factory=set)
    in_file: dict[str, Any] = field(default_factory=dict)
    in_yaml: dict[str, Any] = field(default_factory=dict)
    in_project: dict[str, Any] = field(default_factory=dict)
    incremental: bool = False
    disabled: bool = False

    @property
    def path(self) -> str:
        return "/".join(filter(None, ("models", self.folder, f"{self.name}.sql")))


_Maker = Callable[[Random, str, str, list[RandomModel]], RandomModel]


def random_models(rng: Random) -> list[RandomModel]:
    """Three to eight models, each over those before it."""
    models: list[RandomModel] = []
    names = [f"{rng.choice('abmz')}{number}_{rng.choice(('orders', 'daily', 'Model', 'x'))}" for number in range(8)]
    for name in names[: rng.randint(3, 8)]:
        folder = rng.choice(FOLDERS)
        makers: list[_Maker] = [_over_source, _of_literals]
        if models:
            makers += [_shaped, _shaped, _joined, _grouped, _union]
        models.append(rng.choice(makers)(rng, name, folder, models))
    if rng.random() < 0.3:
        models.append(_by_days(f"days_{len(models)}", rng))
    if rng.random() < 0.2:
        models.append(_broken(f"broken_{len(models)}", rng))
        models.append(_shaped(rng, f"over_{models[-1].name}", rng.choice(FOLDERS), models[-1:]))
    for number, model in enumerate(models):
        model.sql = _decorated(rng, model, models[:number])
    return models


def _broken(name: str, rng: Random) -> RandomModel:
    """A model that cannot be built, which costs only itself and what is over it."""
    sql = rng.choice(
        (
            "select no_such_column from {{ source('soundlink', 'campaigns') }}",
            "select * from no_such_table",
            "select 1::bigint as x;",
            "select 1::bigint as x, {{ no_such_macro() }}",
            "select {{ var('no_such_var') }} as x",
            "{% if execute %}{{ exceptions.raise_compiler_error('No.') }}{% endif %}select 1::bigint as x",
            "select 1::bigint as x frm nothing",
            "-- nothing",
            "{{ config(materialized='no_such_kind') }}select 1::bigint as x",
        )
    )
    return RandomModel(name, rng.choice(FOLDERS), [Column("x", "integer")], sql)


def _over_source(rng: Random, name: str, folder: str, _: list[RandomModel]) -> RandomModel:
    table = rng.choice(list(SOURCES))
    taken = rng.sample(SOURCES[table], rng.randint(2, len(SOURCES[table])))
    columns, lines = _renamed(rng, taken)
    lines, columns = _computed(rng, taken, lines, columns)
    source = rng.choice(
        (
            f"source('{PROJECT}', '{table}')",
            f'source("{PROJECT}", "{table}")',
            f"source('main', '{table}')",
            f"source('raw data', 'the {table}')",
            f"builtins.source('{PROJECT}', '{table}')",
        )
    )
    return RandomModel(name, folder, columns, f"select\n    {_lines(lines)}\nfrom {{{{ {source} }}}}")


def _of_literals(rng: Random, name: str, folder: str, _: list[RandomModel]) -> RandomModel:
    types = rng.sample(list(VALUES), rng.randint(2, 5))
    columns = [Column(_column_name(rng, type), type) for type in types]
    columns = [*{column.name.lower(): column for column in columns}.values()]
    rows = [", ".join(literal(rng, c.type, nulls=0.2) for c in columns) for _ in range(rng.randint(0, 6) or 1)]
    values = ",\n    ".join(f"({row})" for row in rows)
    names = ", ".join(column.sql for column in columns)
    return RandomModel(name, folder, columns, f"select * from (values\n    {values}\n) as given({names})")


def _shaped(rng: Random, name: str, folder: str, before: list[RandomModel]) -> RandomModel:
    of = rng.choice(before)
    taken = rng.sample(of.columns, rng.randint(1, len(of.columns)))
    columns, lines = _renamed(rng, taken)
    lines, columns = _computed(rng, taken, lines, columns)
    where = f"\nwhere {condition(rng, of.columns)}" if rng.random() < 0.4 else ""
    sql = f"with rows as (\n    select * from {_ref(rng, of)}\n)\nselect\n    {_lines(lines)}\nfrom rows{where}"
    return RandomModel(name, folder, columns, sql, {of.name})


def _joined(rng: Random, name: str, folder: str, before: list[RandomModel]) -> RandomModel:
    left, right = rng.choice(before), rng.choice(before)
    pairs = [(a, b) for a in left.columns for b in right.columns if a.type == b.type]
    if not pairs:
        return _shaped(rng, name, folder, before)
    on, to = rng.choice(pairs)
    columns = [*left.columns[:4], Column("joined", rng.choice(right.columns).type)]
    columns = [column for column in columns if column.name != "joined"] + columns[-1:]
    other = next(column for column in right.columns if column.type == columns[-1].type)
    lines = [f"a.{column.sql}" for column in columns[:-1]] + [f"b.{other.sql} as joined"]
    sql = f"select\n    {_lines(lines)}\nfrom {_ref(rng, left)} as a\n"
    sql += f"{rng.choice(('left join', 'join'))} {_ref(rng, right)} as b on a.{on.sql} = b.{to.sql}"
    return RandomModel(name, folder, columns, sql, {left.name, right.name})


def _grouped(rng: Random, name: str, folder: str, before: list[RandomModel]) -> RandomModel:
    of = rng.choice(before)
    key = rng.choice(of.columns)
    columns, lines = [key, Column("n", "integer")], [key.sql, "count(*) as n"]
    for column in of.columns:
        if column.type in ("integer", "decimal") and column is not key:
            type = "bigint" if column.type == "integer" else "decimal(18, 6)"
            columns.append(Column(f"sum_{len(columns)}_of_{of.name}", column.type))
            lines.append(f"sum({column.sql})::{type} as {columns[-1].name}")
    columns = [*{column.name.lower(): column for column in columns}.values()]
    if key.name.lower() == "n":
        columns, lines = [Column("n", "integer")], ["count(*) as n"]
    sql = f"select\n    {_lines(lines)}\nfrom {_ref(rng, of)}\ngroup by {key.sql}"
    return RandomModel(name, folder, columns, sql, {of.name})


def _union(rng: Random, name: str, folder: str, before: list[RandomModel]) -> RandomModel:
    of = rng.choice(before)
    parts = f"{{% for part in range({rng.randint(2, 3)}) %}}\n"
    parts += "{% if not loop.first %}union all{% endif %}\n"
    parts += f"select *, {{{{ part }}}}::bigint as part from {_ref(rng, of)}\n{{% endfor %}}"
    if rng.random() < 0.4:
        parts = f"{{%- for of in [ref('{of.name}'), of('{of.name}')] %}}\n{{{{ 'union all' if not loop.first }}}}\n"
        parts += "select *, {{ loop.index }}::bigint as part from {{ of }}\n{%- endfor %}"
    columns = [column for column in of.columns if column.name != "part"]
    if len(columns) < len(of.columns):
        return _shaped(rng, name, folder, before)
    return RandomModel(name, folder, [*columns, Column("part", "integer")], parts, {of.name})


def _by_days(name: str, rng: Random) -> RandomModel:
    """An incremental model as the pipeline has them: rebuilt by days."""
    columns = [Column("report_date", "date"), Column("country_code", "text"), Column("streams", "integer")]
    sql = """
select report_date, country_code, sum(streams)::bigint as streams
from {{ source('soundlink', 'campaign_country_daily') }}
{% if is_incremental() %}
where report_date between date '{{ var("start_date") }}' and date '{{ var("end_date") }}'
{% endif %}
group by report_date, country_code""".strip()
    if rng.random() < 0.5:
        known = "\n    and report_date <= (select max(report_date) from {{ this }})\n{% endif %}"
        sql = sql.replace("\n{% endif %}", known)
    model = RandomModel(name, rng.choice(FOLDERS), columns, sql, incremental=True)
    model.in_file = {"materialized": "incremental", "incremental_strategy": "delete+insert"}
    model.in_file["unique_key"] = rng.choice(("report_date", ["report_date", "country_code"]))
    return model


def _ref(rng: Random, model: RandomModel) -> str:
    named = f"'{model.name}'"
    inner = rng.choice((f"ref({named})", f'ref("{model.name}")', f"ref('{PROJECT}', {named})", f"of({named})"))
    set_before = f"{{% set found = {inner} %}}{{{{ found }}}}"
    return rng.choice((f"{{{{ {inner} }}}}", f"{{{{{inner}}}}}", f"{{{{- ' ' ~ {inner} -}}}} ", set_before))


def _column_name(rng: Random, type: str) -> str:
    return rng.choice(ODD_NAMES) if rng.random() < 0.15 else f"{type}_{rng.randint(1, 9)}"


def _renamed(rng: Random, taken: list[Column]) -> tuple[list[Column], list[str]]:
    columns: dict[str, Column] = {}
    lines = []
    for column in taken:
        name = _column_name(rng, column.type) if rng.random() < 0.3 else column.name
        if name.lower() not in columns:
            columns[name.lower()] = Column(name, column.type)
            renamed = columns[name.lower()].sql
            lines.append(column.sql if name == column.name else f"{column.sql} as {renamed}")
    return list(columns.values()), lines


def _computed(
    rng: Random, taken: list[Column], lines: list[str], columns: list[Column]
) -> tuple[list[str], list[Column]]:
    """And up to three columns that templates make."""
    lines, columns = [*lines], [*columns]
    for number in range(rng.randint(0, 3)):
        expression, type = rng.choice(templated(rng, taken))
        if not any(column.name == f"made_{number}" for column in columns):
            columns.append(Column(f"made_{number}", type))
            lines.append(f"{expression} as made_{number}")
    return lines, columns


def _decorated(rng: Random, model: RandomModel, before: list[RandomModel]) -> str:
    """With the comments and blanks that files have; dbt reads templates in SQL's comments, but not in Jinja's."""
    remarks = ["", "", "\n", "-- Says nothing.\n", "{# Says\nnothing. #}\n", "/* several\nlines */\n"]
    remarks += ["{# {{ config(enabled=false) }} {{ ref('nowhere') }} #}\n", "-- {{ config(tags=['in a comment']) }}\n"]
    remarks += [
        "{% if target.name == 'warehouse' %}{{ config(tags='if') }}{% else %}{{ config(tags='else') }}{% endif %}"
    ]
    remarks += ["{% set tags = ['set'] %}{{ config(tags=tags + [var('label')], meta={'of': target.name}) }}\n"]
    if before and rng.random() < 0.2:
        needed = rng.choice(before).name
        model.refs.add(needed)
        remarks = [f"-- depends_on: {{{{ ref('{needed}') }}}}\n"]
    behind = rng.choice(("", "\n", "\n\n", "\n-- the end", "\n{# the end #}\n"))
    return f"{rng.choice(remarks)}{model.sql}{behind}"


def _lines(lines: list[str]) -> str:
    return ",\n    ".join(lines)
