"""Random configuration: one setting in up to three places, which contradict each other."""

from __future__ import annotations

from random import Random
from typing import Any

from soundlink_pipeline_tests.models.same_as_dbt.expressions import PROJECT
from soundlink_pipeline_tests.models.same_as_dbt.random_models import FOLDERS, RandomModel

_TEXTS = ["One row per day.", 'It\'s "quoted" here.', "Two\nlines", "Größe: 🎧 {not a template}", "a  b   c", "-- ; '"]
SCHEMA_MACROS = (
    "",
    """
    {% macro generate_schema_name(custom_schema_name, node) -%}
        {{ (custom_schema_name or target.schema) | trim }}
    {%- endmacro %}
    """,
    """
    {% macro generate_schema_name(custom_schema_name, node) -%}
        {%- if custom_schema_name is none -%}
            {{ target.schema }}
        {%- elif node.name.startswith('a') -%}
            of_a_{{ custom_schema_name | trim | lower }}
        {%- else -%}
            {{ custom_schema_name | trim }}
        {%- endif -%}
    {%- endmacro %}
    """,
)
ALIAS_MACROS = (
    "",
    "",
    """
    {% macro generate_alias_name(custom_alias_name=none, node=none) -%}
        {%- if custom_alias_name -%}{{ custom_alias_name | trim }}{%- else -%}
            the_{{ node.name }}{{ '_v' ~ node.version if node.version }}
        {%- endif -%}
    {%- endmacro %}
    """,
)


def settings(rng: Random, models: list[RandomModel]) -> dict[str, Any]:
    """Settles what stands in each model's file and YAML, and gives what stands in dbt_project.yml under `models:`."""
    used = {name for model in models for name in model.refs}
    for model in models:
        _of_model(rng, model, may_be_off=model.name not in used)
    return _of_folders(rng, models)


def _of_model(rng: Random, model: RandomModel, *, may_be_off: bool) -> None:
    if not model.incremental:
        for place in _places(rng, model):
            place["materialized"] = rng.choice(("view", "table"))
    for place in _places(rng, model):
        place["schema"] = rng.choice(("staging", "marts", " spaced ", "Upper", "odd-schema"))
    for place in _places(rng, model, most=2):
        place["alias"] = f"{rng.choice(('named', 'Named', 'odd name', '2nd'))}_{model.name}"
    for place in _places(rng, model):
        place["tags"] = rng.choice((["nightly"], "daily", ["a", "b"], ["nightly", "c"]))
    for place in _places(rng, model):
        place["meta"] = dict(rng.sample([("owner", "team:x"), ("level", 1), ("level", 2), ("list", [1])], 2))
    for place in _places(rng, model, most=1):
        place["persist_docs"] = rng.choice(({"relation": True}, {"relation": False, "columns": True}))
    for place in _places(rng, model, most=1):
        place["enabled"] = True
    if may_be_off and rng.random() < 0.2:
        model.disabled = True
        place = rng.choice((model.in_file, model.in_yaml, model.in_project))
        place["enabled"] = False
        for stronger in {id(model.in_project): (model.in_yaml, model.in_file), id(model.in_yaml): (model.in_file,)}.get(
            id(place), ()
        ):
            stronger.pop("enabled", None)
    if model.incremental:
        model.in_yaml.setdefault("meta", {})["grain"] = ["report_date", "country_code"]
        model.in_file.get("meta", {}).pop("grain", None)


def _places(rng: Random, model: RandomModel, most: int = 3) -> list[dict[str, Any]]:
    """Where a setting stands: mostly nowhere or once."""
    number = rng.choice((0, 0, 0, 1, 1, 2, 3))
    return rng.sample([model.in_file, model.in_yaml, model.in_project], min(number, most))


