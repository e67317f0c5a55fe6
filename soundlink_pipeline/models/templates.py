"""Renders the templates of the SQL models; an error names the line.

Supported of dbt: `config`, `ref`, `source`, `var`, `is_incremental` and `this`, and all of Jinja. Macros are not
supported: a template that calls one raises `ModelError`.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import jinja2.sandbox

# The options of `config`. Those that only dbt uses (a strategy, tags) are ignored.
_CONFIGS = {"materialized", "unique_key", "incremental_strategy", "schema", "severity", "tags", "meta", "enabled"}


class ModelError(Exception):
    """A model that cannot be built: file, line (None if unknown) and reason."""

    def __init__(self, file: Path, line: int | None, reason: str) -> None:
        super().__init__(file, line, reason)
        self.file, self.line, self.reason = file, line, reason

    def __str__(self) -> str:
        return f"{self.file}{f', line {self.line}' if self.line else ''}: {self.reason}"


@dataclass
class Template:
    """One template. `table_of_…` resolve `ref` and `source`; rendering records its `refs`, `sources` and `config`."""

    path: Path
    text: str
    table_of_model: Callable[[str], str]
    table_of_source: Callable[[str, str], str]
    variables: Mapping[str, Any]
    incremental: bool = False
    this: str = ""
    refs: dict[str, None] = field(default_factory=dict)
    sources: dict[tuple[str, str], None] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)

    def render(self) -> str:
        """The SQL, with the line numbers of the file. Raises ModelError."""
        words = {
            "ref": self._ref,
            "source": self._source,
            "config": self._configure,
            "var": self._var,
            "is_incremental": lambda: self.incremental,
            "this": self.this,
        }
        try:
            return _compiled(self.text).render(words)
        except Exception:  # a template's expressions may raise anything; the error names the file's line
            raise self._error(words) from None

    def _error(self, words: dict[str, Any]) -> ModelError:
        try:
            _JINJA.from_string(self.text).render(words)
        except jinja2.TemplateSyntaxError as error:
            return ModelError(self.path, error.lineno, f"is not a Jinja template: {error.message}")
        except Exception as error:
            lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == "<template>"]
            return ModelError(self.path, lines[-1] if lines else None, str(error))
        return ModelError(self.path, None, "is a Jinja template that renders only sometimes")

    def _ref(self, *names: str) -> str:
        self.refs[names[-1]] = None
        return self.table_of_model(names[-1])

    def _source(self, source: str, table: str) -> str:
        self.sources[source, table] = None
        return self.table_of_source(source, table)

    def _configure(self, **values: Any) -> str:
        unknown = sorted(set(values) - _CONFIGS)
        if unknown:
            raise ValueError(f"unknown config {unknown[0]!r}; known are {', '.join(sorted(_CONFIGS))}")
        self.config |= values
        return ""

    def _var(self, name: str, *default: Any) -> Any:
        if name in self.variables:
            return self.variables[name]
        if not default:
            raise ValueError(f"there is no var {name!r} in dbt_project.yml, and no default")
        return default[0]


def _padded(text: str) -> str:
    """Keeps the file's line numbers in the SQL: a tag that spans lines is followed by as many empty lines."""
    return re.sub(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", lambda tag: tag[0] + "\n" * tag[0].count("\n"), text, flags=re.S)


@cache  # each load and run renders a model twice: for its days, and in full
def _compiled(text: str) -> jinja2.Template:
    return _JINJA.from_string(_padded(text))


_JINJA = jinja2.sandbox.SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
