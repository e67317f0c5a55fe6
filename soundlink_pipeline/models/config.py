"""The configuration of a model or a test, as dbt puts it together from all the places that may hold some of it.

Precedence: `config(…)` in the file, over `config:` in the YAML beside it, over dbt_project.yml, where an inner folder
wins over an outer one. `tags` add up, `meta` merges key by key, hooks queue up; of all else the nearest value counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from soundlink_pipeline.models.errors import NOT_HONOURED, ModelError, Notice, shown
from soundlink_pipeline.models.folder import line_of
from soundlink_pipeline.models.yaml_files import Document, YamlMap

_ADDED = ("tags",)
_MERGED = ("meta",)
_QUEUED = ("pre_hook", "post_hook")
# Of a model. What else dbt knows: those that would change what is in the table, so that the model cannot be built …
_HONOURED = frozenset(
    ("enabled", "materialized", "schema", "alias", "tags", "meta", "persist_docs", "unique_key", "incremental_strategy")
)
_CHANGES_ROWS = ("pre_hook", "post_hook", "sql_header", "database")
# … and those that no row depends on.
_HARMLESS = frozenset(
    (
        "access",
        "batch_size",
        "begin",
        "column_types",
        "concurrent_batches",
        "contract",
        "docs",
        "event_time",
        "freshness",
        "full_refresh",
        "grants",
        "group",
        "incremental_predicates",
        "indexes",
        "lookback",
        "on_configuration_change",
        "on_schema_change",
        "packages",
        "partitioned_by",
        "quoting",
        "static_analysis",
    )
)
KNOWN = _HONOURED | _HARMLESS | frozenset(_CHANGES_ROWS)


@dataclass(frozen=True)
class Setting:
    """A configured value, and where it is configured."""

    value: Any
    file: Path
    line: int | None

    def error(self, reason: str) -> ModelError:
        return ModelError(self.file, self.line, reason)


Level = Mapping[str, Setting]


@dataclass(frozen=True)
class Config:
    """The settings of all levels, merged; each with the file and line of the level that decides."""

    settings: Level
    file: Path

    def get(self, key: str, default: Any = None) -> Any:
        found = self.settings.get(key)
        return default if found is None or found.value is None else found.value

    def values(self) -> dict[str, Any]:
        return {key: setting.value for key, setting in self.settings.items()}

    def error(self, key: str, reason: str) -> ModelError:
        found = self.settings.get(key)
        return found.error(reason) if found else ModelError(self.file, None, reason)

    def text(self, key: str) -> str | None:
        """A name. Raises ModelError."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.error(key, f"{key} must be text, not {shown(value)}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Raises ModelError."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"{key} must be true or false, not {shown(value)}")
        return value

    def tags(self) -> tuple[str, ...]:
        """Sorted, each once. Raises ModelError."""
        tags = self.get("tags", [])
        for tag in tags:
            if not isinstance(tag, str):
                raise self.error("tags", f"tags must be a text or a list of texts, not {shown(tag)}")
        return tuple(sorted(set(tags)))

    def meta(self) -> dict[Any, Any]:
        """Raises ModelError."""
        meta = self.get("meta", {})
        if not isinstance(meta, dict):
            raise self.error("meta", f"meta must be a mapping, not {shown(meta)}")
        return meta


def merged(levels: Iterable[Level], file: Path) -> Config:
    """The levels, from the outermost to the nearest, as one."""
    found: dict[str, Setting] = {}
    for level in levels:
        for key, setting in level.items():
            before = found.get(key)
            value = setting.value
            if key in _ADDED or key in _QUEUED:
                earlier = list(before.value) if before else []
                value = earlier + (
                    list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]
                )
            elif key in _MERGED and before and isinstance(before.value, dict) and isinstance(value, dict):
                value = {**before.value, **value}
            found[key] = Setting(value, setting.file, setting.line)
    return Config(found, file)


def level_of(values: Mapping[Any, Any], file: Path, line: int | None = None) -> dict[str, Setting]:
    """The settings in a mapping, from YAML or a call of `config`. dbt writes some names with - as well."""
    lines = values.lines if isinstance(values, YamlMap) else {}
    return {str(key).replace("-", "_"): Setting(value, file, lines.get(key, line)) for key, value in values.items()}


def level_of_call(values: Mapping[str, Any], file: Path, text: str) -> dict[str, Setting]:
    """The settings of a call of `config` in a file, each with the line that names it."""
    return {
        key: Setting(setting.value, file, line_of(text, key) or line_of(text, "config"))
        for key, setting in level_of(values, file).items()
    }


def project_levels(project: Document, section: YamlMap, path: Sequence[str]) -> Iterator[Level]:
    """What a section of dbt_project.yml says of `path`: the project's name, folders, and the node's own name.

    A key with + is a setting; so is one without, unless it holds a mapping: then it is a folder's.
    """
    within: Any = section
    for part in (None, *path):
        within = within if part is None else within.get(part)
        if not isinstance(within, YamlMap):
            return
        yield {
            str(key).removeprefix("+").strip().replace("-", "_"): Setting(value, project.path, within.line_of(key))
            for key, value in within.items()
            if str(key).startswith("+") or not isinstance(value, YamlMap)
        }


def unused_in_project(project: Document, section: YamlMap, paths: Iterable[Sequence[str]]) -> Iterator[Notice]:
    """The folders in a section of dbt_project.yml that no node is in: misspelt, or a setting that lacks its +."""
    used = {tuple(path[:length]) for path in paths for length in range(len(path) + 1)}
    waiting: list[tuple[tuple[str, ...], YamlMap]] = [((), section)]
    while waiting:
        at, within = waiting.pop()
        for key, value in within.items():
            if not isinstance(value, YamlMap) or str(key).startswith("+"):
                continue
            inner = (*at, str(key))
            if inner in used:
                waiting.append((inner, value))
            else:
                reason = (
                    f"applies to nothing: no folder or model {'.'.join(inner)}; a setting that is a mapping needs a +"
                )
                yield Notice(project.path, within.line_of(key), reason)


def rest_of_model(config: Config, model: str) -> Iterator[Notice]:
    """The settings of a model that are not honoured. Raises ModelError for one that would change its rows."""
    for key, setting in config.settings.items():
        if key in _HONOURED or setting.value in (None, [], {}, ""):
            continue
        if key in _CHANGES_ROWS:
            raise setting.error(f"{NOT_HONOURED}{key}")
        if key not in KNOWN:
            meant = get_close_matches(key, _HONOURED | frozenset(_CHANGES_ROWS), 1, 0.8)
            if meant:
                raise setting.error(f"unknown config {shown(key)}: is {meant[0]} meant?")
        yield Notice(setting.file, setting.line, f"{NOT_HONOURED}config {shown(key)}", model)