def _of_folders(rng: Random, models: list[RandomModel]) -> dict[str, Any]:
    """The tree under `models:`, with and without +; a map without + is a folder to dbt, so maps always have it."""
    tree: dict[str, Any] = {}
    documented = rng.choice(({"relation": True, "columns": True}, {"relation": True}, {"columns": True}))
    own: dict[str, Any] = {"+persist_docs": documented}
    if rng.random() < 0.4:
        tree["+tags"] = ["of all"]
    if rng.random() < 0.3:
        tree["+meta"] = {"all": 1, "level": 0}
    for folder in FOLDERS:
        level = own
        for part in filter(None, folder.split("/")):
            level = level.setdefault(part, {})
        for key, values in (
            ("materialized", ("view", "table", "{{ 'table' if target.type == 'duckdb' else 'view' }}")),
            ("schema", ("of_folder", "marts", "{{ target.name }}_x")),
            ("persist_docs", ({"relation": True, "columns": True}, {"columns": False}, {"relation": True})),
            ("tags", (["of folder"], "one")),
            ("meta", ({"level": 5}, {"folder": "yes"})),
        ):
            if rng.random() < 0.25:
                value = rng.choice(values)
                level[_key(rng, key, value)] = value
    _switch_off(rng, models, own)
    for model in models:
        if model.in_project:
            level = own
            for part in filter(None, model.folder.split("/")):
                level = level.setdefault(part, {})
            level[model.name] = {_key(rng, key, value): value for key, value in model.in_project.items()}
    tree[PROJECT] = own
    return tree


def _switch_off(rng: Random, models: list[RandomModel], own: dict[str, Any]) -> None:
    """A folder that is not enabled, where nothing needs its models; some of them are nevertheless."""
    folder = rng.choice(FOLDERS[1:])
    within = [model for model in models if f"{model.folder}/".startswith(f"{folder}/")]
    needed = {name for model in models for name in model.refs}
    if rng.random() < 0.7 or any(model.name in needed or model.disabled for model in within):
        return
    level = own
    for part in folder.split("/"):
        level = level.setdefault(part, {})
    level[rng.choice(("enabled", "+enabled"))] = rng.choice((False, "{{ target.name == 'elsewhere' }}"))
    for model in within:
        said = [place["enabled"] for place in (model.in_file, model.in_yaml, model.in_project) if "enabled" in place]
        model.disabled = not (said and said[0])


def _key(rng: Random, key: str, value: Any) -> str:
    return key if rng.random() < 0.4 and not isinstance(value, dict) else f"+{key}"


def in_file(rng: Random, model: RandomModel) -> str:
    """The model's file, with its `config(…)` in one of the ways to write it."""
    given = [f"{key}={value!r}" for key, value in model.in_file.items()]
    if not given:
        return model.sql
    rng.shuffle(given)
    if rng.random() < 0.2 and len(given) > 1:
        first, rest = f"{{{{ config({given[0]}) }}}}\n", ", ".join(given[1:])
        return f"{first}{{{{ config({rest}) }}}}\n{model.sql}"
    lines = f"\n    config(\n        {f',{chr(10)}        '.join(given)}\n    )\n"
    config = rng.choice((f" config({', '.join(given)}) ", lines, f"-{lines}-"))
    return f"{{{{{config}}}}}\n{model.sql}" if rng.random() < 0.85 else f"{model.sql}\n{{{{{config}}}}}\n"


def documented(rng: Random, model: RandomModel) -> dict[str, Any]:
    """The model's YAML entry, but for its tests."""
    entry: dict[str, Any] = {"name": model.name}
    if rng.random() < 0.7:
        entry["description"] = rng.choice(_TEXTS)
    config = dict(model.in_yaml)
    if "meta" in config and rng.random() < 0.3:
        entry["meta"] = config.pop("meta")
    if config:
        entry["config"] = config
    columns = []
    for column in rng.sample(model.columns, rng.randint(0, len(model.columns))):
        columns.append(column_entry(rng, column.name, odd=column.is_odd))
        if rng.random() < 0.5:
            columns[-1]["description"] = rng.choice(_TEXTS)
    if columns:
        entry["columns"] = columns
    return entry


def column_entry(rng: Random, name: str, *, odd: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name}
    if odd:
        entry["quote"] = True
    if rng.random() < 0.2:
        entry["data_type"] = "varchar"
    if rng.random() < 0.1:
        entry["config"] = {"tags": ["of column"], "meta": {"pii": True}}
    return entry
