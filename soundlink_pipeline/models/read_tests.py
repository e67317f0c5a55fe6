"""Reads the tests of a project: those in YAML, one for each model's grain, and the files in `tests/`.

A test that cannot be read is one that cannot be run: it costs nothing but itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from soundlink_pipeline.models import templates
from soundlink_pipeline.models.config import Config, Level, level_of, merged, project_levels
from soundlink_pipeline.models.context import ConfigWord, Relation
from soundlink_pipeline.models.errors import NOT_HONOURED, ModelError, Notice, shown
from soundlink_pipeline.models.folder import files, read_text
from soundlink_pipeline.models.model import Model, SqlProject, line_of, ref_name
from soundlink_pipeline.models.names import as_asset_name
from soundlink_pipeline.models.properties import Properties, TestEntry, argument, rendered
from soundlink_pipeline.models.tests import (
    KINDS,
    PLAIN,
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
    order = {name: place for place, name in enumerate(project.models)}
    for model in project.models.values():
        if model.grain:
            entry = model.properties
            path, line = (entry.document.path, entry.line) if entry else (model.path, None)
            project.tests.append(grain_test(model.name, model.grain, path, line))
        if model.properties is not None:
            for entry_ in model.properties.tests:
                test = _Generic(project, model, model.properties, entry_, settings, sections).read()
                if test is not None:
                    later = [name for name in _reads(test) if order.get(name, -1) > order[model.name]]
                    project.tests.append(replace(test.test, model=max([model.name, *later], key=order.__getitem__)))
    described = _described(project, documents)
    for root in paths:
        for path in files(root, ".sql"):
            if "generic" not in path.relative_to(root).parts[:-1]:
                _read_singular(project, settings, sections, root, path, described, order)
    _name_each_once(project)


def _name_each_once(project: SqlProject) -> None:
    """Dagster names a check of a model by both names, so no two of these may be alike, nor like a model's."""
    taken = list(project.models)
    by_model: dict[str, list[DataTest]] = {}
    for test in project.tests:
        by_model.setdefault(test.model, []).append(test)
    named: dict[int, str] = {}
    for model, tests in by_model.items():
        full = unique_names([f"{model}_{test.name}" for test in tests], [*taken, f"{model}_data_tests"])
        for test, name in zip(tests, full, strict=True):
            taken.append(name)
            named[id(test)] = name.removeprefix(f"{model}_")
    project.tests = [replace(test, name=named[id(test)]) for test in project.tests]


class _Read:
    """A generic test, and the models that its arguments and its SQL read."""

    def __init__(self, test: DataTest, refs: Sequence[str]) -> None:
        self.test = test
        self.refs = refs


def _reads(read: _Read) -> Iterator[str]:
    yield from read.refs


class _Generic:
    """One entry of `data_tests` on its way to a query."""

    def __init__(
        self,
        project: SqlProject,
        model: Model,
        properties: Properties,
        entry: TestEntry,
        settings: Document,
        sections: Sequence[YamlMap],
    ) -> None:
        self.project, self.model, self.entry = project, model, entry
        self.settings, self.sections = settings, sections
        self.document = properties.document
        self.refs: dict[str, None] = {}
        self.scope = project.scope(None, ref=self._ref)

    def read(self) -> _Read | None:
        """The test, with its error if it cannot be run; None if it is switched off."""
        name = "data_tests_unread" if self.entry.error else "test"
        try:
            given = read_entry(self.entry, self.document.path)
            name = given.name
            test = self._read(given)
        except ModelError as error:
            test = self._failed(name, error)
        except Exception as error:  # whatever it is, it costs the test only
            test = self._failed(name, self._error(f"{type(error).__name__}: {error}"))
        return None if test is None else _Read(test, list(self.refs))

    def _failed(self, name: str, error: ModelError) -> DataTest:
        column = f"column {self.entry.column}: " if self.entry.column else ""
        told = ModelError(error.file, error.line or self.entry.line, column + error.reason)
        words_ = "Cannot be run."
        return DataTest(name, self.model.name, words_, "", self.document.path, told.line, self.model.name, error=told)

    def _error(self, reason: str) -> ModelError:
        return ModelError(self.document.path, self.entry.line, reason)

    def _ref(self, *names: Any, **version: Any) -> Relation:
        name = ref_name(self.project.name, *names, **version)
        if name not in self.project.models:
            if cause := self.project.errors.get(name) or self.project.missing.get(("", name)):
                raise ValueError(f"it needs {name}: {cause}")
            raise ValueError(f"it needs the model {name}, which is not there")
        self.refs[name] = None
        return self.project.relation_of(name)

    def _read(self, given: GenericTest) -> DataTest | None:
        macro = f"test_{given.kind}"
        own = self.project.library.has(macro)
        if not own and "." in given.kind:
            raise self._error(f"{NOT_HONOURED}packages ({given.kind})")
        if not own and given.kind not in KINDS:
            raise self._error(f"unknown test {given.kind!r}; known are {', '.join(KINDS)}, and those of the project")
        configured = self._config(given, [])
        if not configured.flag("enabled", True):
            return None
        line = self.entry.line
        arguments = {name: argument(self.document, line, value, self.scope) for name, value in given.arguments.items()}
        test = replace(given, arguments=arguments)
        if own:
            return self._by_macro(test, macro)
        judged = verdict(configured)
        try:
            query = built_in(test, self._where(configured))
        except ValueError as error:
            raise self._error(str(error)) from None
        return DataTest(
            name=given.name,
            model=self.model.name,
            description=words(given.description) or query.claim,
            sql=query.sql,
            path=self.document.path,
            line=line,
            of=self.model.name,
            count=query.count if judged.is_plain else "",
            by_day=query.by_day and judged.is_plain,
            never_null=(given.column or "").strip('"') if given.kind == "not_null" and query.count else "",
            verdict=judged,
        )

    def _by_macro(self, given: GenericTest, macro: str) -> DataTest | None:
        """A test of the project's own: over all rows, for nobody knows what it counts."""
        where = self._where(self._config(given, []))
        for _ in range(2):  # once more where the macro itself configures a `where`
            configure = ConfigWord({})
            rows = str(self.project.relation_of(self.model.name))
            model: Any = f"(select * from {rows} where {where}) dbt_subquery" if where else None
            arguments = dict(given.arguments)
            if given.column is not None:
                arguments["column_name"] = given.column
            arguments["model"] = model or self.project.relation_of(self.model.name)
            text = f"{{{{ {macro}(**arguments) }}}}"
            scope = self.project.scope(None, ref=self._ref, config=configure, arguments=arguments)
            try:
                sql = templates.render(self.document.path, text, scope).sql
            except ModelError as error:
                raise self._error(error.reason) from None
            configured = self._config(given, [level_of(call, self.document.path) for call in configure.calls])
            if self._where(configured) == where:
                break
            where = self._where(configured)
        if not configured.flag("enabled", True):
            return None
        return DataTest(
            name=given.name,
            model=self.model.name,
            description=words(given.description) or f"The project's own test {given.kind}.",
            sql=sql,
            path=self.document.path,
            line=self.entry.line,
            of=self.model.name,
            verdict=verdict(configured),
        )

    def _config(self, given: GenericTest, within: Sequence[Level]) -> Config:
        """dbt_project.yml, then what the test itself says, then its entry."""
        folder = self.document.path.parent
        parts = folder.relative_to(self.project.folder).parts[1:]
        path = [self.project.name, *parts, given.name]
        outer = [level for section in self.sections for level in project_levels(self.settings, section, path)]
        entry = level_of(given.settings, self.document.path, self.entry.line)
        levels = [*outer, *within, entry]
        filled = [{key: rendered(setting, self.scope) for key, setting in level.items()} for level in levels]
        return merged(filled, self.document.path)

    def _where(self, config: Config) -> str | None:
        return config.text("where") or None


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


