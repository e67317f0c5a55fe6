"""The rooms of the package and what each may import: the rule, as data, and how imports are read from the source.

`test_rooms.py` holds the package to it; `picture.py` draws `docs/architecture.md` from it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "soundlink_pipeline"


@dataclass(frozen=True, kw_only=True)
class Room:
    """A folder of the package, or a module that stands alone.

    `rooms` are those it may import beside itself, `libraries` what it may import from outside the standard library;
    with `anything` there is no limit, and nobody imports it, but for a later one of that kind.
    """

    anything: bool = False
    rooms: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()


# In the order of a row's way: what feeds nobody below stands last.
ROOMS = {
    "durable": Room(),
    "typed": Room(),
    "wording": Room(),
    "contracts": Room(),
    "settings": Room(libraries=("dotenv", "httpx")),
    "simulator": Room(libraries=("backports", "brotli", "compression", "starlette", "uvicorn")),
    "api": Room(
        rooms=("contracts", "durable", "settings", "wording"),
        libraries=("backports", "brotli", "compression", "httpx", "pyrate_limiter", "tenacity"),
    ),
    "landing": Room(rooms=("contracts", "durable"), libraries=("backports", "compression")),
    "warehouse": Room(rooms=("contracts", "typed", "wording"), libraries=("duckdb", "filelock")),
    "loading": Room(rooms=("contracts", "landing", "warehouse", "wording"), libraries=("duckdb",)),
    "models": Room(rooms=("contracts", "warehouse"), libraries=("duckdb", "jinja2", "yaml")),
    "quality": Room(rooms=("contracts", "typed", "warehouse", "wording"), libraries=("duckdb",)),
    "pulling": Room(rooms=("api", "contracts", "landing", "loading", "typed", "warehouse", "wording")),
    "own_data": Room(rooms=("warehouse",), libraries=("duckdb",)),
    "publishing": Room(
        rooms=("contracts", "durable", "models", "own_data", "warehouse", "wording"), libraries=("duckdb",)
    ),
    "display": Room(rooms=("contracts",), libraries=("duckdb", "pandas")),
    "report": Room(
        rooms=("contracts", "display", "publishing", "settings", "typed", "warehouse"),
        libraries=("duckdb", "jinja2", "pandas"),
    ),
    "orchestration": Room(
        rooms=(
            "api",
            "contracts",
            "display",
            "landing",
            "models",
            "own_data",
            "publishing",
            "pulling",
            "quality",
            "settings",
            "typed",
            "warehouse",
            "wording",
        ),
        libraries=("dagster", "duckdb", "pydantic", "sqlalchemy"),
    ),
    "dagster_storage": Room(rooms=("orchestration",)),  # for one release: users' dagster.yaml names it
    "channels": Room(rooms=("settings", "wording"), libraries=("apprise", "httpx", "tenacity")),
    "alerts": Room(rooms=("channels", "orchestration", "settings", "wording"), libraries=("dagster",)),
    "marketing": Room(
        rooms=("channels", "contracts", "publishing", "settings", "wording"), libraries=("dagster", "duckdb")
    ),
    "weekly": Room(
        rooms=("channels", "contracts", "publishing", "report", "settings", "typed", "wording"),
        libraries=("dagster", "duckdb", "jinja2"),
    ),
    "exporting": Room(
        rooms=("contracts", "durable", "publishing", "settings", "typed", "warehouse", "wording"),
        libraries=("dagster", "duckdb", "obstore"),
    ),
    "definitions": Room(
        rooms=("alerts", "exporting", "marketing", "models", "orchestration", "settings", "weekly"),
        libraries=("dagster",),
    ),
    "doctor": Room(anything=True),
    "commands": Room(anything=True),
}


@dataclass(frozen=True, order=True)
class Import:
    """One import statement: the file below the package it stands in, and the module it names."""

    file: str
    module: str

    @property
    def source(self) -> str:
        return _room(Path(self.file).with_suffix("").parts)

    @property
    def target(self) -> str | None:
        """The room that is imported, or None where the module is not the package's."""
        parts = self.module.split(".")
        return _room(tuple(parts[1:])) if parts[0] == PACKAGE.name else None

    @property
    def library(self) -> str:
        return self.module.partition(".")[0]

    @property
    def is_allowed(self) -> bool:
        room = ROOMS[self.source]
        if room.anything:
            return True
        if self.target is not None:
            return self.target in (self.source, *room.rooms)
        if self.module.endswith("()"):
            return False
        return self.library in sys.stdlib_module_names or self.library in room.libraries


def _room(parts: tuple[str, ...]) -> str:
    return parts[0] if parts and parts[0] != "__init__" else "__init__"


def imports() -> Iterator[Import]:
    """Every import of the package, those within functions and for type checking too."""
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        for module in imported(path.read_text(encoding="utf-8"), file):
            yield Import(file, module)


def imported(source: str, file: str) -> Iterator[str]:
    """What a file below the package imports, each name with its module: `from a import b` is `a.b`.

    Private names that are reached over the imported module `dagster` count too, as `dagster._core`; and a call that
    imports by text, whose module cannot be read here, as what it calls.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            if node.level:  # relative to the file's folder, or to one above it
                folder = [PACKAGE.name, *Path(file).parts[:-1]]
                base = folder[: len(folder) - node.level + 1] + base
            yield from (".".join([*base, name.name]) for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in ("dagster", "dg") and node.attr.startswith("_") and not node.attr.startswith("__"):
                yield f"dagster.{node.attr}"
        elif isinstance(node, ast.Call) and _name_of(node.func) in ("import_module", "__import__"):
            yield f"{ast.unparse(node.func)}()"


def _name_of(called: ast.expr) -> str | None:
    """The name by which something is called: `b` of `a.b`."""
    return getattr(called, "attr", None) or getattr(called, "id", None)
