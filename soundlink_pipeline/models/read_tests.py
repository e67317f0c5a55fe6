"""Reads the tests of a project: those in YAML, one for each model's grain, and the files in `tests/`.

A test that cannot be read is one that cannot be run: it costs nothing but itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from soundlink_pipeline.models import templates
from soundlink_pipeline.models.config import Config, Level, level_of, level_of_call, merged, project_levels
from soundlink_pipeline.models.context import ConfigWord, Relation, Scope
from soundlink_pipeline.models.errors import NOT_HONOURED, ModelError, Notice, shown
from soundlink_pipeline.models.folder import files, read_text
from soundlink_pipeline.models.model import Model, SqlProject, ref_name
from soundlink_pipeline.models.names import as_asset_name
from soundlink_pipeline.models.properties import TestEntry, argument, rendered
from soundlink_pipeline.models.tests import (
    KINDS,
    SETTINGS,
    DataTest,
    GenericTest,
    built_in,
    grain_test,
    read_entry,
    unique_names,
    verdict,
)
from soundlink_pipeline.models.yaml_files import Document, YamlMap, a_map, a_name, items, words


def read_tests(project: SqlProject, settings: Document, documents: Sequence[Document], paths: Sequence[Path]) -> None:
    """Add all tests to `project`, each with the model that shows it: the last in build order that it reads."""
    sections = [a_map(settings, settings.content, key) for key in ("tests", "data_tests")]
    of_project = _OfProject(settings, sections, project.settings_scope())
    order = {name: place for place, name in enumerate(project.models)}
    for model in project.models.values():
        known = model.properties
        if model.grain:
            path, line = (known.document.path, known.line) if known else (model.path, None)
            project.tests.append(grain_test(model.name, model.grain, path, line))
        for entry in known.tests if known else ():
            generic = _Generic(project, model, entry, of_project)
            test = generic.read()
            if test is not None:
                shown_by = max([model.name, *generic.refs], key=order.__getitem__)
                project.tests.append(test if shown_by == model.name else replace(test, model=shown_by))
    described = _described(project, documents)
    for root in paths:
        for path in files(root, ".sql"):
            if "generic" not in path.relative_to(root).parts[:-1]:
                singular = _Singular(project, of_project, root, path)
                test = singular.read(described.get(path.stem))
                if test is not None:
                    _show(project, test, [name for name in singular.refs if name in order], order)
    _name_each_once(project)


def _show(project: SqlProject, test: DataTest, refs: Sequence[str], order: dict[str, int]) -> None:
    """Let the last model of `refs` show a singular test; the very last one, if it refs none."""
    if not order:
        reason = "there is no model that could show this test"
        project.fail(as_asset_name(test.name), test.error or ModelError(test.path, None, reason))
        return
    shown_by = max(refs or order, key=order.__getitem__)
    project.tests.append(replace(test, model=shown_by, reads_no_model=not refs))


def _described(project: SqlProject, documents: Sequence[Document]) -> dict[str, tuple[Document, YamlMap]]:
    """The entries of singular tests in YAML, by name."""
    found: dict[str, tuple[Document, YamlMap]] = {}
    for document in documents:
        try:
            for entry, line in items(document, document.content, "data_tests"):
                found.setdefault(a_name(document, entry, line, "data_tests"), (document, entry))
        except ModelError as error:
            project.fail(document.path.name, error)
    return found


def _name_each_once(project: SqlProject) -> None:
    """Dagster names a check of a model by both names, so no two of these may be alike, nor like a model's."""
    taken = list(project.models)
    by_model: dict[str, list[DataTest]] = {}
    for test in project.tests:
        by_model.setdefault(test.model, []).append(test)
    named: dict[int, str] = {}
    for model, tests in by_model.items():
        taken.append(f"{model}_data_tests")
        full = list(unique_names([f"{model}_{test.name}" for test in tests], taken))
        taken += full
        named |= {id(test): name.removeprefix(f"{model}_") for test, name in zip(tests, full, strict=True)}
    project.tests = [
        test if named[id(test)] == test.name else replace(test, name=named[id(test)]) for test in project.tests
    ]


