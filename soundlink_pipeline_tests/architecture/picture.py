"""The picture of the rooms and the table of what they import, drawn into `docs/architecture.md` from the source.

`python -m soundlink_pipeline_tests.architecture.picture` (part of `make docs`) writes both anew. The picture is
Mermaid, which GitHub renders. An arrow leads from a room to one it imports. An import that a longer way of arrows
already shows has no arrow of its own, or the picture would be a tangle; the table lists every one.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict

from soundlink_pipeline_tests.architecture.rooms import PACKAGE, ROOMS, imports

DOCUMENT = PACKAGE.parent / "docs" / "architecture.md"
# From top to bottom: each room imports from its own row or from one below.
ROWS = {
    "For people": ("commands", "definitions", "doctor", "weekly", "report"),
    "In Dagster": ("alerts", "exporting", "marketing", "orchestration"),
    "The way of a row": (
        "pulling",
        "api",
        "landing",
        "loading",
        "warehouse",
        "models",
        "quality",
        "own_data",
        "publishing",
        "display",
        "channels",
    ),
    "What all may import": ("contracts", "settings", "durable", "typed", "wording"),
}
# Not drawn: an old name for a module of orchestration, and the API's double, which imports nothing of the package.
LEFT_OUT = ("dagster_storage", "simulator")
_PART = re.compile(r"(<!-- (\w+): written by make docs -->\n).*?(<!-- end -->)", re.DOTALL)


def needed(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The edges without those that a longer way already shows (the transitive reduction; `edges` have no circle)."""
    targets = defaultdict(set)
    for source, target in edges:
        targets[source].add(target)

    def reached(room: str) -> set[str]:
        return {found for target in targets[room] for found in (target, *reached(target))}

    return {
        (source, target)
        for source, target in edges
        if not any(target in reached(between) for between in targets[source] - {target})
    }


def picture() -> str:
    """The rooms and their arrows as a Mermaid graph, in a Markdown block."""
    lines = ["```mermaid", "flowchart TB"]
    for number, (title, rooms) in enumerate(ROWS.items()):
        lines += [f'    subgraph row{number}["{title}"]', *(f"        {room}" for room in rooms), "    end"]
    drawn = {room for rooms in ROWS.values() for room in rooms}
    lines += [f"    {a} --> {b}" for a, b in sorted(needed(_edges())) if {a, b} <= drawn]
    return "\n".join([*lines, "```", ""])


def table() -> str:
    """Every room: what it is for, and what it imports of the package and from outside, as Markdown."""
    rooms, libraries = defaultdict(set), defaultdict(set)
    for found in imports():
        if found.target is not None:
            rooms[found.source].add(found.target)
        elif found.library not in sys.stdlib_module_names:
            libraries[found.source].add(found.library)
    lines = ["| room | purpose | imports | libraries |", "|---|---|---|---|"]
    for name in ROOMS:
        imported, used = ", ".join(sorted(rooms[name] - {name})), ", ".join(sorted(libraries[name]))
        lines.append(f"| `{name}` | {_purpose(name)} | {imported} | {used} |")
    return "\n".join([*lines, ""])


def renewed(text: str) -> str:
    """The document with its drawn parts as they must be."""
    parts = {"picture": picture, "table": table}
    return _PART.sub(lambda match: f"{match[1]}{parts[match[2]]()}{match[3]}", text)


def _edges() -> set[tuple[str, str]]:
    # An import that breaks the rule has no place in the picture; test_rooms.py names it.
    found = {(found.source, found.target) for found in imports() if found.target is not None and found.is_allowed}
    return {(a, b) for a, b in found if a != b and "__init__" not in (a, b)}


def _purpose(room: str) -> str:
    """The first sentence of what the room says it is for."""
    path = PACKAGE / room / "__init__.py"
    source = path if path.exists() else PACKAGE / f"{room}.py"
    said = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return re.split(r"\.(?:\s|$)|:\n|\n\n", said.replace("``", "`"), maxsplit=1)[0].replace("\n", " ").strip()


if __name__ == "__main__":
    DOCUMENT.write_text(renewed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
