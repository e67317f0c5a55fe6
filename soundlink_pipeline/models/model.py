"""A model, a source, and the project they belong to, which renders them as SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import DATE_COLUMN
from soundlink_pipeline.models import templates
from soundlink_pipeline.models.config import Config
from soundlink_pipeline.models.context import ConfigWord, Library, Relation, Scope, Target, Unavailable, words
from soundlink_pipeline.models.errors import ModelError, Notice
from soundlink_pipeline.models.folder import line_of
from soundlink_pipeline.models.properties import Properties
from soundlink_pipeline.models.tests import ROWS, DataTest

Materialized = Literal["view", "table", "incremental", "ephemeral"]
MATERIALIZED = ("view", "table", "incremental", "ephemeral")
SETTINGS_FILE = "dbt_project.yml"
# The vars with the first and last day that an incremental model rebuilds.
START, END = "start_date", "end_date"


@dataclass(frozen=True)
class Source:
    """A table that the pipeline fills, and the assets that fill it."""

    relation: Relation
    assets: tuple[str, ...]

    @property
    def table(self) -> str:
        return f"{self.relation.schema}.{self.relation.identifier}"


@dataclass(frozen=True)
class Model:
    """One SQL file: the table or view it makes, how, and its documentation. An ephemeral one makes nothing."""

    name: str
    path: Path
    text: str
    schema: str
    alias: str
    materialized: Materialized
    config: Config
    refs: tuple[str, ...]
    sources: tuple[Source, ...]
    description: str
    grain: tuple[str, ...]
    columns: Mapping[str, str]  # the documented ones: name, meaning
    charted: Mapping[str, str]  # columns to draw: name, title (config: meta: chart)
    owner: str | None  # team:… or an email address (config: meta: owner)
    tags: tuple[str, ...]
    comments: tuple[bool, bool]  # whether the table's and the columns' descriptions become comments (persist_docs)
    properties: Properties | None

    @property
    def table(self) -> str:
        """Its name for people; `relation` is its name in SQL."""
        return f"{self.schema}.{self.alias}"

    @property
    def relation(self) -> Relation:
        return Relation(self.schema, self.alias)

    @property
    def made_as(self) -> Literal["table", "view"]:
        """What it is in the database, unless it is ephemeral."""
        return "view" if self.materialized == "view" else "table"

    @property
    def has_days(self) -> bool:
        """Whether a row belongs to a report_date, so that a refresh of some days rebuilds only those."""
        return DATE_COLUMN in self.grain

    def error(self, reason: str, *, column: str | None = None) -> ModelError:
        """An error in the model's documentation, with the line of its YAML."""
        if self.properties is None:
            return ModelError(self.path, None, reason)
        line = self.properties.line_of(column) if column else self.properties.line
        return self.properties.document.error(line, reason)


