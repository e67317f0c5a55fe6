"""Random tests: generic ones beside columns and models, the project's own, and singular ones."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from soundlink_pipeline_tests.models.same_as_dbt.expressions import PROJECT, condition
from soundlink_pipeline_tests.models.same_as_dbt.random_models import RandomModel
from soundlink_pipeline_tests.models.same_as_dbt.random_settings import column_entry
from soundlink_pipeline_tests.models.same_as_dbt.values import SOURCES, VALUES, Column, literal

OWN_TESTS = """
{% test at_least(model, column_name, least=1) %}
    select {{ column_name }} from {{ model }} where {{ column_name }} < {{ least }}
{% endtest %}

{% test rows_between(model, low, high=3) -%}
    {{ config(severity='warn') }}
    select n from (select count(*) as n from {{ model }}) where not (n between {{ low }} and {{ high }})
{%- endtest %}

{% test found_in(model, column_name, other, fields=['x'], but=none) %}
    select * from {{ model }}
    where {{ column_name }} not in (select {{ fields | join(', ') }} from {{ other }} where {{ fields[0] }} is not null)
    {% if but is not none %}and {{ column_name }} <> {{ but.value }}{% endif %}
{% endtest %}

{%- test like_itself(model) -%}
    {{ config(error_if='> 1', tags=['own']) }}
    {%- set column = kwargs.get('column_name') -%}
    select {{ column }}, {{ kwargs.get('n', twice(1)) }} as n
    from {{ model }}
    where {{ column }} is not distinct from {{ column }}
{%- endtest -%}
"""
_CONDITIONS = ("> 0", ">= 2", ">1", "= 0", "!= 0", "<> 1", "between 1 and 2", "> 100", "> 1 or 1 = 1", "> many")


class RandomTests:
    """Puts tests into the YAML entries of models and makes the files of singular ones. Names are never there twice."""

    def __init__(self, rng: Random, models: list[RandomModel]) -> None:
        self._rng = rng
        self._models = models
        self._unnamed: set[tuple[str, str, str]] = set()
        self._number = 0

    def add_generic(self, model: RandomModel, entry: dict[str, Any]) -> None:
        """Up to five tests, at columns and at the model."""
        columns = entry.get("columns", [])
        key = self._rng.choice(("data_tests", "data_tests", "tests"))
        for _ in range(self._rng.randint(0, 5)):
            column = self._rng.choice(model.columns)
            if self._rng.random() < 0.2:
                entry.setdefault(key, []).append(self._at_model(model, column))
                continue
            found = [listed for listed in columns if listed["name"] == column.name]
            if not found:
                columns.append(column_entry(self._rng, column.name, odd=column.is_odd))
            target = found[0] if found else columns[-1]
            kind, arguments = self._kind(model, column)
            target.setdefault(key, []).append(self._written(model, column.name, kind, arguments))
        if columns:
            entry["columns"] = columns

    def _at_model(self, model: RandomModel, column: Column) -> Any:
        if self._rng.random() < 0.5:
            arguments: dict[str, Any] = {"low": self._rng.randint(0, 3)}
            if self._rng.random() < 0.5:
                arguments["high"] = self._rng.randint(2, 9)
            return self._written(model, "", "rows_between", arguments)
        kind, arguments = self._kind(model, column)
        return self._written(model, column.name, kind, {"column_name": column.sql, **arguments})

    def _kind(self, model: RandomModel, column: Column) -> tuple[str, dict[str, Any]]:
        pick: list[Callable[[], tuple[str, dict[str, Any]]]] = [
            lambda: ("unique", {}),
            lambda: ("not_null", {}),
            lambda: ("accepted_values", self._accepted(column)),
            lambda: ("accepted_values", self._accepted(column)),
            lambda: ("relationships", self._relationship(model, column)),
        ]
        if column.type in ("integer", "decimal", "double"):
            least = self._rng.choice(({}, {"least": self._rng.randint(-5, 5)}))
            pick.append(lambda: ("at_least", least))
        pick.append(lambda: ("found_in", self._found_in(model, column)))
        pick.append(lambda: ("like_itself", self._rng.choice(({}, {"n": 3}))))
        kind, arguments = self._rng.choice(pick)()
        return (kind, arguments) if arguments or kind not in ("relationships", "found_in") else ("not_null", {})

    def _accepted(self, column: Column) -> dict[str, Any]:
        pool = [value for value in VALUES[column.type] if "'" not in str(value)]
        values = self._rng.sample(pool, self._rng.randint(1, len(pool)))
        arguments: dict[str, Any] = {"values": values}
        if column.type == "decimal":
            arguments["values"] = [self._rng.choice((value, float(value))) for value in values]
        elif column.type == "text" and self._rng.random() < 0.3:
            arguments["values"] = [f"'{value}'" for value in values]
            arguments["quote"] = False
        elif column.type == "text" and self._rng.random() < 0.2:
            arguments["values"] = "{{ var('countries') }}"
        elif column.type in ("integer", "double", "boolean"):
            arguments |= self._rng.choice(({}, {}, {"quote": False}, {"quote": True}))
        return arguments

    def _relationship(self, model: RandomModel, column: Column) -> dict[str, Any]:
        """To a model before it, a source, or itself; none if there is no column of the type."""
        rng, before = self._rng, self._models[: self._models.index(model) + 1]
        to = [(f"ref('{m.name}')", c) for m in before for c in m.columns if not m.disabled or rng.random() < 0.3]
        to += [(f"source('{PROJECT}', '{table}')", c) for table, columns in SOURCES.items() for c in columns]
        to = [(reference, c) for reference, c in to if c.type == column.type]
        if not to:
            return {}
        reference, field = rng.choice(to)
        return {"to": rng.choice((reference, reference, f"{{{{ {reference} }}}}")), "field": field.sql}

    def _found_in(self, model: RandomModel, column: Column) -> dict[str, Any]:
        related = self._relationship(model, column)
        if not related:
            return {}
        but = {"but": {"value": literal(self._rng, column.type)}} if self._rng.random() < 0.3 else {}
        return {"other": related["to"], "fields": [related["field"]], **but}

    def _config(self, model: RandomModel) -> dict[str, Any]:
        rng, config = self._rng, dict[str, Any]()
        if rng.random() < 0.3:
            config["where"] = condition(rng, model.columns)
            if rng.random() < 0.1:
                config["where"] = rng.choice(("no_such_column = 1", "1 = 1 -- all", "{{ target.name }} = 1", ""))
        if rng.random() < 0.2:
            config["limit"] = rng.choice((1, 2, 100, "3"))
        if rng.random() < 0.3:
            config["severity"] = rng.choice(("warn", "error", "WARN", "Error"))
        if rng.random() < 0.07:
            config[rng.choice(("limit", "where"))] = None
        if rng.random() < 0.2:
            config["error_if"] = rng.choice(_CONDITIONS)
        if rng.random() < 0.2:
            config["warn_if"] = rng.choice(_CONDITIONS)
        if rng.random() < 0.07:
            config["enabled"] = rng.choice((True, False))
        if rng.random() < 0.1:
            config["tags"] = rng.choice((["quick"], "slow"))
        if rng.random() < 0.05:
            config["fail_calc"] = rng.choice(("coalesce(max(2), 0)", "max(2)", "count(*) + 1"))
        return config

    def _written(self, model: RandomModel, column: str, kind: str, arguments: dict[str, Any]) -> Any:
        """A test in one of the ways to write it."""
        rng, config = self._rng, self._config(model)
        name = ""
        called = (model.name, column, kind)
        if called in self._unnamed or rng.random() < 0.3:
            self._number += 1
            name = f"test_{self._number}_of_{model.name}"
        else:
            self._unnamed.add(called)
        if not (config or arguments or name) and rng.random() < 0.8:
            return kind
        inner: dict[str, Any] = {"name": name} if name else {}
        if arguments:
            inner |= rng.choice(({"arguments": arguments}, {"arguments": arguments}, arguments))
        loose = {key: config.pop(key) for key in list(config) if key in ("severity", "where") and rng.random() < 0.2}
        inner |= {**loose, **({"config": config} if config else {})}
        if "name" not in inner or "arguments" not in inner or rng.random() < 0.85:
            return {kind: inner or {"config": {}}}
        return {"test_name": kind, **inner}

    def singular(self) -> tuple[dict[str, str], list[dict[str, Any]]]:
        """Files under tests/, and YAML entries for some of them."""
        rng, files, entries = self._rng, dict[str, str](), list[dict[str, Any]]()
        for number in range(rng.randint(0, 3)):
            of = rng.choice(self._models)
            config = self._config(of) if rng.random() < 0.6 else {}
            config.pop("where", None)  # dbt does not look at a singular test's
            sql = f"-- Finds rows.\nselect * from {{{{ ref('{of.name}') }}}}\nwhere {condition(rng, of.columns)}"
            if rng.random() < 0.3:
                other = rng.choice(self._models)
                sql = f"select 1 as found from {{{{ ref('{of.name}') }}}} cross join {{{{ ref('{other.name}') }}}}"
            elif rng.random() < 0.2:
                sql = f"select * from {{{{ source('{PROJECT}', 'campaigns') }}}} where {{{{ var('least') }}}} = 1"
            name, folder = f"singular_{number}", rng.choice(("", "deep/"))
            if config and rng.random() < 0.4:
                entries.append({"name": name, "config": config, "description": "A test."})
            elif config:
                sql = f"{{{{ config({', '.join(f'{key}={value!r}' for key, value in config.items())}) }}}}\n{sql}"
            files[f"tests/{folder}{name}.sql"] = sql + rng.choice(("", "\n", "\n-- the end\n"))
        return files, entries

    def project_settings(self) -> dict[str, Any]:
        """What stands under `data_tests:` in dbt_project.yml; mostly nothing."""
        rng, own = self._rng, dict[str, Any]()
        if rng.random() < 0.2:
            own[rng.choice(("+severity", "severity"))] = "warn"
        if rng.random() < 0.1:
            own["+limit"] = 5
        if rng.random() < 0.1:
            own["+where"] = "1 = {{ var('least', 2) }}"
        for folder in ("staging", "marts", "deep"):
            if rng.random() < 0.1:
                own[folder] = {"+severity": rng.choice(("warn", "error")), "+error_if": "> 1"}
        return {PROJECT: own} if own else {}
