"""Reads YAML files in dbt's layout, with the line number of each entry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from soundlink_pipeline.models.templates import ModelError

# The key under which each mapping keeps its line number.
LINE = "__line__"
Document = tuple[Path, dict[str, Any]]


# The loader in C is eight times as fast; not every build of PyYAML has it.
_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Lines(_SafeLoader):  # type: ignore[misc,valid-type]  # untyped
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        return {**super().construct_mapping(node, deep), LINE: node.start_mark.line + 1}


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a file. Raises ModelError."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Lines)  # noqa: S506  (a SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(path, None, f"cannot be read: {error}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise ModelError(path, line, f"is not YAML: {error.problem}") from None
    if not isinstance(content, dict):
        raise ModelError(path, 1, "is not a YAML mapping")
    return content


def entries(documents: list[Document], what: str) -> Iterator[Document]:
    """The named entries of a section (`models`, `sources`) in all files."""
    for path, document in documents:
        for entry in document.get(what) or []:
            if isinstance(entry, dict) and isinstance(entry.get("name"), str):
                yield path, entry


def meta(entry: dict[str, Any]) -> dict[str, Any]:
    found = (entry.get("config") or {}).get("meta") or entry.get("meta") or {}
    return found if isinstance(found, dict) else {}


def words(text: object) -> str:
    """A text on one line."""
    return " ".join(str(text or "").split())
