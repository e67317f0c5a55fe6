"""What a template may name: dbt's own words, the project's macros, and for the rest of dbt a reason why not."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import yaml

from soundlink_pipeline.models import templates
from soundlink_pipeline.models.errors import ModelError, NotHonoured
from soundlink_pipeline.models.folder import read_text
from soundlink_pipeline.warehouse.sql import quote_name

# What dbt offers to templates and this runner does not.
_NOT_HONOURED = (
    "adapter",
    "api",
    "builtins",
    "codegen",
    "context",
    "dbt",
    "dbt_date",
    "dbt_expectations",
    "dbt_metadata_envs",
    "dbt_utils",
    "dbt_version",
    "graph",
    "invocation_args_dict",
    "invocation_id",
    "load_agate_table",
    "load_result",
    "run_query",
    "run_started_at",
    "selected_resources",
    "statement",
    "store_raw_result",
    "store_result",
    "submit_python_job",
    "thread_id",
    "write",
)
# dbt keeps those that begin so out of models, too; SOUNDLINK_… are this program's own, with its key among them.
_SECRET = re.compile(r"DBT_ENV_SECRET|DBT_ENV_CUSTOM_ENV_SECRET|SOUNDLINK_|DAGSTER_", re.IGNORECASE)
_PUBLIC = frozenset(("SOUNDLINK_WAREHOUSE",))


class Relation(str):
    """A table in SQL, as dbt writes it: quoted. Its parts are attributes."""

    __slots__ = ("identifier", "schema")

    schema: str
    identifier: str

    def __new__(cls, schema: str, identifier: str, sql: str | None = None) -> Relation:
        made = super().__new__(cls, f"{quote_name(schema)}.{quote_name(identifier)}" if sql is None else sql)
        made.schema, made.identifier = schema, identifier
        return made

    @property
    def name(self) -> str:
        return self.identifier

    @property
    def table(self) -> str:
        return self.identifier

    @property
    def database(self) -> NoReturn:
        raise NotHonoured("the database of a relation")

    def __getattr__(self, name: str) -> NoReturn:
        if name in ("include", "quote", "is_table", "is_view", "type", "get", "render", "create", "path"):
            raise NotHonoured(f"{name} of a relation")
        raise AttributeError(name)


class Unavailable:
    """Something of dbt's: whatever is done with it is an error that names it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_") or attribute in ("unsafe_callable", "alters_data", "jinja_pass_arg"):
            raise AttributeError(attribute)
        raise NotHonoured(f"{self._name}.{attribute}")

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise NotHonoured(self._name)

    def __str__(self) -> NoReturn:
        raise NotHonoured(self._name)


@dataclass
class Library:
    """The macros of the project: where each is, and what is wrong with the files that could not be read."""

    project_name: str = ""
    files: dict[str, tuple[Path, str]] = field(default_factory=dict)
    broken: dict[str, ModelError] = field(default_factory=dict)

    def add(self, path: Path, *, tests_only: bool) -> None:
        """Read a file's macros. Raises ModelError; what calls its macros is told why, too."""
        text = ""
        try:
            text = read_text(path)
            for name in templates.macro_names(path, text):
                if name.startswith("test_") or not tests_only:
                    self.files.setdefault(name, (path, text))
        except ModelError as error:
            for kind, name in re.findall(r"\{%-?\s*(macro|test|data_test)\s+(\w+)", text):
                self.broken.setdefault(name if kind == "macro" else f"test_{name}", error)
            raise

    def has(self, name: str) -> bool:
        return name in self.files or name in self.broken

    def get(self, name: str, scope: Scope) -> Any:
        """The macro, as it is within `scope`."""
        if name not in self.files:
            raise self.broken[name]
        path, text = self.files[name]
        found = templates.macros(path, text, scope)
        for other, macro in found.items():
            if self.files.get(other, (None,))[0] == path:
                scope.macros[other] = macro
        return found[name]


class Scope(dict[str, Any]):
    """The names that a template sees. The project's macros are made when they are asked for; they win over dbt's."""

    def __init__(self, library: Library, names: Mapping[str, Any]) -> None:
        super().__init__(_EVERYWHERE)
        self.update(names)
        self.library = library
        self.macros: dict[str, Any] = {}

    def __contains__(self, name: object) -> bool:
        return self.library.has(str(name)) or super().__contains__(name)

    def __getitem__(self, name: str) -> Any:
        if self.library.has(name):
            return self.macros[name] if name in self.macros else self.library.get(name, self)
        return super().__getitem__(name)

    def dbts(self, name: str) -> Any:
        """What a name means where no macro of the project takes its place."""
        return super().__getitem__(name)


