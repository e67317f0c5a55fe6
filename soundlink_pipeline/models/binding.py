"""Binds all models and tests to an empty warehouse: which columns they make, and which of them cannot be built or run.

Nothing of them is executed and no extension is loaded: a definition that is loaded must not depend on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import DATE_COLUMN, Export
from soundlink_pipeline.contracts.table import Column, Table
from soundlink_pipeline.models import bound_before
from soundlink_pipeline.models.errors import ModelError, Notice
from soundlink_pipeline.models.model import Model, SqlProject
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.models.statements import FATAL, sql_error, statement
from soundlink_pipeline.models.tests import DataTest
from soundlink_pipeline.models.verdicts import judged
from soundlink_pipeline.models.yaml_files import words
from soundlink_pipeline.warehouse.instances import in_memory
from soundlink_pipeline.warehouse.sql import quote_name
from soundlink_pipeline.warehouse.tables import create, warehouse_tables

# The types that a chart can draw; a column of nulls alone is "NULL".
_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$|DECIMAL|DOUBLE$|FLOAT$|\"NULL\"$")
_OFF = ("autoinstall_known_extensions", "autoload_known_extensions")


@dataclass(frozen=True, eq=False)
class BoundModels:
    """A folder of SQL models as it was read, and what each of them makes, by name."""

    project: SqlProject
    tables: Mapping[str, Table]


def load_models(
    folder: Path, environment: Mapping[str, str] | None = None, *, memory: Path | None = None
) -> BoundModels:
    """Read a folder and bind all that is in it. `environment` is what `env_var` reads.

    A folder that has not changed since `memory` was written is not bound again. Never raises for the folder's content:
    what is wrong is in the project's `errors` and `notices`.
    """
    project = read_project(folder, environment)
    state = None
    if memory is not None and not project.errors:
        with suppress(OSError):
            state = bound_before.state_of(folder, environment or {})
    if memory is None or state is None:
        return BoundModels(project, check_models(project))
    if (types := bound_before.remembered(memory, state)) is not None and types.keys() == project.models.keys():
        with suppress(ModelError):  # types that nothing of ours has written
            tables = {name: _table(project, project.models[name], types[name]) for name in types}
            project.bound = types
            return BoundModels(project, tables)
    broken = sum(test.error is not None for test in project.tests)
    tables = check_models(project)
    if not project.errors and sum(test.error is not None for test in project.tests) == broken:
        project.bound = {name: {column.name: column.type for column in table.columns} for name, table in tables.items()}
        bound_before.remember(memory, state, project.bound)
    return BoundModels(project, tables)


def check_models(project: SqlProject, exports: Iterable[Export] = EXPORTS) -> dict[str, Table]:
    """Every model as the table or view it makes.

    Models that do not parse or bind become errors of the project, tests that do not get their reason.
    """
    exports = tuple(exports)
    while True:
        try:
            return _check(project, exports)
        except _Fatal as fatal:  # the next empty warehouse is bound without what broke this one
            fatal.exclude_from(project)


class _Fatal(Exception):
    """An error that DuckDB does not survive."""

    def __init__(self, culprit: Model | DataTest, error: ModelError) -> None:
        super().__init__(culprit, error)
        self.culprit, self.error = culprit, error

    def exclude_from(self, project: SqlProject) -> None:
        if isinstance(self.culprit, Model):
            project.exclude(self.culprit.name, self.error)
        else:
            failed = replace(self.culprit, error=self.error, count="")
            project.tests = [failed if test == self.culprit else test for test in project.tests]


def _check(project: SqlProject, exports: Iterable[Export]) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    if not project.models:
        return tables
    with _empty_warehouse(exports) as connection:
        for model in list(project.models.values()):
            if model.name not in project.models:
                continue  # excluded with a model it depends on
            try:
                tables[model.name] = _bind(connection, project, model)
            except ModelError as error:
                project.exclude(model.name, error)
            except FATAL as error:
                raise _Fatal(model, sql_error(model.path, error)) from None
            except Exception as error:  # whatever it is, it costs this model only
                project.exclude(model.name, ModelError(model.path, None, f"{type(error).__name__}: {error}"))
        columns = {name: {column.name.lower() for column in table.columns} for name, table in tables.items()}
        _bind_tests(connection, project, columns)
    return tables


@contextmanager
def _empty_warehouse(exports: Iterable[Export]) -> Iterator[duckdb.DuckDBPyConnection]:
    with in_memory() as connection:
        try:
            for setting in _OFF:
                connection.execute(f"set {setting} = false")
            connection.execute(";\n".join(create(table) for table in warehouse_tables(exports)))
            yield connection
        finally:
            with suppress(duckdb.Error):
                for setting in _OFF:
                    connection.execute(f"reset {setting}")


def _bind(connection: duckdb.DuckDBPyConnection, project: SqlProject, model: Model) -> Table:
    """The table or view of a model. Makes it an empty table: DuckDB would bind a view anew for each reader."""
    query = project.compile(model, incremental=False)
    try:
        described = connection.execute(statement("describe select * from", query, model.path)).fetchall()
        found = {str(name): str(type) for name, type, *_ in described}
        if model.materialized != "ephemeral":
            connection.execute(f"create schema if not exists {quote_name(model.schema)}")
            if len({name.lower() for name in found}) == len(described):
                columns = ", ".join(f"{quote_name(name)} {type}" for name, type in found.items())
                connection.execute(f"create table {model.relation} ({columns})")
            else:  # of columns with one name DuckDB renames the later ones
                making = statement(f"create table {model.relation} as", query, model.path, "with no data")
                connection.execute(making)
                described = connection.execute(f"describe {model.relation}").fetchall()
                found = {str(name): str(type) for name, type, *_ in described}
        if model.materialized == "incremental":  # which may read its own table
            query = project.compile(model, incremental=True)
            connection.execute(statement("describe select * from", query, model.path))
    except FATAL:
        raise
    except duckdb.Error as error:
        # What comes in from an ephemeral model moves the lines.
        inlined = any(project.models[name].materialized == "ephemeral" for name in model.refs)
        raise sql_error(model.path, error, None if inlined else query) from None
    return _table(project, model, found)


def _table(project: SqlProject, model: Model, found: Mapping[str, str]) -> Table:
    present = {name.lower() for name in found}
    for name in model.columns:
        if name.lower() not in present:
            reason = f"describes the column {name}, which {model.name} does not have; it has {', '.join(found)}"
            error = model.error(reason, column=name)
            project.notices.append(Notice(error.file, error.line, error.reason, model.name))
    for what, names in (("grain", model.grain), ("chart", model.charted)):
        for name in names:
            if name.lower() not in present:
                raise model.error(f"the {what} of {model.name} names {name}, which it does not have")
    if model.charted and model.materialized == "ephemeral":
        raise model.error(f"{model.name} has a chart, which needs a table or a view")
    if model.charted and not {DATE_COLUMN, "is_settled"} <= present:
        raise model.error(f"{model.name} has a chart, which needs the columns {DATE_COLUMN} and is_settled")
    types = {name.lower(): type for name, type in found.items()}
    for name in model.charted:
        if not _NUMBER.match(types[name.lower()]):
            raise model.error(f"the chart of {model.name} names {name}, which is {types[name.lower()]}, not a number")
    documented = {name.lower(): words(text) for name, text in model.columns.items()}
    never_null = {
        test.columns[0].lower() for test in project.tests_of(model) if test.columns and test.kind == "not_null"
    }
    return Table(
        name=model.table,
        kind=model.materialized,
        meaning=words(model.description),
        grain=model.grain,
        columns=tuple(
            Column(
                name, type, documented.get(name.lower(), ""), nullable=None if name.lower() not in never_null else False
            )
            for name, type in found.items()
        ),
    )


def _bind_tests(connection: duckdb.DuckDBPyConnection, project: SqlProject, columns: Mapping[str, set[str]]) -> None:
    """Tests that cannot be bound get their reason. All of a model at once, and one by one where that fails."""
    by_model: dict[str, list[DataTest]] = {}
    for test in project.tests:
        by_model.setdefault(test.model, []).append(test)
    checked: list[DataTest] = []
    for of_model in by_model.values():
        tests = of_model
        sound = [
            test
            for test in tests
            if test.error is None and not (test.columns and {name.lower() for name in test.columns} <= columns[test.of])
        ]
        if not _bound(connection, project, sound):
            failed = {id(test): _bind_test(connection, project, test) for test in sound}
            tests = [
                replace(test, error=error, count="") if (error := failed.get(id(test))) else test for test in tests
            ]
        checked += tests
    project.tests = checked


def _bound(connection: duckdb.DuckDBPyConnection, project: SqlProject, tests: Sequence[DataTest]) -> bool:
    """Whether all of these could be run, as far as one statement shows."""
    try:
        scans: dict[str, list[str]] = {}
        for test in tests:
            if test.count:
                scans.setdefault(test.of, []).append(test.count)
        for of, counts in scans.items():
            found = duckdb.extract_statements(
                f"describe select {', '.join(counts)} from {project.rows(project.models[of])}"
            )
            if len(found) != 1:
                return False
            connection.execute(found[0])
        return not any(not test.count and _bind_test(connection, project, test) for test in tests)
    except duckdb.Error:
        return False


def _bind_test(connection: duckdb.DuckDBPyConnection, project: SqlProject, test: DataTest) -> ModelError | None:
    """Why a test cannot be run."""
    try:
        query = project.compile_test(test)
        try:
            connection.execute(judged("describe select", query, test))
        except FATAL as error:
            raise _Fatal(test, sql_error(test.path, error)) from None
        except duckdb.Error as error:
            raise sql_error(test.path, error, query) from None
    except ModelError as error:
        return ModelError(error.file, error.line or test.line, error.reason)
    except _Fatal:
        raise
    except Exception as error:  # whatever it is, it costs this test only
        return ModelError(test.path, test.line, f"{type(error).__name__}: {error}")
    return None
