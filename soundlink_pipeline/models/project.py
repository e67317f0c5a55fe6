"""Reads a folder in dbt's layout into a project: its models in build order, their tests, and what is wrong.

Never raises for the folder's content. Whatever cannot be read costs only what needs it: a model that cannot be built is
an error under its name, with file, line and reason; what dbt would do and this runner does not is one, too, where
a table depends on it, and else a notice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from soundlink_pipeline.models import templates
from soundlink_pipeline.models.context import Target, docs_blocks
from soundlink_pipeline.models.errors import ModelError, Notice, readable, shown
from soundlink_pipeline.models.folder import LARGEST_BYTES, files, read_text
from soundlink_pipeline.models.model import SETTINGS_FILE, Model, Source, SqlProject
from soundlink_pipeline.models.names import as_asset_name
from soundlink_pipeline.models.not_honoured import note_the_rest
from soundlink_pipeline.models.order import put_in_order
from soundlink_pipeline.models.properties import Properties, read_properties
from soundlink_pipeline.models.read_models import read_models
from soundlink_pipeline.models.read_sources import read_sources
from soundlink_pipeline.models.read_tests import read_tests
from soundlink_pipeline.models.reading import UNUSABLE, Reading, asset_of_file
from soundlink_pipeline.models.yaml_files import Document, YamlMap, a_map, read_yaml, repeated_keys

__all__ = ["Model", "Source", "SqlProject", "read_project"]


def read_project(folder: Path, environment: Mapping[str, str] | None = None) -> SqlProject:
    """Read a folder of models. `environment` is what `env_var` reads, by default nothing."""
    project = SqlProject(folder, environment=environment or {})
    try:
        try:
            _read(project)
        except ModelError:
            raise
        except Exception as error:  # whatever lies there, the pipeline goes on
            raise ModelError(folder, None, f"cannot be read: {type(error).__name__}: {error}") from error
    except ModelError as error:
        # Without dbt_project.yml nothing is known of any model: each is an error, and keeps its table.
        project.models.clear()
        project.tests.clear()
        project.fail(SETTINGS_FILE, error)
        for path in files(folder / "models", ".sql"):
            reason = f"needs {SETTINGS_FILE}, which cannot be used: {error}"
            project.fail(asset_of_file(path, folder / "models", model=True), ModelError(path, None, reason))
    return project


def _read(project: SqlProject) -> None:
    """The way from files to a project. Raises ModelError if dbt_project.yml cannot be used."""
    reading = Reading(project, read_yaml(project.folder / SETTINGS_FILE))
    _read_settings(reading)
    model_paths = reading.paths("model-paths", "models")
    test_paths = reading.paths("test-paths", "tests")
    _read_macros(reading, reading.paths("macro-paths", "macros"), tests_only=False)
    _read_macros(reading, [path / "generic" for path in test_paths], tests_only=True)
    _read_documents(reading, [*model_paths, *test_paths])
    note_the_rest(reading, model_paths)
    read_sources(reading)
    _read_properties(reading, _read_docs(reading, model_paths))
    put_in_order(project, read_models(reading, model_paths))
    read_tests(project, reading.settings, reading.documents, test_paths)


def _read_settings(reading: Reading) -> None:
    project, settings = reading.project, reading.settings
    content = settings.content
    name = content.get("name")
    if name is not None and (not isinstance(name, str) or not re.fullmatch(r"\w+", name)):
        raise settings.error(content.line_of("name"), f"name must be letters, digits and _, not {shown(name)}")
    project.name = project.library.project_name = name or ""
    for key in ("models", "data_tests", "tests", "vars"):
        a_map(settings, content, key)
    variables = {key: value for key, value in a_map(settings, content, "vars").items() if isinstance(key, str)}
    own = variables.get(project.name)
    project.variables = variables | (own if isinstance(own, YamlMap) else {})
    for key, line in repeated_keys(content):
        project.notices.append(Notice(settings.path, line, f"{shown(key)} stands there twice: the last one counts"))
    project.target = _read_target(reading)


def _read_target(reading: Reading) -> Target:
    """The target of profiles.yml in the folder, where there is one that names it."""
    path = reading.folder / "profiles.yml"
    profile = reading.settings.content.get("profile")
    profile = profile if isinstance(profile, str) else ""
    if not path.is_file():
        return Target(profile_name=profile)
    document: Document | None = None
    try:
        document = read_yaml(path)
        scope = reading.project.scope()
        entry = a_map(document, document.content, profile)
        name = templates.value(path, entry.line_of("target"), str(entry.get("target") or "default"), scope)
        output = a_map(document, a_map(document, entry, "outputs"), str(name))
        schema = templates.value(path, output.line_of("schema"), str(output.get("schema") or "main"), scope)
        threads = output.get("threads")
    except ModelError as error:
        reading.project.notices.append(Notice(error.file, error.line, f"is not used: {error.reason}"))
        return Target(profile_name=profile)
    return Target(str(name), str(schema), threads if isinstance(threads, int) else 1, profile)


def _read_macros(reading: Reading, paths: Sequence[Path], *, tests_only: bool) -> None:
    for root in paths:
        for path in files(root, ".sql"):
            try:
                reading.project.library.add(path, tests_only=tests_only)
                for block in re.finditer(r"\{%-?\s*materialization\s+(\w+)", read_text(path)):
                    reading.note(path, None, f"the materialization {block[1]}")
            except ModelError as error:
                reading.project.fail(asset_of_file(path, reading.folder, model=False), error)


def _read_docs(reading: Reading, paths: Sequence[Path]) -> dict[str, str]:
    docs: dict[str, str] = {}
    for root in paths:
        for path in files(root, ".md"):
            try:
                docs |= docs_blocks(read_text(path))
            except ModelError as error:
                reading.project.notices.append(Notice(error.file, error.line, error.reason))
    return docs


def _read_documents(reading: Reading, paths: Sequence[Path]) -> None:
    for root in paths:
        for path in files(root, ".yml", ".yaml"):
            try:
                document = read_yaml(path)
            except ModelError as error:
                reading.project.fail(path.name, error)
                _lose(reading, path, error)
                continue
            reading.documents.append(document)
            for key, line in repeated_keys(document.content):
                reason = f"{shown(key)} stands there twice: the last one counts"
                reading.project.notices.append(Notice(path, line, reason))


def _lose(reading: Reading, path: Path, error: ModelError) -> None:
    """What an unreadable file describes would lose its configuration and its tests: it cannot be built without."""
    try:
        text = path.read_bytes()[:LARGEST_BYTES].decode("utf-8", "replace") if path.is_file() else ""
    except OSError:
        return
    named = re.findall(r"^(\s*)-\s+name:\s*[\"']?(\w+)", text, flags=re.M)
    outermost = min((len(indent) for indent, _ in named), default=0)  # deeper ones are columns
    for indent, name in named:
        if len(indent) == outermost:
            reason = f"{UNUSABLE}: {error.reason}"
            reading.properties.setdefault(name, ModelError(path, error.line, reason))


def _read_properties(reading: Reading, docs: Mapping[str, str]) -> None:
    scope = reading.project.scope(doc=_doc(docs))
    for document in reading.documents:
        for entry, name in reading.section(document, "models"):
            known = reading.properties.get(name)
            if isinstance(known, Properties):
                reason = f"{name} is described twice; the first time in {readable(known.document.path)}"
                reading.project.fail(f"{as_asset_name(name)}_described_again", document.error(entry.line, reason))
                continue
            try:
                reading.properties[name] = read_properties(document, entry, scope)
            except ModelError as error:
                reading.properties[name] = error


def _doc(docs: Mapping[str, str]) -> Any:
    def doc(*names: str) -> str:
        if not names or names[-1] not in docs:
            raise ValueError(f"there is no docs block {names[-1] if names else ''!r}")
        return docs[names[-1]]

    return doc
