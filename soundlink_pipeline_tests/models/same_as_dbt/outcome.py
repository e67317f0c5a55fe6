"""What became of a project, in a form that is the same for both sides, and how two of them differ."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from soundlink_pipeline_tests.models.same_as_dbt.random_project import DbtProject

NOT_HONOURED = "not honoured by soundlink"
# A test is known by its model and name; a singular one belongs to no model.
TestKey = tuple[str, str]


@dataclass(frozen=True)
class Relation:
    """A table or view of a model, as the database has it."""

    kind: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Any, ...], ...]
    comments: tuple[str, ...]


@dataclass(frozen=True)
class ModelOutcome:
    """`table` is the relation's schema and name; None where the model makes none, or failed for the `reason`."""

    table: tuple[str, str] | None
    tags: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """`status` is pass, warn, fail or error; `failures` is what was counted, where it does not pass."""

    status: str
    failures: int | None = None
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.status} {'' if self.failures is None else self.failures} {self.reason}".strip()


@dataclass(frozen=True)
class Outcome:
    """A side's whole result. `error`: why nothing could be built. `said`: what it notes besides."""

    models: dict[str, ModelOutcome]
    tests: dict[TestKey, Verdict]
    relations: dict[tuple[str, str], Relation]
    error: str | None = None
    said: tuple[str, ...] = ()


def relations(path: Path) -> dict[tuple[str, str], Relation]:
    """All tables and views of a database file outside of what the pipeline made there."""
    found = {}
    with duckdb.connect(str(path), read_only=True) as connection:
        named = connection.execute(
            "select schema_name, table_name, 'table', comment from duckdb_tables() where not internal"
            " union all select schema_name, view_name, 'view', comment from duckdb_views() where not internal"
        ).fetchall()
        for schema, name, kind, comment in named:
            where = [schema, name]
            columns = connection.execute(
                "select column_name, data_type, comment from duckdb_columns()"
                " where schema_name = ? and table_name = ? order by column_index",
                where,
            ).fetchall()
            rows = connection.execute(f'from "{schema}"."{name}" order by all').fetchall()
            types = tuple((name, type) for name, type, _ in columns)
            comments = tuple(
                text or "" for text in (comment, *(text for *_, text in columns))
            )  # null is no comment, too
            found[schema, name] = Relation(kind, types, tuple(rows), comments)
    return found


def differences(project: DbtProject, dbt: Outcome, ours: Outcome) -> list[str]:
    """Everything in which the pipeline differs from dbt without saying that it is not honoured, or beyond that."""
    if dbt.error is not None:
        return [f"dbt takes no such project: {dbt.error}"]
    found = [f"the whole: {ours.error}"] if ours.error else []
    for name in sorted(dbt.models.keys() | ours.models.keys()):
        found += [f"model {name}: {text}" for text in _of_model(project, name, dbt, ours)]
    for key in sorted(dbt.tests.keys() | ours.tests.keys()):
        found += [f"test {key[1]} of {key[0] or 'no model'}: {text}" for text in _of_test(project, key, dbt, ours)]
    words = " ".join((*ours.said, *(m.reason for m in ours.models.values()), *(t.reason for t in ours.tests.values())))
    found += [f"{word} is ignored in silence" for word in project.told if word.lower() not in words.lower()]
    return found


def _of_model(project: DbtProject, name: str, dbt: Outcome, ours: Outcome) -> list[str]:
    theirs, own = dbt.models.get(name), ours.models.get(name)
    if name in project.refused_models and (own is None or NOT_HONOURED in own.reason):
        return []
    if theirs is None or own is None:
        return [f"dbt {'has no' if theirs is None else 'has the'} model, the pipeline {_briefly(own)}"]
    if (theirs.table is None) != (own.table is None):
        return [f"dbt: {_briefly(theirs)}; the pipeline: {_briefly(own)}"]
    if theirs.table is None or own.table is None:
        return []
    found = []
    for what in ("table", "tags", "meta"):
        if getattr(theirs, what) != getattr(own, what):
            found.append(f"{what}: dbt {getattr(theirs, what)}, the pipeline {getattr(own, what)}")
    made, built = dbt.relations.get(theirs.table), ours.relations.get(own.table)
    if made is None or built is None:
        return [*found, f"in the database: dbt {made is not None}, the pipeline {built is not None}"]
    for what in ("kind", "columns", "rows", "comments"):
        if getattr(made, what) != getattr(built, what):
            found.append(f"{what}: dbt {getattr(made, what)}, the pipeline {getattr(built, what)}")
    return found


def _reason(outcome: Outcome, model: str) -> str:
    return outcome.models[model].reason if model in outcome.models else ""


def _briefly(model: ModelOutcome | None) -> str:
    return "nothing" if model is None else f"{model.table}" if model.table else model.reason


def _of_test(project: DbtProject, key: TestKey, dbt: Outcome, ours: Outcome) -> list[str]:
    theirs, own = dbt.tests.get(key), ours.tests.get(key)
    excused = f"{key[0]}: {key[1]}" in project.refused_tests or key[0] in project.refused_models
    not_run = theirs is not None and theirs.status in ("error", "skipped") and any(key[1] in text for text in ours.said)
    if own is None and (excused or not_run or _reason(ours, key[0])):
        return []  # what became of its model is told already
    if own is not None and own.status == "error":
        needed = any(name in own.reason for name in project.refused_models)
        if theirs is None or (NOT_HONOURED in own.reason and (excused or needed)):
            return []  # dbt leaves out a test that refs what is not there; the pipeline says that it cannot be run
    if theirs is None or own is None:
        return [f"dbt {theirs or 'has no such test'}, the pipeline {own or 'has none'}"]
    if (theirs.status, theirs.failures) != (own.status, own.failures):
        return [f"dbt {theirs}, the pipeline {own}"]
    return []