@dataclass(frozen=True)
class _OfProject:
    """What dbt_project.yml says of tests."""

    settings: Document
    sections: Sequence[YamlMap]
    scope: Scope

    def levels(self, path: Sequence[str]) -> Iterator[Level]:
        for section in self.sections:
            for level in project_levels(self.settings, section, path):
                yield {key: rendered(setting, self.scope) for key, setting in level.items()}


class _Reading:
    """A test on its way to a query, and the models that it reads."""

    def __init__(self, project: SqlProject, of_project: _OfProject, path: Path) -> None:
        self.project, self.of_project, self.path = project, of_project, path
        self.refs: dict[str, None] = {}
        self.scope = project.scope(None, ref=self._ref)

    def _ref(self, *names: Any, **version: Any) -> Relation:
        """Raises ValueError, with the reason, for a model that is not there."""
        name = ref_name(self.project.name, *names, **version)
        if name not in self.project.models:
            if cause := self.project.errors.get(name) or self.project.missing.get(("", name)):
                raise ValueError(f"needs {name}: {cause}")
            raise ValueError(f"there is no model {name!r} to ref")
        self.refs[name] = None
        return self.project.relation_of(name)

    def _merged(self, levels: Sequence[Level]) -> Config:
        filled = [{key: rendered(setting, self.scope) for key, setting in level.items()} for level in levels]
        return merged(filled, self.path)

    def _notice_unknown(self, config: Config) -> None:
        """A notice for each setting that no test has."""
        found = [
            Notice(setting.file, setting.line, f"{NOT_HONOURED}config {shown(key)} of a test")
            for key, setting in config.settings.items()
            if key not in SETTINGS
        ]
        self.project.notices += [notice for notice in found if notice not in self.project.notices]


class _Generic(_Reading):
    """One entry of `data_tests` of a model."""

    def __init__(self, project: SqlProject, model: Model, entry: TestEntry, of_project: _OfProject) -> None:
        if model.properties is None:
            raise ValueError(f"{model.name} has no entry in YAML")
        self.document = model.properties.document
        super().__init__(project, of_project, self.document.path)
        self.model, self.entry = model, entry

    def read(self) -> DataTest | None:
        """The test, with its error if it cannot be run; None if it is switched off."""
        name = "data_tests_unread" if self.entry.error else "test_unread"
        try:
            given = read_entry(self.entry, self.path)
            name = given.name
            return self._read(given)
        except ModelError as error:
            return self._failed(name, error)
        except Exception as error:  # whatever it is, it costs the test only
            return self._failed(name, self._error(str(error)))

    def _failed(self, name: str, error: ModelError) -> DataTest:
        column = f"column {self.entry.column}: " if self.entry.column else ""
        told = ModelError(error.file, error.line or self.entry.line, column + error.reason)
        return DataTest(name, self.model.name, "Cannot be run.", "", self.path, told.line, self.model.name, error=told)

    def _error(self, reason: str) -> ModelError:
        return ModelError(self.path, self.entry.line, reason)

    def _read(self, given: GenericTest) -> DataTest | None:
        names = [f"{prefix}test_{given.kind}" for prefix in ("", "duckdb__", "default__")]
        macro = next((name for name in names if self.project.library.has(name)), "")
        own = bool(macro)
        if not own and "." in given.kind:
            raise self._error(f"{NOT_HONOURED}packages ({given.kind})")
        if not own and given.kind not in KINDS:
            raise self._error(f"unknown test {given.kind!r}; known are {', '.join(KINDS)}, and the project's own")
        config = self._config(given, [])
        if not config.flag("enabled", True):
            return None
        self._notice_unknown(config)
        test = replace(
            given,
            arguments={
                name: argument(self.document, self.entry.line, value, self.scope)
                for name, value in given.arguments.items()
            },
        )
        return self._by_macro(test, macro) if own else self._built_in(test, config)

    def _built_in(self, given: GenericTest, config: Config) -> DataTest:
        judged = verdict(config)
        query = built_in(given, config.text("where"))
        simple = given.kind in ("not_null", "unique") and bool(query.count) and judged.is_plain
        return DataTest(
            name=given.name,
            model=self.model.name,
            description=words(given.description) or query.claim,
            sql=query.sql,
            path=self.path,
            line=self.entry.line,
            of=self.model.name,
            count=query.count if judged.is_plain else "",
            by_day=query.by_day and judged.is_plain,
            kind=given.kind,
            columns=(given.column.strip('"'),) if simple and given.column else (),
            verdict=judged,
        )

    def _by_macro(self, given: GenericTest, macro: str) -> DataTest | None:
        """A test of the project's own: over all rows, for nobody knows what it counts."""
        where, within = self._config(given, []).text("where"), list[Level]()
        sql = ""
        for _ in range(2):  # once more where the macro itself configures a `where`
            configure = ConfigWord({})
            rows = self.project.relation_of(self.model.name)
            chosen = f"(select * from {rows} where {where}) dbt_subquery" if where else rows
            arguments = {**given.arguments, "model": chosen}
            if given.column is not None:
                arguments["column_name"] = given.column
            scope = self.project.scope(None, ref=self._ref, config=configure, arguments=arguments)
            sql = templates.render(self.path, f"{{{{ {macro}(**arguments) }}}}", scope).sql
            within = [_said(level_of(call, self.path)) for call in configure.calls]
            if self._config(given, within).text("where") == where:
                break
            where = self._config(given, within).text("where")
        config = self._config(given, within)
        if not config.flag("enabled", True):
            return None
        return DataTest(
            name=given.name,
            model=self.model.name,
            description=words(given.description) or f"The project's own test {given.kind}.",
            sql=sql,
            path=self.path,
            line=self.entry.line,
            of=self.model.name,
            verdict=verdict(config),
        )

    def _config(self, given: GenericTest, within: Sequence[Level]) -> Config:
        """dbt_project.yml, then what the test itself says, then its entry."""
        parts = self.path.parent.relative_to(self.project.folder).parts[1:]
        outer = self.of_project.levels([self.project.name, *parts, given.name])
        return self._merged([*outer, *within, _said(level_of(given.settings, self.path, self.entry.line))])


