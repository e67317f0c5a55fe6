"""The SQL models as a project: reads a folder in dbt's layout into models in build order.

Order and dependencies come from the SQL itself (`ref`, `source`), documentation and tests from the YAML beside it. A
file that cannot be read becomes a `ModelError` with file, line and reason; only it and its dependents are excluded.
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
from soundlink_pipeline.models.templates import ModelError, Template
from soundlink_pipeline.models.tests import ROWS, DataTest, column_tests, grain_test, severity_of
from soundlink_pipeline.models.yaml_files import LINE, Document, entries, meta, read_yaml, words

Materialized = Literal["view", "table", "incremental"]
MATERIALIZED = ("view", "table", "incremental")
# The vars with the first and last day that an incremental model rebuilds.
START, END = "start_date", "end_date"


@dataclass(frozen=True)
class Source:
    """A table that the pipeline fills, and the assets that fill it."""

    table: str
    assets: tuple[str, ...]


# A model's name becomes part of SQL, and an asset's name.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# The owners that Dagster accepts.
_OWNER = re.compile(r"team:[\w-]+|[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True)
class Model:
    """One SQL file: the table or view it makes (`schema`.`name`), how, and its documentation."""

    name: str
    path: Path
    text: str
    schema: str
    materialized: Materialized
    refs: tuple[str, ...]
    compared_with: tuple[str, ...]  # models that a relationships test reads, so built before
    sources: tuple[Source, ...]
    description: str
    grain: tuple[str, ...]
    columns: Mapping[str, str]  # the documented ones: name, meaning
    charted: Mapping[str, str]  # columns to draw: name, title (config: meta: chart)
    owner: str | None  # team:… or an email address (config: meta: owner)
    yaml: Document | None

    @property
    def table(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def has_days(self) -> bool:
        """Whether a row belongs to a report_date, so that a refresh of some days rebuilds only those."""
        return DATE_COLUMN in self.grain

    def error(self, reason: str, *, column: str | None = None) -> ModelError:
        """An error in the model's documentation, with the line of its YAML."""
        path, entry = self.yaml or (self.path, {})
        lines = {c["name"]: c[LINE] for c in entry.get("columns") or []}
        return ModelError(path, lines.get(column, entry.get(LINE)), reason)


@dataclass
class SqlProject:
    """A folder of models. `models` are in build order; `errors` are by model, test or file name."""

    folder: Path
    models: dict[str, Model] = field(default_factory=dict)
    tests: list[DataTest] = field(default_factory=list)
    errors: dict[str, ModelError] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    sources: dict[tuple[str, str], Source] = field(default_factory=dict)

    def render(self, model: Model, *, incremental: bool, dates: DateRange | None = None) -> str:
        """The model as SQL: in full, or the rows of `dates` only. Raises ModelError."""
        template = self._template(model.path, model.text, dates)
        template.incremental, template.this = incremental, model.table
        return template.render()

    def render_test(self, test: DataTest, dates: DateRange | None = None) -> str:
        """The test as SQL, for all days or those of `dates`. Raises ModelError."""
        if test.singular:
            return self._template(test.path, test.sql, dates).render()
        return test.sql.replace(ROWS, self.rows(self.models[test.model], dates))

    def rows(self, model: Model, dates: DateRange | None = None) -> str:
        """A model's rows as a subquery: all, or those of `dates` where they belong to days."""
        days = f" where {DATE_COLUMN} between date '{dates.start}' and date '{dates.end}'" if dates else ""
        return f"(select * from {model.table}{days if model.has_days else ''})"

    def tests_of(self, model: Model) -> list[DataTest]:
        return [test for test in self.tests if test.model == model.name]

    def exclude(self, name: str, error: ModelError) -> None:
        """Take an invalid model and its dependents out of the project."""
        self.errors[name] = error
        del self.models[name]
        self.tests = [test for test in self.tests if test.model != name]
        for other in list(self.models.values()):
            if name in other.refs and other.name in self.models:
                self.exclude(other.name, _needs(other, name, error))

    def _template(self, path: Path, text: str, dates: DateRange | None = None) -> Template:
        window = {START: str(dates.start), END: str(dates.end)} if dates else {}
        return Template(path, text, self._table_of_model, self._table_of_source, self.variables | window)

    def _table_of_model(self, name: str) -> str:
        # While the project is read, and for excluded models, the bare name.
        return self.models[name].table if name in self.models else name

    def _table_of_source(self, source: str, table: str) -> str:
        if (source, table) not in self.sources:
            raise ValueError(f"there is no source ({source!r}, {table!r}) in the YAML files")
        return self.sources[source, table].table