@dataclass
class SqlProject:
    """A folder of models. `models` are in build order.

    `errors` are what cannot be built, by the name of the asset that stands in its place: the model's own, where no
    other has it. `notices` are what is not honoured, where nothing fails for it.
    """

    folder: Path
    name: str = ""
    models: dict[str, Model] = field(default_factory=dict)
    tests: list[DataTest] = field(default_factory=list)
    errors: dict[str, ModelError] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    sources: dict[tuple[str, str], Source] = field(default_factory=dict)
    # Why there is no such source, or no such model to ref: it is switched off, a seed, or broken.
    missing: dict[tuple[str, ...], ModelError] = field(default_factory=dict)
    library: Library = field(default_factory=Library)
    target: Target = field(default_factory=Target)
    environment: Mapping[str, str] = field(default_factory=dict)
    # The names of packages, which are not honoured.
    packages: set[str] = field(default_factory=set)
    # What each model makes, name and type, by its name, where that follows from nothing but the folder and our tables.
    bound: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # The tables of models that were found to be invalid later than when they were read.
    kept: set[str] = field(default_factory=set)

    def render(self, model: Model, *, incremental: bool, dates: DateRange | None = None) -> str:
        """The model as SQL: in full, or the rows of `dates` only. Raises ModelError."""
        return self.compile(model, incremental=incremental, dates=dates).sql

    def compile(self, model: Model, *, incremental: bool, dates: DateRange | None = None) -> templates.Rendered:
        """The same, with the file's lines. Raises ModelError."""
        scope = self.scope(
            dates,
            this=model.relation,
            config=ConfigWord(model.config.values()),
            is_incremental=lambda: incremental,
            model=node(self, model.config, schema=model.schema, alias=model.alias, description=model.description),
        )
        return templates.render(model.path, model.text, scope)

    def render_test(self, test: DataTest, dates: DateRange | None = None) -> str:
        """The test as SQL, for all days or those of `dates`. Raises ModelError."""
        return self.compile_test(test, dates).sql

    def compile_test(self, test: DataTest, dates: DateRange | None = None) -> templates.Rendered:
        """The same, with the file's lines, which an entry in YAML has not."""
        if test.error is not None:
            raise test.error
        if test.singular:
            return templates.render(test.path, test.sql, self.scope(dates, config=ConfigWord({})))
        rows = self.rows(self.models[test.of], dates if test.by_day else None)
        return templates.Rendered(test.sql.replace(ROWS, rows))

    def rows(self, model: Model, dates: DateRange | None = None) -> str:
        """A model's rows as a subquery: all, or those of `dates` where they belong to days."""
        days = f" where {DATE_COLUMN} between date '{dates.start}' and date '{dates.end}'" if dates else ""
        return f"(select * from {self.relation_of(model.name)}{days if model.has_days else ''})"

    def tests_of(self, model: Model) -> list[DataTest]:
        return [test for test in self.tests if test.model == model.name]

    def notices_of(self, model: Model) -> list[Notice]:
        return [notice for notice in self.notices if notice.model == model.name]

    def not_built(self) -> list[str]:
        """What cannot be built or run, each with file, line and reason."""
        tests = [f"{test.error} (the test {test.name} of {test.model})" for test in self.tests if test.error]
        return [*map(str, self.errors.values()), *tests]

    def fail(self, name: str, error: ModelError) -> None:
        """Record an error under a name that no other error and no model has."""
        found, number = name, 1
        while found in self.errors:
            if self.errors[found] is error:
                return
            number += 1
            found = f"{name}_{number}"
        self.errors[found] = error

    def exclude(self, name: str, error: ModelError) -> None:
        """Take an invalid model and its dependents out of the project, and tell what tests need it."""
        waiting = [(name, error)]
        while waiting:
            name, error = waiting.pop()
            if name not in self.models:
                continue
            self.fail(name, error)
            self.kept.add(self.models.pop(name).table)
            waiting += [(m.name, needs(m, name, error)) for m in self.models.values() if name in m.refs]
        self.tests = list(self._tests_left())

    def _tests_left(self) -> Iterable[DataTest]:
        for test in self.tests:
            if test.model in self.models and test.of in ("", *self.models):
                yield test
            elif test.reads_no_model and self.models:
                yield replace(test, model=list(self.models)[-1])
            elif test.error is None:
                lost = test.of if test.of not in ("", *self.models) else test.model
                reason = f"the test {test.name} is not run: it needs {lost}, which cannot be built"
                self.notices.append(Notice(test.path, test.line, reason))

    def scope(self, dates: DateRange | None = None, **names: Any) -> Scope:
        """What a template may name. `names`: what only this one may."""
        window = {START: str(dates.start), END: str(dates.end)} if dates else {}
        own = {"ref": self._ref, "source": self._source, **names}
        scope = words(self.library, self.target, self.variables | window, self.environment)
        scope.update({name: Unavailable(f"packages ({name})") for name in self.packages if name not in scope})
        scope.update(own, builtins=SimpleNamespace(ref=own["ref"], source=own["source"], var=scope.dbts("var")))
        return scope

    def settings_scope(self) -> Scope:
        """What templates in dbt_project.yml may name: no models, and of `var` only the default.

        dbt knows there the vars of its command line, but not those of the very file.
        """
        return words(self.library, self.target, {}, self.environment)

    def relation_of(self, name: str) -> Relation:
        """A model as SQL names it; an ephemeral one as the query it is. For what is not built, the bare name."""
        model = self.models.get(name)
        if model is None:
            return Relation("", name)
        if model.materialized == "ephemeral":
            return Relation(model.schema, model.alias, f"({self.render(model, incremental=False)}\n)")
        return model.relation

    def _ref(self, *names: Any, **version: Any) -> Relation:
        return self.relation_of(ref_name(self.name, *names, **version))

    def _source(self, source: str, table: str) -> Relation:
        return self.source(source, table).relation

    def source(self, source: str, table: str) -> Source:
        """Raises ValueError, for a broken one with the reason."""
        if (source, table) in self.sources:
            return self.sources[source, table]
        if (source, table) in self.missing:
            raise ValueError(str(self.missing[source, table]))
        raise ValueError(f"there is no source ({source!r}, {table!r}) in the YAML files")


def ref_name(project: str, *names: Any, **version: Any) -> str:
    """The model that `ref(…)` names. Raises ValueError."""
    if any(value is not None for value in version.values()):
        raise ValueError("not honoured by soundlink: versions of a model")
    if len(names) not in (1, 2) or not all(isinstance(name, str) for name in names):
        raise ValueError("ref takes the name of a model, and before it that of its project")
    if len(names) == 2 and names[0] != project:
        raise ValueError(f"not honoured by soundlink: packages ({names[0]})")
    return str(names[-1])


def node(
    project: SqlProject, config: Config, *, schema: str = "", alias: str = "", description: str = ""
) -> SimpleNamespace:
    """A model as dbt's macros know it: `model`, and the `node` of generate_schema_name."""
    path, name = config.file, config.file.stem
    relative = path.relative_to(project.folder)
    values = config.values()
    return SimpleNamespace(
        name=name,
        alias=alias or name,
        schema=schema,
        description=description,
        resource_type="model",
        package_name=project.name,
        unique_id=f"model.{project.name}.{name}",
        path=Path(*relative.parts[1:]).as_posix(),
        original_file_path=relative.as_posix(),
        fqn=[project.name, *relative.parts[1:-1], name],
        tags=values.get("tags") or [],
        meta=values.get("meta") or {},
        version=None,
        config={"materialized": "view", **values},
    )


def needs(model: Model, name: str, error: ModelError) -> ModelError:
    """The error of a model that refs an invalid one: it names the first cause."""
    cause = error.reason if error.reason.startswith("needs ") and "which cannot be built" in error.reason else None
    first = cause.partition("which cannot be built: ")[2] if cause else str(error)
    return ModelError(model.path, line_of(model.text, name), f"needs {name}, which cannot be built: {first}")
