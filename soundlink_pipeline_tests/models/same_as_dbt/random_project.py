"""A random dbt project, from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from textwrap import dedent
from typing import Any

import yaml

from soundlink_pipeline_tests.models.same_as_dbt import random_settings
from soundlink_pipeline_tests.models.same_as_dbt.expressions import MACROS, PROJECT, SCOPED_VARS, VARS
from soundlink_pipeline_tests.models.same_as_dbt.not_honoured import Draft, Feature, add_features
from soundlink_pipeline_tests.models.same_as_dbt.random_models import FOLDERS, RandomModel, random_models
from soundlink_pipeline_tests.models.same_as_dbt.random_tests import OWN_TESTS, RandomTests
from soundlink_pipeline_tests.models.same_as_dbt.values import SOURCES, Column

DAYS = {"start_date": "1900-01-01", "end_date": "2999-12-31"}
_SETTINGS: dict[str, Any] = {
    "name": PROJECT,
    "version": "1.0",
    "config-version": 2,
    "profile": PROJECT,
    "flags": {"send_anonymous_usage_stats": False},
    "vars": {**VARS, **DAYS, PROJECT: SCOPED_VARS},
}
PROFILES = """
soundlink:
  target: warehouse
  outputs:
    warehouse:
      type: duckdb
      path: "{{ env_var('SOUNDLINK_WAREHOUSE') }}"
      threads: 1
"""


@dataclass(frozen=True)
class DbtProject:
    """The files of a project. What is named in `refused_…` may be refused; words of `told` must be told."""

    files: dict[str, str]
    told: tuple[str, ...] = ()
    refused_models: frozenset[str] = frozenset()
    refused_tests: frozenset[str] = frozenset()

    def write(self, folder: Path) -> Path:
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return folder


def random_project(seed: int) -> DbtProject:
    rng = Random(seed)
    models = random_models(rng)
    settings = {"models": random_settings.settings(rng, models)}
    tests = RandomTests(rng, models)
    entries = {model.name: random_settings.documented(rng, model) for model in models}
    for model in models:
        tests.add_generic(model, entries[model.name])
    files, singular = tests.singular()
    draft = Draft(models, entries, files)
    add_features(rng, draft)
    if of_tests := tests.project_settings():
        settings[rng.choice(("data_tests", "tests"))] = of_tests
    if singular:
        draft.files["tests/_tests.yml"] = _text(rng, {"data_tests": singular})
    return _assembled(rng, draft, settings)


def project_with(feature: Feature) -> DbtProject:
    """A project of one model, and a feature that need not be honoured."""
    rng = Random(0)
    model = RandomModel("plain", "", [Column("y", "integer")], "select 1::bigint as y")
    draft = Draft([model], {"plain": {"name": "plain"}})
    feature(draft, rng)
    return _assembled(rng, draft, {})


def _assembled(rng: Random, draft: Draft, settings: dict[str, Any]) -> DbtProject:
    for model in draft.models:
        draft.files[model.path] = random_settings.in_file(rng, model)
        entry = draft.entries.setdefault(model.name, {"name": model.name})
        config = {key: value for key, value in model.in_yaml.items() if key not in entry}
        if config:
            entry["config"] = config
    draft.files |= _yaml_files(rng, draft) | _macros(rng)
    draft.files["dbt_project.yml"] = _text(rng, {**_SETTINGS, **settings, **draft.project})
    draft.files["profiles.yml"] = PROFILES
    return DbtProject(
        {name: dedent(text).lstrip("\n") if name.endswith(".py") else text for name, text in draft.files.items()},
        tuple(draft.told),
        frozenset(_with_dependents(draft)),
        frozenset(draft.refused_tests),
    )


def _with_dependents(draft: Draft) -> set[str]:
    refused = set(draft.refused_models)
    while more := {m.name for m in draft.models if m.refs & refused} - refused:
        refused |= more
    return refused


def _yaml_files(rng: Random, draft: Draft) -> dict[str, str]:
    """The entries of models in one file, or in one for each; sources beside them."""
    of_sources = {name: {"name": name} for name in SOURCES}
    if columns := draft.extra.pop("source tests", None):
        of_sources["campaigns"]["columns"] = columns
    schema = rng.choice(("main", "{{ target.schema }}"))
    source = {"name": PROJECT, "schema": schema, "tables": list(of_sources.values())}
    files = {"models/_sources.yml": _text(rng, {"version": 2, "sources": [source]})}
    renamed = [{"name": f"the {name}", "identifier": name} for name in SOURCES]
    plain = [{"name": name, "description": "As it is."} for name in SOURCES]  # of the schema `main`
    others = [{"name": "raw data", "schema": "main", "tables": renamed}, {"name": "main", "tables": plain}]
    files[f"models/{rng.choice(FOLDERS) or 'other'}/more.yml"] = _text(rng, {"sources": others})
    documented = [entry for entry in draft.entries.values() if len(entry) > 1]
    if rng.random() < 0.5:
        files["models/_models.yml"] = _text(rng, {"version": 2, "models": documented})
    else:
        folders = {model.name: model.folder for model in draft.models}
        for entry in documented:
            folder = "/".join(filter(None, ("models", folders.get(entry["name"], ""))))
            files[f"{folder}/{entry['name']}.{rng.choice(('yml', 'yaml'))}"] = _text(rng, {"models": [entry]})
    if draft.extra:
        files["models/extra.yml"] = _text(rng, draft.extra)
    return files


def _macros(rng: Random) -> dict[str, str]:
    files = {f"macros/{name}": text for name, text in MACROS.items()}
    files[rng.choice(("macros/own_tests.sql", "tests/generic/own_tests.sql"))] = OWN_TESTS
    names = rng.choice(random_settings.SCHEMA_MACROS) + rng.choice(random_settings.ALIAS_MACROS)
    return files | ({"macros/deep/names.sql": names} if names else {})


def _text(rng: Random, content: dict[str, Any]) -> str:
    flow = rng.choice((None, False))
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=100)
    return text
