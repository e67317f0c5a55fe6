"""What the YAML beside the SQL says of a model: description, columns, tests and configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from soundlink_pipeline.models import limits, templates
from soundlink_pipeline.models.config import Setting, level_of
from soundlink_pipeline.models.context import Scope
from soundlink_pipeline.models.errors import NOT_HONOURED, ModelError, Notice, shown
from soundlink_pipeline.models.yaml_files import Document, YamlList, YamlMap, a_map, a_name, a_text, items

_OF_MODEL = ("name", "description", "columns", "config", "meta", "data_tests", "tests")
_OF_COLUMN = ("name", "description", "quote", "data_tests", "tests", "data_type", "meta", "tags", "config")
_DEPTH = 8


@dataclass(frozen=True)
class TestEntry:
    """One item of `data_tests`, unread: of a column or of the model."""

    given: Any
    line: int
    column: str | None = None
    # Why there is no test to read: the list itself has another shape.
    error: ModelError | None = None


@dataclass(frozen=True)
class ColumnEntry:
    """A described column. With `quote`, tests write its name in quotes."""

    name: str
    description: str
    quote: bool
    line: int


@dataclass(frozen=True)
class Properties:
    """The entry of a model in YAML."""

    document: Document
    line: int
    description: str
    columns: tuple[ColumnEntry, ...]
    tests: tuple[TestEntry, ...]
    settings: Mapping[str, Setting]
    notices: tuple[Notice, ...]

    def line_of(self, column: str) -> int:
        return next((entry.line for entry in self.columns if entry.name.lower() == column.lower()), self.line)


def read_properties(document: Document, entry: YamlMap, scope: Scope) -> Properties:
    """An entry under `models`. Raises ModelError where it has not the shape of one."""
    name = entry["name"]
    if entry.get("versions"):
        raise document.error(entry.line_of("versions"), f"{NOT_HONOURED}versions of a model")
    notices = [
        Notice(document.path, entry.line_of(key), f"{NOT_HONOURED}{shown(key)} of a model{_why(key)}", name)
        for key, value in entry.items()
        if key not in _OF_MODEL and value is not None
    ]
    settings = dict(level_of(a_map(document, entry, "config"), document.path, entry.line))
    if entry.get("meta") is not None:
        if "meta" in settings:
            raise document.error(entry.line_of("meta"), "meta stands both in the entry and in its config")
        settings["meta"] = Setting(a_map(document, entry, "meta"), document.path, entry.line_of("meta"))
    columns, tests = [], list(_tests(document, entry, None))
    for item, line in items(document, entry, "columns"):
        column = _column(document, item, line, scope)
        columns.append(column)
        tests += _tests(document, item, _written(column))
        notices += [
            Notice(document.path, item.line_of(key), f"{NOT_HONOURED}{shown(key)} of a column", name)
            for key in item
            if key not in _OF_COLUMN
        ]
    return Properties(
        document=document,
        line=entry.line,
        description=described(document, entry, scope),
        columns=tuple(columns),
        tests=tuple(tests),
        settings={key: rendered(setting, scope) for key, setting in settings.items()},
        notices=tuple(notices),
    )


def described(document: Document, entry: YamlMap, scope: Scope) -> str:
    """An entry's description, its docs blocks filled in. Raises ModelError."""
    text = a_text(document, entry, "description")
    return str(templates.value(document.path, entry.line_of("description"), text, scope)).strip()


def rendered(setting: Setting, scope: Scope) -> Setting:
    """A setting with its templates filled in, those within lists and mappings too. Raises ModelError."""

    def filled(value: Any, depth: int) -> Any:
        limits.step()
        if isinstance(value, str):
            return templates.value(setting.file, setting.line, value, scope)
        if depth and isinstance(value, YamlMap):
            return {key: filled(inner, depth - 1) for key, inner in value.items()}
        if depth and isinstance(value, YamlList):
            return [filled(inner, depth - 1) for inner in value]
        return value

    try:
        with limits.bounded():
            return Setting(filled(setting.value, _DEPTH), setting.file, setting.line)
    except limits.TooMuch as error:
        raise setting.error(str(error)) from None


def _why(key: object) -> str:
    return "; it belongs into its config" if key == "tags" else ""


def _column(document: Document, item: Any, line: int, scope: Scope) -> ColumnEntry:
    name = a_name(document, item, line, "columns")
    quote = item.get("quote") or False
    if not isinstance(quote, bool):
        raise document.error(item.line_of("quote"), f"quote must be true or false, not {shown(quote)}")
    return ColumnEntry(name, described(document, item, scope), quote, line)


def _written(column: ColumnEntry) -> str:
    """The column's name as its tests write it into SQL."""
    return '"' + column.name.replace('"', '""') + '"' if column.quote else column.name


def _tests(document: Document, entry: YamlMap, column: str | None) -> Iterator[TestEntry]:
    """The entries of a list of tests; a list of another shape is one test, which cannot be run."""
    both = [key for key in ("data_tests", "tests") if entry.get(key) is not None]
    if len(both) > 1:
        line = entry.line_of("tests")
        yield TestEntry(None, line, column, document.error(line, "has both tests and data_tests: one of them"))
        return
    for key in both:
        try:
            for given, line in items(document, entry, key):
                yield TestEntry(given, line, column)
        except ModelError as error:
            yield TestEntry(None, error.line or entry.line, column, error)


_CALL = re.compile(r"\s*(env_var|ref|var|source|doc)\s*\(.+\)\s*", re.S)


def argument(document: Document, line: int, value: Any, scope: Scope) -> Any:
    """An argument of a test: templates filled in, and `ref('…')` without braces is a call, too. Raises ModelError."""
    if isinstance(value, str):
        text = f"{{{{ {value} }}}}" if _CALL.fullmatch(value) else value
        return templates.value(document.path, line, text, scope)
    return rendered(Setting(value, document.path, line), scope).value
