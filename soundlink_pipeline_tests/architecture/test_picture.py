"""docs/architecture.md is true: picture and table are those of the source, and what the text names exists."""

from __future__ import annotations

import ast
import re

import pytest

from soundlink_pipeline_tests.architecture.picture import DOCUMENT, LEFT_OUT, ROWS, needed, renewed
from soundlink_pipeline_tests.architecture.rooms import PACKAGE, ROOMS

TEXT = DOCUMENT.read_text(encoding="utf-8")
NAMED = re.findall(r"`(\w+)`\s+in\s+`([\w/]+\.py)`", TEXT)


def test_picture_and_table_are_what_the_source_says() -> None:
    assert renewed(TEXT) == TEXT, "make docs writes them"
    assert TEXT.count("```mermaid") == 1
    assert TEXT.count("| `durable` |") == 1


def test_every_room_is_drawn_or_left_out_on_purpose() -> None:
    drawn = [room for rooms in ROWS.values() for room in rooms]
    assert sorted([*drawn, *LEFT_OUT]) == sorted(ROOMS)


def test_no_arrow_leads_upwards() -> None:
    row_of = {room: row for row, rooms in enumerate(ROWS.values()) for room in rooms}
    upwards = {
        (source, target)
        for source, target in re.findall(r"^    (\w+) --> (\w+)$", TEXT, re.MULTILINE)
        if row_of[source] > row_of[target]
    }
    assert upwards == set()


def test_an_import_that_a_longer_way_shows_is_not_drawn() -> None:
    assert needed({("a", "b"), ("b", "c"), ("a", "c"), ("a", "d")}) == {("a", "b"), ("b", "c"), ("a", "d")}


def test_the_text_speaks_of_every_room() -> None:
    assert [room for room in ROOMS if f"**{room}**" not in TEXT] == []


def test_every_module_that_is_named_exists() -> None:
    named = re.findall(r"`([\w]+/[\w/]+\.py)`", TEXT)
    assert len(named) > 15
    assert [name for name in named if not any((root / name).exists() for root in (PACKAGE, PACKAGE.parent))] == []


@pytest.mark.parametrize(("name", "module"), NAMED)
def test_every_function_and_class_that_is_named_is_in_its_module(name: str, module: str) -> None:
    path = next(root / module for root in (PACKAGE, PACKAGE.parent) if (root / module).exists())
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    assert name in found
