"""The SQL models as a project: reads a folder in dbt's layout and says what is in it, in the order of building.

Order and dependencies come from the SQL itself (`ref`, `source`), documentation and tests from the YAML beside it. What
cannot be read is a `Problem` with file, line and reason; it costs the models that need it, and nothing else.
"""

from __future__ import annotations

import graphlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import DATE_COLUMN
from soundlink_pipeline.models.templates import Problem, Template
from soundlink_pipeline.models.tests import ROWS, DataTest, column_tests, grain_test, severity_of
from soundlink_pipeline.models.yaml_files import LINE, Document, entries, meta, read_yaml, words

Materialized = Literal["view", "table", "incremental"]
MATERIALIZED = ("view", "table", "incremental")
# The vars that bound the days an incremental model rebuilds, both included.
START, END = "start_date", "end_date"


@dataclass(frozen=True)
class Source:
    """A table the pipeline fills, and the assets that fill it."""

    table: str
    assets: tuple[str, ...]


# A model's name goes into SQL, and is an asset's.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What Dagster takes for an owner.
_OWNER = re.compile(r"team:[\w-]+|[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True)
class Model:
    """One SQL file: what it makes (`schema`.`name`), how, and what it is about."""

    name: str
    path: Path
    text: str
    schema: str
    materialized: Materialized
    refs: tuple[str, ...]
    compared_with: tuple[str, ...]  # models that a relationships test looks into, hence built before
    sources: tuple[Source, ...]
    description: str
    grain: tuple[str, ...]
    columns: Mapping[str, str]  # those documented, with their meaning
    charted: Mapping[str, str]  # those worth a picture, with a title each (config: meta: chart)
    owner: str | None  # team:… or an email address (config: meta: owner)
    yaml: Document | None

    @property
    def table(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def has_days(self) -> bool:
        """Whether a row belongs to a report_date, so that a refresh of some days concerns these alone."""
        return DATE_COLUMN in self.grain

    def problem(self, reason: str, *, column: str | None = None) -> Problem:
        """A problem with the model's documentation, told where that is."""
        path, entry = self.yaml or (self.path, {})
        lines = {c["name"]: c[LINE] for c in entry.get("columns") or []}
        return Problem(path, lines.get(column, entry.get(LINE)), reason)


@dataclass
class SqlProject:
    """A folder of models. `models` are in the order of building; `problems` are told by model, test or file name."""

    folder: Path
    models: dict[str, Model] = field(default_factory=dict)
    tests: list[DataTest] = field(default_factory=list)
    problems: dict[str, Problem] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    sources: dict[tuple[str, str], Source] = field(default_factory=dict)

    def render(self, model: Model, *, incremental: bool, dates: DateRange | None = None) -> str:
        """The model as SQL: in full, or the rows of `dates` only. Raises Problem."""
        template = self._template(model.path, model.text, dates)
        template.incremental, template.this = incremental, model.table
        return template.render()

    def render_test(self, test: DataTest, dates: DateRange | None = None) -> str:
        """The test as SQL, for all days or those of `dates`. Raises Problem."""
        if test.singular:
            return self._template(test.path, test.sql, dates).render()
        return test.sql.replace(ROWS, self.rows(self.models[test.model], dates))

    def rows(self, model: Model, dates: DateRange | None = None) -> str:
        """A model's rows as a subquery: all, or those of `dates` where they belong to days."""
        days = f" where {DATE_COLUMN} between date '{dates.start}' and date '{dates.end}'" if dates else ""
        return f"(select * from {model.table}{days if model.has_days else ''})"

    def tests_of(self, model: Model) -> list[DataTest]:
        return [test for test in self.tests if test.model == model.name]

    def give_up(self, name: str, problem: Problem) -> None:
        """Take a model that cannot be built out of the project, with all that needs it."""
        self.problems[name] = problem
        del self.models[name]
        self.tests = [test for test in self.tests if test.model != name]
        for other in list(self.models.values()):
            if name in other.refs and other.name in self.models:
                self.give_up(other.name, _needs(other, name, problem))

    def _template(self, path: Path, text: str, dates: DateRange | None = None) -> Template:
        window = {START: str(dates.start), END: str(dates.end)} if dates else {}
        return Template(path, text, self._table_of_model, self._table_of_source, self.variables | window)

    def _table_of_model(self, name: str) -> str:
        # A model that is not known yet (the project is being read) or no more stands for itself.
        return self.models[name].table if name in self.models else name

    def _table_of_source(self, source: str, table: str) -> str:
        if (source, table) not in self.sources:
            raise ValueError(f"there is no source ({source!r}, {table!r}) in the YAML files")
        return self.sources[source, table].table


def read_project(folder: Path) -> SqlProject:
    """Read a folder of models. Never raises for what is in it: that is in `problems`."""
    project = SqlProject(folder)
    settings: dict[str, Any] = {}
    documents: list[Document] = []
    for path in (folder / "dbt_project.yml", *sorted((folder / "models").rglob("*.y*ml"))):
        try:
            document = read_yaml(path)
        except Problem as problem:
            project.problems[path.name] = problem
            continue
        if path.parent == folder:
            settings = document
        else:
            documents.append((path, document))
    project.variables = {name: value for name, value in (settings.get("vars") or {}).items() if name != LINE}
    _read_sources(project, documents)
    docs = {entry["name"]: (path, entry) for path, entry in entries(documents, "models")}
    found: dict[str, Model] = {}
    for path in sorted((folder / "models").rglob("*.sql")):
        name = path.stem
        try:
            if not _NAME.fullmatch(name):
                name = "file_" + re.sub("[^A-Za-z0-9]+", "_", name).strip("_")
                reason = "the file's name is the model's: letters, digits and _ only, not beginning with a digit"
                raise Problem(path, None, reason)
            if path.stem in found:
                raise Problem(path, None, f"a model of this name is there already: {found[path.stem].path}")
            found[path.stem] = _read_model(project, path, _folder_settings(settings, path, folder), docs.get(path.stem))
        except Problem as problem:
            project.problems.setdefault(name, problem)
    for name, (path, entry) in docs.items():
        if name not in found:
            reason = f"describes {name}, for which there is no SQL file"
            project.problems.setdefault(name, Problem(path, entry[LINE], reason))
    _put_in_order(project, found)
    _read_tests(project)
    return project


def _read_sources(project: SqlProject, documents: list[Document]) -> None:
    for path, source in entries(documents, "sources"):
        for _, table in entries([(path, source)], "tables"):
            name = f"{source.get('schema', 'main')}.{table.get('identifier', table['name'])}"
            assets = meta(table).get("assets", [table["name"]])
            project.sources[source["name"], table["name"]] = Source(name, tuple(assets))


def _folder_settings(settings: dict[str, Any], path: Path, folder: Path) -> dict[str, Any]:
    """The `+` settings of dbt_project.yml for a file; those of its own folder win."""
    level = (settings.get("models") or {}).get(settings.get("name")) or {}
    found: dict[str, Any] = {}
    for part in ("", *path.relative_to(folder / "models").parent.parts):
        level = level if not part else level.get(part) or {}
        found |= {key[1:]: value for key, value in level.items() if key.startswith("+")}
    return found


def _read_model(project: SqlProject, path: Path, settings: dict[str, Any], doc: Document | None) -> Model:
    text = _read_text(path)
    refs: dict[str, None] = {}
    sources: dict[tuple[str, str], None] = {}
    for incremental in (False, True):
        # What it needs is what it asks for, whichever way it is built.
        template = project._template(path, text)
        template.incremental, template.refs, template.sources = incremental, refs, sources
        template.render()
        settings = settings | template.config
    materialized = settings.get("materialized", "view")
    if materialized not in MATERIALIZED:
        reason = f"materialized must be one of {', '.join(MATERIALIZED)}, not {materialized!r}"
        raise Problem(path, _line_of(text, "materialized"), reason)
    yaml_path, entry = doc or (path, {})
    grain = meta(entry).get("grain") or []
    if not isinstance(grain, list) or not all(isinstance(name, str) for name in grain):
        raise Problem(yaml_path, entry.get(LINE), "grain must be a list of column names")
    owner = meta(entry).get("owner")
    if owner is not None and not _OWNER.fullmatch(str(owner)):
        raise Problem(yaml_path, entry.get(LINE), f"owner must be team:name or an email address, not {owner!r}")
    if materialized == "incremental" and DATE_COLUMN not in grain:
        reason = f"an incremental model is rebuilt by days: its grain (config: meta: grain in YAML) needs {DATE_COLUMN}"
        raise Problem(path, _line_of(text, "incremental"), reason)
    return Model(
        name=path.stem,
        path=path,
        text=text,
        schema=settings.get("schema", "main"),
        materialized=materialized,
        refs=tuple(refs),
        compared_with=tuple(_compared_with(entry)),
        sources=tuple(project.sources[key] for key in sources),
        description=words(entry.get("description")),
        grain=tuple(grain),
        columns={column["name"]: words(column.get("description")) for column in entry.get("columns") or []},
        charted={name: title for name, title in (meta(entry).get("chart") or {}).items() if name != LINE},
        owner=owner,
        yaml=doc,
    )


def _put_in_order(project: SqlProject, found: dict[str, Model]) -> None:
    """Sort the models by what they need; those that need a missing one, or each other in a circle, are problems."""
    for model in found.values():
        for name in model.refs:
            if name not in found and name not in project.problems:
                reason = f"there is no model {name!r} to ref"
                project.problems[model.name] = Problem(model.path, _line_of(model.text, name), reason)
    while True:
        left = {name: model for name, model in found.items() if name not in project.problems}
        unmet = [(model, name) for model in left.values() for name in model.refs if name not in left]
        for model, name in unmet:
            project.problems[model.name] = _needs(model, name, project.problems[name])
        if unmet:
            continue
        try:
            before = {m.name: sorted({*m.refs, *(n for n in m.compared_with if n in left)}) for m in left.values()}
            order = list(graphlib.TopologicalSorter(before).static_order())
        except graphlib.CycleError as error:
            circle = error.args[1]
            for name in set(circle):
                line = next((_line_of(left[name].text, ref) for ref in left[name].refs if ref in circle), None)
                reason = f"is part of a circle of refs (relationships tests count, too): {' -> '.join(circle)}"
                project.problems[name] = Problem(left[name].path, line, reason)
        else:
            project.models = {name: left[name] for name in order}
            return


def _compared_with(entry: dict[str, Any]) -> Iterator[str]:
    for column in entry.get("columns") or []:
        for test in column.get("data_tests") or column.get("tests") or []:
            given = (test.get("relationships") or {}) if isinstance(test, dict) else {}
            to = str((given.get("arguments") or given).get("to", ""))
            yield from re.findall(r"""ref\(\s*['"](\w+)['"]\s*\)""", to)


def _needs(model: Model, name: str, problem: Problem) -> Problem:
    return Problem(model.path, _line_of(model.text, name), f"needs {name}, which cannot be built: {problem}")


def _read_tests(project: SqlProject) -> None:
    """The tests of every model, and each `tests/*.sql`, which is asked once the last model it refers to is built."""
    for model in list(project.models.values()):
        if model.name not in project.models:
            continue  # given up with one it needs
        path, entry = model.yaml or (model.path, {})
        try:
            tests = list(column_tests(model.name, path, entry.get("columns") or [], lambda to: _table(project, to)))
        except Problem as problem:
            project.give_up(model.name, problem)
            continue
        project.tests += ([grain_test(model.name, model.grain, path)] if model.grain else []) + tests
    order = list(project.models)
    for path in sorted((project.folder / "tests").rglob("*.sql")):
        try:
            text = _read_text(path)
            template = project._template(path, text)
            template.render()
            if any(name in project.problems for name in template.refs):
                continue  # told there
            if not template.refs or any(name not in project.models for name in template.refs):
                raise Problem(path, None, "a test must ref a model, and only models that are there")
            severity = severity_of(template.config, path, _line_of(text, "severity"))
        except Problem as problem:
            project.problems[path.stem] = problem
            continue
        about = max(template.refs, key=order.index)
        project.tests.append(DataTest(path.stem, about, _first_comment(text), text, severity, path))


def _table(project: SqlProject, reference: str) -> str:
    """The table that a `ref('…')` in YAML stands for. Raises KeyError for a model that is not there."""
    template = project._template(project.folder, f"{{{{ {reference} }}}}")
    table = template.render()
    missing = [name for name in template.refs if name not in project.models]
    if missing:
        raise KeyError(f"the model {missing[0]}, which is not there")
    return table


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(path, None, f"cannot be read: {error}") from None


def _line_of(text: str, word: str) -> int | None:
    match = re.search(rf"\b{re.escape(word)}\b", text)
    return text.count("\n", 0, match.start()) + 1 if match else None


def _first_comment(text: str) -> str:
    match = re.search(r"(^--[^\n]*\n)+", text, flags=re.M)
    return words(re.sub(r"^--", "", match[0], flags=re.M)) if match else ""
