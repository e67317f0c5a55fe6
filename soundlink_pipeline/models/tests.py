"""The tests of the SQL models, as queries that return the failing rows, and what dbt makes of their number.

A generic test stands in YAML, beside a column or a model; a singular one is a file in `tests/`; and each model's grain
is tested, too. A test that cannot be run has its reason in `error`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from soundlink_pipeline.models.config import Config
from soundlink_pipeline.models.errors import NOT_HONOURED, ModelError, shown
from soundlink_pipeline.models.properties import TestEntry
from soundlink_pipeline.models.yaml_files import YamlMap
from soundlink_pipeline.warehouse.sql import quote_name

Severity = Literal["error", "warn"]
KINDS = ("unique", "not_null", "accepted_values", "relationships")
# Stands for the model's rows in the SQL of a generic test.
ROWS = "<rows>"
# The name that dbt gives to rows chosen by `where`.
_CHOSEN = "dbt_subquery"
# A test's settings may stand in its `config`, or beside it.
SETTINGS = (
    "alias",
    "database",
    "enabled",
    "error_if",
    "fail_calc",
    "limit",
    "meta",
    "schema",
    "severity",
    "store_failures",
    "store_failures_as",
    "tags",
    "warn_if",
    "where",
)


@dataclass(frozen=True)
class Verdict:
    """How the number of failing rows is judged: the SQL conditions of dbt's `error_if` and `warn_if`."""

    severity: Severity = "error"
    fail_calc: str = "count(*)"
    error_if: str = "!= 0"
    warn_if: str = "!= 0"
    limit: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether any failing row at all decides."""
        return (self.fail_calc, self.error_if, self.warn_if, self.limit) == ("count(*)", "!= 0", "!= 0", None)


PLAIN = Verdict()


@dataclass(frozen=True)
class DataTest:
    """A test that `model`'s asset shows, of the rows of `of`.

    `sql` returns the failing rows; it contains ROWS, or is a template of its own (`singular`). `count` is an expression
    over the rows of `of` that is 0 if the test passes, so that one scan covers all tests of a model; empty for others.
    Where it is not 0, `sql` decides: `count` may count hashes. With `by_day` a day's rows are judged on their own.
    """

    name: str
    model: str
    description: str
    sql: str
    path: Path
    line: int | None = None
    of: str = ""
    count: str = ""
    singular: bool = False
    # Of a singular test: any model may show it.
    reads_no_model: bool = False
    by_day: bool = False
    kind: str = ""
    # The columns that must be there for it to run; where it depends on more, none are named.
    columns: tuple[str, ...] = ()
    verdict: Verdict = PLAIN
    error: ModelError | None = None

    @property
    def severity(self) -> Severity:
        return self.verdict.severity


@dataclass(frozen=True)
class GenericTest:
    """An entry of `data_tests`, read: which test, on which column, with which arguments and settings."""

    kind: str
    name: str
    column: str | None
    arguments: Mapping[str, Any]
    settings: Mapping[str, Any]
    description: str


def read_entry(entry: TestEntry, path: Path) -> GenericTest:
    """Either form of an entry, with or without `arguments`. Raises ModelError."""
    if entry.error is not None:
        raise entry.error
    kind, inner = _kind_of(entry, path)

    def wrong(reason: str) -> ModelError:
        return ModelError(path, entry.line, reason)

    parts: dict[str, dict[Any, Any]] = {}
    for key in ("config", "arguments"):
        parts[key] = dict(_mapping(inner.get(key)) or {})
        if _mapping(inner.get(key)) is None:
            raise wrong(f"{key} of the test {kind} must be a mapping, not {shown(inner[key])}")
    settings, arguments = parts["config"], {}
    for key, value in inner.items():
        if not isinstance(key, str):
            raise wrong(f"an argument of the test {kind} must have a name, not {shown(key)}")
        if key in SETTINGS:
            if settings.get(key) is not None:
                raise wrong(f"the test {kind} has {key} both in its config and beside it")
            settings[key] = value
        elif key not in ("config", "arguments", "name", "description"):
            arguments[key] = value
    arguments |= parts["arguments"]
    column = arguments.pop("column_name", None) or entry.column
    name = inner.get("name") or "_".join(
        [kind.replace(".", "_"), *([re.sub(r"\W+", "_", column)] if isinstance(column, str) else [])]
    )
    for word, text in (("column_name", column or ""), ("name", name)):
        if not isinstance(text, str):
            raise wrong(f"the {word} of a test must be text, not {shown(text)}")
    return GenericTest(kind, name, column, arguments, settings, str(inner.get("description") or ""))


def _kind_of(entry: TestEntry, path: Path) -> tuple[str, Mapping[Any, Any]]:
    """Which test an entry names, and what it says of it. Raises ModelError."""
    given = entry.given
    if isinstance(given, YamlMap) and "test_name" in given:
        kind, inner = given["test_name"], {key: value for key, value in given.items() if key != "test_name"}
    elif isinstance(given, YamlMap) and len(given) == 1:
        ((kind, inner),) = given.items()
    else:
        kind, inner = given, None
    if not isinstance(kind, str) or not re.fullmatch(r"\w+(\.\w+)?", kind):
        raise ModelError(path, entry.line, f"a test must be a name, or a mapping with one name, not {shown(kind)}")
    if (found := _mapping(inner)) is None:
        raise ModelError(path, entry.line, f"the test {kind} must have a mapping of arguments, not {shown(inner)}")
    return kind, found


def _mapping(value: Any) -> Mapping[Any, Any] | None:
    """The value as a mapping, an empty one for nothing; None if it is of another shape."""
    return {} if value is None else value if isinstance(value, dict) else None


def verdict(config: Config) -> Verdict:
    """Raises ModelError."""
    severity = config.get("severity", "error")
    if not isinstance(severity, str) or severity.lower() not in ("error", "warn"):
        raise config.error("severity", f"severity must be error or warn, not {shown(severity)}")
    limit = config.get("limit")
    if isinstance(limit, str) and limit.strip().isdecimal():
        limit = int(limit)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise config.error("limit", f"limit must be a whole number, not {shown(limit)}")
    fail_calc, error_if, warn_if = (config.text(key) or default for key, default in _CONDITIONS)
    if config.get("store_failures") or config.get("store_failures_as"):
        key = "store_failures" if config.get("store_failures") else "store_failures_as"
        raise config.error(key, f"{NOT_HONOURED}{key}")
    return Verdict("warn" if severity.lower() == "warn" else "error", fail_calc, error_if, warn_if, limit)


_CONDITIONS = (("fail_calc", "count(*)"), ("error_if", "!= 0"), ("warn_if", "!= 0"))


def grain_test(model: str, grain: Sequence[str], path: Path, line: int | None) -> DataTest:
    key = ", ".join(map(quote_name, grain))
    return DataTest(
        name="unique_grain",
        model=model,
        description=f"One row per {', '.join(grain)}.",
        sql=f"select {key}, count(*) as n from {ROWS} group by {key} having count(*) > 1",
        path=path,
        line=line,
        of=model,
        columns=tuple(grain),
        count=f"count(*) - count(distinct hash({key}))",
        by_day=True,
    )


@dataclass(frozen=True)
class Query:
    """A built-in test: its claim in words, the failing rows, and an expression that is 0 if there are none."""

    claim: str
    sql: str
    count: str
    by_day: bool


def built_in(test: GenericTest, where: str | None) -> Query:
    """The query of one of KINDS. Raises ValueError or TypeError for missing, unknown and unfit arguments."""
    column, arguments = test.column, dict(test.arguments)
    if column is None:
        raise ValueError(f"the test {test.kind} needs a column_name")
    rows = f"(select * from {ROWS} where {where}) {_CHOSEN}" if where else ROWS
    chosen = f" filter ({where})" if where else ""
    if test.kind == "not_null":
        query = Query(
            "Is always there.",
            f"select * from {rows} where {column} is null",
            f"count(*) - count({column})",
            True,
        )
    elif test.kind == "unique":
        query = Query(
            "No value is there twice.",
            f"select {column} as unique_field, count(*) as n_records from {rows} where {column} is not null"
            f" group by {column} having count(*) > 1",
            f"count({column}) - count(distinct {column})",
            False,
        )
    elif test.kind == "accepted_values":
        query = _accepted_values(column, rows, arguments)
    else:
        query = _relationships(column, rows, arguments)
    if arguments:
        raise ValueError(f"the test {test.kind} has no argument {shown(min(map(str, arguments)))}")
    return Query(query.claim, query.sql, "" if chosen else query.count, query.by_day)


def _accepted_values(column: str, rows: str, arguments: dict[str, Any]) -> Query:
    given = arguments.pop("values", None)
    quoted = arguments.pop("quote", True)
    if not isinstance(given, (list, tuple)):
        raise TypeError(f"the test accepted_values needs values, a list, not {shown(given)}")
    # As dbt: each in quotes, its own quotes as they are, and DuckDB makes of it what the column holds.
    values = ", ".join(f"'{value}'" if quoted else str(value) for value in given)
    bad = f"{column} not in ({values})"
    return Query(
        f"Is one of {values}, or null.",
        f"select * from (select {column} as value_field, count(*) as n_records from {rows} group by {column})"
        f" where value_field not in ({values})",
        f"count(*) filter ({bad})",
        True,
    )


def _relationships(column: str, rows: str, arguments: dict[str, Any]) -> Query:
    to, other = arguments.pop("to", None), arguments.pop("field", None)
    for name, value in (("to", to), ("field", other)):
        if not isinstance(value, str):
            raise TypeError(f"the test relationships needs {name}, not {shown(value)}")
    among = f"(select {other} from {to} where {other} is not null)"
    return Query(
        f"Every value is in {to.replace(chr(34), '')}.{other}.",
        f"select child.from_field from (select {column} as from_field from {rows} where {column} is not null) child"
        f" left join (select {other} as to_field from {to}) parent on child.from_field = parent.to_field"
        " where parent.to_field is null",
        f"count(*) filter ({column} is not null and {column} not in {among})",
        True,
    )


def unique_names(names: Sequence[str], taken: Sequence[str] = ()) -> Iterator[str]:
    """Names for checks: letters, digits and _ only, each once."""
    used = {name.lower() for name in taken}
    for name in names:
        base = re.sub(r"[^A-Za-z0-9_]+", "_", name)[:120] or "_"
        found, number = base, 1
        while found.lower() in used:
            number += 1
            found = f"{base}_{number}"
        used.add(found.lower())
        yield found
