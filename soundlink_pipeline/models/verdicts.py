"""Runs the tests of a model, and judges the number of failing rows as dbt does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import duckdb

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.models.errors import ModelError
from soundlink_pipeline.models.model import Model, SqlProject
from soundlink_pipeline.models.statements import sql_error, statement
from soundlink_pipeline.models.templates import Rendered
from soundlink_pipeline.models.tests import DataTest
from soundlink_pipeline.warehouse.sql import is_of_the_file

SHOWN_ROWS = 10

Outcome = Literal["pass", "warn", "fail", "error"]


@dataclass(frozen=True)
class TestResult:
    """The result of a test: how many rows fail it, and the first SHOWN_ROWS of them, as `columns` and `rows`.

    The outcome is dbt's. "error" is that of a test that cannot be run: its `reason` says why, and nothing waits for it.
    """

    test: DataTest
    sql: str
    bad_rows: int = 0
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    outcome: Outcome = "pass"
    reason: str = ""

    @property
    def passed(self) -> bool:
        return self.outcome == "pass"

    @property
    def blocks(self) -> bool:
        """Whether the result must keep the model from being published."""
        return self.outcome == "fail"

    def __str__(self) -> str:
        if self.outcome == "error":
            return f"{self.test.name} cannot be run: {self.reason}"
        rows = "1 row fails" if self.bad_rows == 1 else f"{self.bad_rows} rows fail"
        return f"{rows} {self.test.name}" + (f" ({self.test.description})" if self.test.description else "")


def run_tests(
    connection: duckdb.DuckDBPyConnection, project: SqlProject, model: Model, dates: DateRange | None = None
) -> list[TestResult]:
    """Run the tests that a model shows, on all rows, or those of `dates` where each day is judged on its own."""
    tests = project.tests_of(model)
    cleared = _cleared(connection, project, tests, dates)
    return [
        TestResult(test, project.render_test(test, dates))
        if test.name in cleared
        else _run(connection, project, test, dates)
        for test in tests
    ]


def failed_tests(connection: duckdb.DuckDBPyConnection, project: SqlProject) -> list[TestResult]:
    """The tests of all models, run on all rows, that fail with severity error."""
    results = (result for model in project.models.values() for result in run_tests(connection, project, model))
    return [result for result in results if result.blocks]


def _cleared(
    connection: duckdb.DuckDBPyConnection, project: SqlProject, tests: Iterable[DataTest], dates: DateRange | None
) -> set[str]:
    """The tests that no row fails, found by one scan of the rows that they look at."""
    scans: dict[tuple[str, bool], list[DataTest]] = {}
    for test in tests:
        if test.count and test.error is None:
            scans.setdefault((test.of, test.by_day), []).append(test)
    cleared: set[str] = set()
    for (of, by_day), scanned in scans.items():
        counts = ", ".join(test.count for test in scanned)
        rows = project.rows(project.models[of], dates if by_day else None)
        try:
            (found,) = connection.execute(f"select {counts} from {rows}").fetchall()
        except duckdb.Error as error:
            if is_of_the_file(error):
                raise
            continue  # one of them cannot be run: each is tried alone
        cleared |= {test.name for test, count in zip(scanned, found, strict=True) if not count}
    return cleared


def judged(select: str, query: Rendered, test: DataTest) -> duckdb.Statement:
    """The statement that counts a test's failing rows and applies its conditions. Raises ModelError."""
    verdict = test.verdict
    # Named as dbt names them: what is no condition must not become a name.
    counted = (
        f"{select} {verdict.fail_calc} as failures, {verdict.fail_calc} {verdict.warn_if} as should_warn,"
        f" {verdict.fail_calc} {verdict.error_if} as should_error"
    )
    within = f"{counted} from (select * from"
    limited = f"limit {verdict.limit}" if verdict.limit is not None else ""
    return statement(within, query, test.path, f"{limited}) dbt_internal_test")


def _run(
    connection: duckdb.DuckDBPyConnection, project: SqlProject, test: DataTest, dates: DateRange | None
) -> TestResult:
    sql = ""
    try:
        query = project.compile_test(test, dates)
        sql = query.sql
        try:
            rows = connection.execute(judged("select", query, test)).fetchall()
            if len(rows) != 1:
                raise ModelError(
                    test.path, test.line, f"fail_calc {test.verdict.fail_calc} must give one number: it is no aggregate"
                )
            ((failures, warns, fails),) = rows
            if failures is None or warns is None or fails is None:
                reason = f"{test.verdict.fail_calc} is null, so that nothing can be compared with it"
                raise ModelError(test.path, test.line, reason)
            outcome: Outcome = "pass"
            if test.severity == "error" and fails:
                outcome = "fail"
            elif warns:
                outcome = "warn"
            if outcome == "pass":
                return TestResult(test, sql)
            columns, shown = _sample(connection, query, test)
            return TestResult(test, sql, _number(failures, test), columns, shown, outcome)
        except duckdb.Error as error:
            if is_of_the_file(error):
                raise
            raise sql_error(test.path, error, query) from None
    except ModelError as error:
        reason = str(ModelError(error.file, error.line or test.line, error.reason))
        return TestResult(test, sql, outcome="error", reason=reason)


def _sample(
    connection: duckdb.DuckDBPyConnection, query: Rendered, test: DataTest
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The first failing rows, with their columns; as text where Python has no such value (a long interval)."""
    for chosen in ("*", "columns(*)::varchar"):
        found = connection.execute(statement(f"select {chosen} from", query, test.path, f"limit {SHOWN_ROWS}"))
        columns = [name for name, *_ in found.description or ()]
        with suppress(OverflowError, ValueError):
            return columns, found.fetchall()
    return [], []


def _number(failures: Any, test: DataTest) -> int:
    """What a test counted, as a whole number. Raises ModelError."""
    try:
        return int(failures)
    except (TypeError, ValueError, OverflowError):
        reason = f"fail_calc {test.verdict.fail_calc} gives {failures!r}, which is no number"
        raise ModelError(test.path, test.line, reason) from None
