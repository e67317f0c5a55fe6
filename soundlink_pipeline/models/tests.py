"""The tests of the SQL models: those named beside a column in YAML, one for each model's grain, and singular ones.

Each is a query that returns the failing rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from soundlink_pipeline.models.templates import ModelError
from soundlink_pipeline.models.yaml_files import LINE
from soundlink_pipeline.warehouse.sql import quote

Severity = Literal["error", "warn"]
KINDS = ("unique", "not_null", "accepted_values", "relationships")
# Stands for the model's rows in the SQL of a test from YAML.
ROWS = "<rows>"


@dataclass(frozen=True)
class DataTest:
    """A test of `model`. `sql` returns the failing rows; it contains ROWS, or is a template of its own (`singular`).

    `count` is an expression over the model's rows that is 0 if the test passes, so that one scan covers all tests of a
    model; empty for a singular test. Where it is not 0, `sql` decides: `count` may count hashes.
    """

    name: str
    model: str
    description: str
    sql: str
    severity: Severity
    path: Path
    count: str = ""

    @property
    def singular(self) -> bool:
        return not self.count


def grain_test(model: str, grain: tuple[str, ...], path: Path) -> DataTest:
    key = ", ".join(grain)
    sql = f"select {key}, count(*) as n from {ROWS} group by {key} having count(*) > 1"
    count = f"count(*) - count(distinct hash({key}))"
    return DataTest("unique_grain", model, f"One row per {key}.", sql, "error", path, count)


def column_tests(
    model: str, path: Path, columns: list[dict[str, Any]], table_of: Callable[[str], str]
) -> Iterator[DataTest]:
    """The tests named beside columns. `table_of` resolves a `ref(…)` or `source(…)`. Raises ModelError."""
    for column in columns:
        for test in column.get("data_tests") or column.get("tests") or []:
            kind, given = (test, {}) if isinstance(test, str) else next((k, v) for k, v in test.items() if k != LINE)
            where = f"column {column['name']}"
            if kind not in KINDS:
                raise ModelError(path, column[LINE], f"{where}: unknown test {kind!r}; known are {', '.join(KINDS)}")
            given = given or {}
            try:
                words, sql, count = _queries(kind, column["name"], given.get("arguments") or given, table_of)
            except KeyError as error:
                raise ModelError(path, column[LINE], f"{where}: the test {kind} needs {error.args[0]}") from None
            severity = severity_of(given.get("config") or {}, path, column[LINE])
            yield DataTest(f"{kind}_{column['name']}", model, words, sql, severity, path, count)


def severity_of(config: Mapping[str, Any], path: Path, line: int | None) -> Severity:
    severity = str(config.get("severity", "error")).lower()
    if severity not in ("error", "warn"):
        raise ModelError(path, line, f"severity must be error or warn, not {severity!r}")
    return "warn" if severity == "warn" else "error"


def _queries(
    kind: str, column: str, arguments: Mapping[str, Any], table_of: Callable[[str], str]
) -> tuple[str, str, str]:
    """A column test's claim in words, the query that returns the failing rows, and the expression for a scan."""
    if kind == "not_null":
        return "Is always there.", f"select * from {ROWS} where {column} is null", f"count(*) - count({column})"
    counted = f"select {column}, count(*) as n from {ROWS}"
    if kind == "unique":
        sql = f"{counted} where {column} is not null group by {column} having count(*) > 1"
        return "No value is there twice.", sql, f"count({column}) - count(distinct {column})"
    if kind == "accepted_values":
        values = ", ".join(quote(str(value)) for value in arguments["values"])
        words, bad = f"Is one of {values}, or null.", f"{column}::varchar not in ({values})"
    else:
        to, field = table_of(arguments["to"]), arguments["field"]
        among = f"(select {field} from {to} where {field} is not null)"
        words, bad = f"Every value is in {to}.{field}.", f"{column} is not null and {column} not in {among}"
    return words, f"{counted} where {bad} group by {column}", f"count(*) filter ({bad})"