def read_project(folder: Path) -> SqlProject:
    """Read a folder of models. Never raises for its content: see `SqlProject.errors`."""
    project = SqlProject(folder)
    settings: dict[str, Any] = {}
    documents: list[Document] = []
    for path in (folder / "dbt_project.yml", *sorted((folder / "models").rglob("*.y*ml"))):
        try:
            document = read_yaml(path)
        except ModelError as error:
            project.errors[path.name] = error
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
                raise ModelError(path, None, reason)
            if path.stem in found:
                raise ModelError(path, None, f"another model has this name: {found[path.stem].path}")
            found[path.stem] = _read_model(project, path, _folder_settings(settings, path, folder), docs.get(path.stem))
        except ModelError as error:
            project.errors.setdefault(name, error)
    for name, (path, entry) in docs.items():
        if name not in found:
            reason = f"describes {name}, for which there is no SQL file"
            project.errors.setdefault(name, ModelError(path, entry[LINE], reason))
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
    """The `+` settings of dbt_project.yml for a file; those of the innermost folder win."""
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
        # Its dependencies are those of either way of building it.
        template = project._template(path, text)
        template.incremental, template.refs, template.sources = incremental, refs, sources
        template.render()
        settings = settings | template.config
    materialized = settings.get("materialized", "view")
    if materialized not in MATERIALIZED:
        reason = f"materialized must be one of {', '.join(MATERIALIZED)}, not {materialized!r}"
        raise ModelError(path, _line_of(text, "materialized"), reason)
    yaml_path, entry = doc or (path, {})
    grain = meta(entry).get("grain") or []
    if not isinstance(grain, list) or not all(isinstance(name, str) for name in grain):
        raise ModelError(yaml_path, entry.get(LINE), "grain must be a list of column names")
    owner = meta(entry).get("owner")
    if owner is not None and not _OWNER.fullmatch(str(owner)):
        raise ModelError(yaml_path, entry.get(LINE), f"owner must be team:name or an email address, not {owner!r}")
    if materialized == "incremental" and DATE_COLUMN not in grain:
        reason = f"an incremental model is rebuilt by days: its grain (config: meta: grain in YAML) needs {DATE_COLUMN}"
        raise ModelError(path, _line_of(text, "incremental"), reason)
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
    """Sort the models by dependency; a missing dependency and a circle are errors."""
    for model in found.values():
        for name in model.refs:
            if name not in found and name not in project.errors:
                reason = f"there is no model {name!r} to ref"
                project.errors[model.name] = ModelError(model.path, _line_of(model.text, name), reason)
    while True:
        left = {name: model for name, model in found.items() if name not in project.errors}
        unmet = [(model, name) for model in left.values() for name in model.refs if name not in left]
        for model, name in unmet:
            project.errors[model.name] = _needs(model, name, project.errors[name])
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
                project.errors[name] = ModelError(left[name].path, line, reason)
        else:
            project.models = {name: left[name] for name in order}
            return


def _compared_with(entry: dict[str, Any]) -> Iterator[str]:
    for column in entry.get("columns") or []:
        for test in column.get("data_tests") or column.get("tests") or []:
            given = (test.get("relationships") or {}) if isinstance(test, dict) else {}
            to = str((given.get("arguments") or given).get("to", ""))
            yield from re.findall(r"""ref\(\s*['"](\w+)['"]\s*\)""", to)


def _needs(model: Model, name: str, error: ModelError) -> ModelError:
    return ModelError(model.path, _line_of(model.text, name), f"needs {name}, which cannot be built: {error}")


def _read_tests(project: SqlProject) -> None:
    """The tests of every model, and each `tests/*.sql`: it belongs to the last model, in build order, that it refs."""
    for model in list(project.models.values()):
        if model.name not in project.models:
            continue  # excluded with a model it depends on
        path, entry = model.yaml or (model.path, {})
        try:
            tests = list(column_tests(model.name, path, entry.get("columns") or [], lambda to: _table(project, to)))
        except ModelError as error:
            project.exclude(model.name, error)
            continue
        project.tests += ([grain_test(model.name, model.grain, path)] if model.grain else []) + tests
    order = list(project.models)
    for path in sorted((project.folder / "tests").rglob("*.sql")):
        try:
            text = _read_text(path)
            template = project._template(path, text)
            template.render()
            if any(name in project.errors for name in template.refs):
                continue  # already reported for that model
            if not template.refs or any(name not in project.models for name in template.refs):
                raise ModelError(path, None, "a test must ref a model, and only existing models")
            severity = severity_of(template.config, path, _line_of(text, "severity"))
        except ModelError as error:
            project.errors[path.stem] = error
            continue
        about = max(template.refs, key=order.index)
        project.tests.append(DataTest(path.stem, about, _first_comment(text), text, severity, path))


def _table(project: SqlProject, reference: str) -> str:
    """The table of a `ref('…')` in YAML. Raises KeyError for a missing model."""
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
        raise ModelError(path, None, f"cannot be read: {error}") from None


def _line_of(text: str, word: str) -> int | None:
    match = re.search(rf"\b{re.escape(word)}\b", text)
    return text.count("\n", 0, match.start()) + 1 if match else None


def _first_comment(text: str) -> str:
    match = re.search(r"(^--[^\n]*\n)+", text, flags=re.M)
    return words(re.sub(r"^--", "", match[0], flags=re.M)) if match else ""