class _Singular(_Reading):
    """A file in `tests/`."""

    def __init__(self, project: SqlProject, of_project: _OfProject, root: Path, path: Path) -> None:
        super().__init__(project, of_project, path)
        self.fqn = [project.name, *path.relative_to(root).parent.parts, path.stem]

    def read(self, described: tuple[Document, YamlMap] | None) -> DataTest | None:
        """The test, with its error if it cannot be run; None if it is switched off."""
        test = DataTest(self.path.stem, "", "", "", self.path, singular=True)
        try:
            text = read_text(self.path)
            test = replace(test, sql=text, description=_first_comment(text))
            levels = list(self.of_project.levels(self.fqn))
            if described is not None:
                document, entry = described
                levels.append(_said(level_of(a_map(document, entry, "config"), document.path, entry.line)))
                test = replace(test, description=words(entry.get("description")) or test.description)
            called, error = self._render(text)
            config = self._merged([*levels, *called])
            if not config.flag("enabled", True):
                return None
            self._notice_unknown(config)
            return replace(test, verdict=verdict(config), error=error)
        except ModelError as error:
            return replace(test, error=error)
        except Exception as error:  # whatever lies there costs only itself
            return replace(test, error=ModelError(self.path, None, f"{type(error).__name__}: {error}"))

    def _render(self, text: str) -> tuple[list[Level], ModelError | None]:
        """What the file configures, and why it cannot be run."""
        configure, error = ConfigWord({}), None
        try:
            if not text.strip():
                raise ModelError(self.path, None, "is empty: there is no query in it")
            templates.render(self.path, text, self.project.scope(None, ref=self._ref, config=configure))
        except ModelError as failed:
            error = failed
        return [_said(level_of_call(call, self.path, text)) for call in configure.calls], error


def _said(level: Level) -> Level:
    """Without nulls: a test's own null leaves the setting as dbt_project.yml has it, where a model's takes it away."""
    return {key: setting for key, setting in level.items() if setting.value is not None}


def _first_comment(text: str) -> str:
    match = re.search(r"(^--[^\n]*\n)+", text, flags=re.M)
    return words(re.sub(r"^--", "", match[0], flags=re.M)) if match else ""