def _read_singular(
    project: SqlProject,
    settings: Document,
    sections: Sequence[YamlMap],
    root: Path,
    path: Path,
    described: Mapping[str, tuple[Document, YamlMap]],
    order: Mapping[str, int],
) -> None:
    name = path.stem
    refs: dict[str, None] = {}
    text = ""
    configure = ConfigWord({})
    error: ModelError | None = None
    judged, description = PLAIN, ""

    def ref(*names: Any, **version: Any) -> Relation:
        found = ref_name(project.name, *names, **version)
        refs[found] = None
        return project.relation_of(found)

    try:
        text = read_text(path)
        description = _first_comment(text)
        scope = project.scope(None, ref=ref, config=configure)
        outer = [
            {key: rendered(setting, scope) for key, setting in level.items()}
            for section in sections
            for level in project_levels(settings, section, [project.name, *path.relative_to(root).parent.parts, name])
        ]
        if name in described:
            document, entry = described[name]
            level = level_of(a_map(document, entry, "config"), document.path, entry.line)
            outer.append({key: rendered(setting, scope) for key, setting in level.items()})
            description = words(entry.get("description")) or description
        try:
            if not text.strip():
                raise ModelError(path, None, "is empty: there is no query in it")
            templates.render(path, text, scope)
        except ModelError as failed:
            error = failed
        line = line_of(text, "config")
        config = merged([*outer, *(level_of(call, path, line) for call in configure.calls)], path)
        if not config.flag("enabled", True):
            return
        project.notices += [
            Notice(setting.file, setting.line, f"{NOT_HONOURED}config {shown(key)} of a test")
            for key, setting in config.settings.items()
            if key not in SETTINGS
        ]
        if line and _has_line(config, "severity", path):
            config = _with_line(config, "severity", line_of(text, "severity"))
        judged = verdict(config)
    except ModelError as failed:
        error = error or failed
    except Exception as failed:  # whatever lies there costs only itself
        error = ModelError(path, None, f"{type(failed).__name__}: {failed}")
    missing = next((found for found in refs if found not in project.models), None)
    if missing is not None and error is None:
        cause = project.errors.get(missing) or project.missing.get(("", missing))
        reason = f"needs {missing}: {cause}" if cause else f"there is no model {missing!r} to ref"
        error = ModelError(path, line_of(text, missing), reason)
    built = [found for found in refs if found in project.models] or list(project.models)
    if not built:
        project.fail(
            as_asset_name(name), error or ModelError(path, None, "there is no model that could show this test")
        )
        return
    about = max(built, key=order.__getitem__)
    project.tests.append(DataTest(name, about, description, text, path, singular=True, verdict=judged, error=error))


def _has_line(config: Config, key: str, path: Path) -> bool:
    return key in config.settings and config.settings[key].file == path


def _with_line(config: Config, key: str, line: int | None) -> Config:
    return Config({**config.settings, key: replace(config.settings[key], line=line)}, config.file)


def _first_comment(text: str) -> str:
    match = re.search(r"(^--[^\n]*\n)+", text, flags=re.M)
    return words(re.sub(r"^--", "", match[0], flags=re.M)) if match else ""