class _Namespace:
    """`project_name.macro(…)`."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __getattr__(self, name: str) -> Any:
        if self._scope.library.has(name):
            return self._scope[name]
        raise AttributeError(name)


class ConfigWord:
    """`config`: called it records settings, asked it gives those that are known so far."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self.known = dict(known)
        self.calls: list[dict[str, Any]] = []

    def __call__(self, *maps: Any, **values: Any) -> str:
        given: dict[str, Any] = {}
        for item in maps:
            if not isinstance(item, dict):
                raise TypeError("config takes names with values, or one mapping")
            given |= item
        given |= values
        self.calls.append(given)
        return ""

    def get(self, name: str, default: Any = None, validator: Any = None) -> Any:  # noqa: ARG002
        value = self.known.get(name)
        return default if value is None else value

    def require(self, name: str, validator: Any = None) -> Any:  # noqa: ARG002
        if self.known.get(name) is None:
            raise ValueError(f"the config {name!r} is required")
        return self.known[name]

    def meta_get(self, name: str, default: Any = None) -> Any:
        return (self.known.get("meta") or {}).get(name, default)

    def meta_require(self, name: str) -> Any:
        if name not in (self.known.get("meta") or {}):
            raise ValueError(f"the meta {name!r} is required")
        return self.known["meta"][name]


@dataclass(frozen=True)
class Target:
    """The target that profiles.yml names; without that file dbt-duckdb's own."""

    name: str = "default"
    schema: str = "main"
    threads: int = 1
    profile_name: str = ""
    type: str = "duckdb"

    def __getattr__(self, name: str) -> Any:
        if name in ("database", "path", "extensions", "settings", "attach", "secrets", "is_motherduck", "plugins"):
            raise NotHonoured(f"target.{name}")
        raise AttributeError(name)

    def get(self, name: str, default: Any = None) -> Any:
        return getattr(self, name, default)


def words(
    library: Library,
    target: Target,
    variables: Mapping[str, Any],
    environment: Mapping[str, str],
) -> Scope:
    """What every template may name, wherever it stands."""
    scope = Scope(
        library,
        {
            "var": _Var(variables),
            "env_var": _env_var(environment),
            "target": target,
            "schema": target.schema,
            "project_name": library.project_name,
        },
    )
    if library.project_name:
        dict.__setitem__(scope, library.project_name, _Namespace(scope))
    return scope


class _Var:
    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._variables = variables

    def __call__(self, name: str, *default: Any, **named: Any) -> Any:
        if name in self._variables:
            return self._variables[name]
        if default or "default" in named:
            return default[0] if default else named["default"]
        raise ValueError(f"there is no var {name!r} in dbt_project.yml, and no default")

    def has_var(self, name: str) -> bool:
        return name in self._variables


def _env_var(environment: Mapping[str, str]) -> Callable[..., str]:
    def env_var(name: str, default: str | None = None) -> str:
        if _SECRET.match(name) and name not in _PUBLIC:
            raise NotHonoured(f"env_var('{name}'), a variable that may hold a secret")
        if name in environment:
            return environment[name]
        if default is None:
            raise ValueError(f"the environment variable {name} is not set, and env_var has no default")
        return str(default)

    return env_var


def _return(value: Any = None) -> NoReturn:
    raise templates.Return(value)


def _raise(message: object = "", *_: Any) -> NoReturn:
    raise ValueError(str(message))


def _nothing(*_: Any, **__: Any) -> str:
    return ""


def _tojson(value: Any, default: Any = None, sort_keys: bool = False) -> Any:
    try:
        return json.dumps(value, sort_keys=sort_keys)
    except (TypeError, ValueError):
        return default


# What means the same in every template.
_EVERYWHERE: dict[str, Any] = {
    **templates.GLOBALS,
    **{name: Unavailable(name) for name in _NOT_HONOURED},
    "execute": True,
    "flags": SimpleNamespace(FULL_REFRESH=False, WHICH="run"),
    "return": _return,
    "log": _nothing,
    "print": _nothing,
    "exceptions": SimpleNamespace(raise_compiler_error=_raise, warn=_nothing),
    "modules": SimpleNamespace(
        datetime=datetime, re=Unavailable("modules.re"), itertools=Unavailable("modules.itertools")
    ),
    "tojson": _tojson,
    "fromjson": lambda text, default=None: json.loads(text) if text else default,
    "fromyaml": lambda text, default=None: yaml.safe_load(text) if text else default,
    "set": lambda values, default=None: set(values) if values is not None else default,
    "zip": lambda *lists: list(zip(*lists)),  # noqa: B905  # as dbt's
}


def docs_blocks(text: str) -> Iterator[tuple[str, str]]:
    """The docs blocks of a Markdown file: name and content."""
    for block in re.finditer(r"\{%-?\s*docs\s+(\w+)\s*-?%\}(.*?)\{%-?\s*enddocs\s*-?%\}", text, flags=re.S):
        yield block[1], block[2].strip()
