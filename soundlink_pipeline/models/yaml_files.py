"""Reads YAML files of any shape, with the line of each entry; and asks an entry for what it should hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from soundlink_pipeline.models.errors import ModelError, shown
from soundlink_pipeline.models.folder import read_text

# The loader in C is eight times as fast; not every build of PyYAML has it.
_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlMap(dict[Any, Any]):
    """A mapping, with its line and that of each of its keys. Of the `repeated` keys the last one counts."""

    line: int = 1

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[Any, int] = {}
        self.repeated: list[tuple[str, int]] = []

    def line_of(self, key: object) -> int:
        return self.lines.get(key, self.line)


class YamlList(list[Any]):
    """A sequence, with the line of each of its items."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[int] = []


class _Loader(_SafeLoader):  # type: ignore[misc,valid-type]  # untyped
    def map_with_lines(self, node: yaml.MappingNode) -> Iterator[YamlMap]:
        found = YamlMap()
        found.line = node.start_mark.line + 1
        yield found
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    found.repeated.append((key.value, key.start_mark.line + 1))
                seen.add(key.value)
        found.update(self.construct_mapping(node))
        for key, _ in node.value:
            found.lines[self.construct_object(key)] = key.start_mark.line + 1

    def list_with_lines(self, node: yaml.SequenceNode) -> Iterator[YamlList]:
        found = YamlList()
        yield found
        found.extend(self.construct_sequence(node))
        found.lines.extend(item.start_mark.line + 1 for item in node.value)


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.map_with_lines)
_Loader.add_constructor("tag:yaml.org,2002:seq", _Loader.list_with_lines)


@dataclass(frozen=True)
class Document:
    """A YAML file that could be read."""

    path: Path
    content: YamlMap

    def error(self, line: int | None, reason: str) -> ModelError:
        return ModelError(self.path, line, reason)


def read_yaml(path: Path) -> Document:
    """The mapping in a file; an empty one where there is nothing in it. Raises ModelError."""
    text = read_text(path)
    try:
        content = yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ModelError(path, mark.line + 1 if mark else None, f"is not YAML: {error.problem}") from None
    except Exception as error:  # a day that no calendar has, a number too long, and what else constructors raise
        raise ModelError(path, None, f"is not YAML: {' '.join(str(error).split())}") from None
    if content is None:
        content = YamlMap()
    if not isinstance(content, YamlMap):
        raise ModelError(path, 1, "is not a YAML mapping")
    return Document(path, content)


def repeated_keys(value: object) -> Iterator[tuple[str, int]]:
    """The keys that a mapping, or one within it, gives twice."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, YamlMap):
            yield from item.repeated
            waiting += item.values()
        elif isinstance(item, YamlList):
            waiting += item


def a_map(document: Document, within: YamlMap, key: str) -> YamlMap:
    """The mapping under a key; empty where there is none. Raises ModelError."""
    value = within.get(key)
    if value is None:
        return YamlMap()
    if not isinstance(value, YamlMap):
        raise document.error(within.line_of(key), f"{key} must be a mapping, not {shown(value)}")
    return value


def items(document: Document, within: YamlMap, key: str) -> Iterator[tuple[Any, int]]:
    """The items of the sequence under a key, each with its line. Raises ModelError."""
    value = within.get(key)
    if value is None:
        return
    if not isinstance(value, YamlList):
        raise document.error(within.line_of(key), f"{key} must be a list, not {shown(value)}")
    yield from zip(value, value.lines, strict=True)


def a_name(document: Document, entry: object, line: int, of: str) -> str:
    """The name of an entry of a list. Raises ModelError."""
    if not isinstance(entry, YamlMap):
        raise document.error(line, f"{of}: an entry must be a mapping with a name, not {shown(entry)}")
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise document.error(entry.line_of("name"), f"{of}: an entry needs a name that is text, not {shown(name)}")
    return name


def a_text(document: Document, within: YamlMap, key: str) -> str:
    """The text under a key; empty where there is none. Raises ModelError."""
    value = within.get(key)
    if isinstance(value, (YamlMap, YamlList, set, bytes)):
        raise document.error(within.line_of(key), f"{key} must be text, not {shown(value)}")
    return "" if value is None else str(value)


def words(text: object) -> str:
    """A text on one line."""
    return " ".join(str("" if text is None else text).split())
