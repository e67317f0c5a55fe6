"""Reads a folder in dbt's layout into a project: its models in build order, their tests, and what is wrong.

Never raises for the folder's content. Whatever cannot be read costs only what needs it: a model that cannot be built is
an error under its name, with file, line and reason; what dbt would do and this runner does not is one, too, where
a table depends on it, and else a notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from soundlink_pipeline.models import templates
from soundlink_pipeline.models.config import (
    Config,
    Level,
    Setting,
    level_of,
    level_of_call,
    merged,
    project_levels,
    rest_of_model,
    unused_in_project,
)
from soundlink_pipeline.models.context import ConfigWord, Relation, Scope, Target, docs_blocks
from soundlink_pipeline.models.errors import NOT_HONOURED, ModelError, Notice, readable, shown
from soundlink_pipeline.models.folder import files, line_of, read_text, subfolders
from soundlink_pipeline.models.model import (
    MATERIALIZED,
    SETTINGS_FILE,
    Materialized,
    Model,
    Source,
    SqlProject,
    node,
    ref_name,
)
from soundlink_pipeline.models.names import as_asset_name, objection_to_asset, objection_to_table
from soundlink_pipeline.models.order import put_in_order
from soundlink_pipeline.models.properties import Properties, read_properties, rendered
from soundlink_pipeline.models.read_tests import read_tests
from soundlink_pipeline.models.yaml_files import (
    Document,
    YamlMap,
    a_map,
    a_name,
    items,
    read_yaml,
    repeated_keys,
)

__all__ = ["Model", "Source", "SqlProject", "read_project"]

# The owners that Dagster accepts.
_OWNER = re.compile(r"team:[\w-]+|[^@\s]+@[^@\s]+\.[^@\s]+")
# What of dbt_project.yml is honoured, or has no meaning here; the rest gets a notice.
_PROJECT_KEYS = frozenset(
    (
        *("name", "version", "config-version", "profile", "require-dbt-version", "flags", "vars", "models"),
        *("data_tests", "tests", "model-paths", "test-paths", "macro-paths", "seed-paths", "snapshot-paths"),
        *("analysis-paths", "docs-paths", "asset-paths", "function-paths", "clean-targets", "target-path", "log-path"),
        *("packages-install-path", "query-comment", "restrict-access", "dbt-cloud"),
    )
)
_STRATEGIES = ("delete+insert",)


def read_project(folder: Path, environment: Mapping[str, str] | None = None) -> SqlProject:
    """Read a folder of models. `environment` is what `env_var` reads, by default the process's own."""
    project = SqlProject(folder, environment=environment)
    reader = _Reader(project)
    try:
        try:
            reader.read()
        except ModelError:
            raise
        except Exception as error:  # whatever lies there, the pipeline goes on
            raise ModelError(folder, None, f"cannot be read: {type(error).__name__}: {error}") from error
    except ModelError as error:
        # Without dbt_project.yml nothing is known of any model: each is an error, and keeps its table.
        project.models.clear()
        project.tests.clear()
        project.fail(SETTINGS_FILE, error)
        for path in files(folder / "models", ".sql"):
            reason = f"needs {SETTINGS_FILE}, which cannot be used: {error}"
            project.fail(
                _free_name(path, folder / "models", objection_to_asset(path.stem)), ModelError(path, None, reason)
            )
    return project


class _Reader:
    """The way from files to a project; each step adds to `project`."""

    def __init__(self, project: SqlProject) -> None:
        self.project = project
        self.folder = project.folder
        self.settings = Document(self.folder / SETTINGS_FILE, YamlMap())
        self.documents: list[Document] = []
        # The YAML of each model; or why it cannot be used.
        self.properties: dict[str, Properties | ModelError] = {}

    def read(self) -> None:
        """Raises ModelError if dbt_project.yml cannot be used."""
        self._read_settings()
        model_paths = self._paths("model-paths", "models")
        test_paths = self._paths("test-paths", "tests")
        self._read_macros(self._paths("macro-paths", "macros"), tests_only=False)
        self._read_macros([path / "generic" for path in test_paths], tests_only=True)
        self._read_packages()
        docs = self._read_docs(model_paths)
        self._read_documents([*model_paths, *test_paths])
        self._read_sources()
        self._note_the_rest(model_paths)
        self._read_properties(docs)
        found = self._read_models(model_paths)
        put_in_order(self.project, found)
        read_tests(self.project, self.settings, self.documents, test_paths)

    def _read_settings(self) -> None:
        self.settings = settings = read_yaml(self.folder / SETTINGS_FILE)
        project, content = self.project, settings.content
        name = content.get("name")
        if name is not None and (not isinstance(name, str) or not re.fullmatch(r"\w+", name)):
            raise settings.error(content.line_of("name"), f"name must be letters, digits and _, not {shown(name)}")
        project.name = project.library.project_name = name or ""
        for key in ("models", "data_tests", "tests", "vars"):
            a_map(settings, content, key)
        variables = {key: value for key, value in a_map(settings, content, "vars").items() if isinstance(key, str)}
        own = variables.get(project.name)
        project.variables = variables | (own if isinstance(own, YamlMap) else {})
        for key, value in content.items():
            if key not in _PROJECT_KEYS and value not in (None, [], {}):
                self._note(settings, content.line_of(key), f"{shown(key)} of dbt_project.yml")
        for key, line in repeated_keys(content):
            project.notices.append(Notice(settings.path, line, f"{shown(key)} stands there twice: the last one counts"))
        project.target = self._read_target()

    def _read_target(self) -> Target:
        """The target of profiles.yml in the folder, where there is one that names it."""
        path = self.folder / "profiles.yml"
        profile = self.settings.content.get("profile")
        profile = profile if isinstance(profile, str) else ""
        if not path.is_file():
            return Target(profile_name=profile)
        document: Document | None = None
        try:
            document = read_yaml(path)
            scope = self.project.scope()
            entry = a_map(document, document.content, profile)
            name = templates.value(path, entry.line_of("target"), str(entry.get("target") or "default"), scope)
            output = a_map(document, a_map(document, entry, "outputs"), str(name))
            schema = templates.value(path, output.line_of("schema"), str(output.get("schema") or "main"), scope)
            threads = output.get("threads")
        except ModelError as error:
            self.project.notices.append(Notice(error.file, error.line, f"is not used: {error.reason}"))
            return Target(profile_name=profile)
        return Target(str(name), str(schema), threads if isinstance(threads, int) else 1, profile)

    def _paths(self, key: str, default: str) -> list[Path]:
        try:
            return subfolders(self.folder, self.settings.content.get(key), [default])
        except ValueError as error:
            raise self.settings.error(self.settings.content.line_of(key), f"{key} {error}") from None

    def _read_macros(self, paths: Sequence[Path], *, tests_only: bool) -> None:
        for root in paths:
            for path in files(root, ".sql"):
                try:
                    self.project.library.add(path, tests_only=tests_only)
                    for block in re.finditer(r"\{%-?\s*materialization\s+(\w+)", read_text(path)):
                        self._note_at(path, None, f"the materialization {block[1]}")
                except ModelError as error:
                    self.project.fail(_free_name(path, self.folder, None), error)

    def _read_packages(self) -> None:
        """The names of packages: whatever is called by one of them says that packages are not honoured."""
        for file in ("packages.yml", "dependencies.yml", "package-lock.yml"):
            path = self.folder / file
            if not path.exists():
                continue
            if file != "package-lock.yml":
                self._note_at(path, None, "packages")
            try:
                names = re.findall(r"^[\s{\[-]*(?:package|git|local|name):\s*[\"']?([\w./:@-]+)", read_text(path), re.M)
            except ModelError:
                continue  # the notice is enough
            self.project.packages |= {name.removesuffix(".git").rpartition("/")[2].replace("-", "_") for name in names}

    def _read_docs(self, paths: Sequence[Path]) -> dict[str, str]:
        docs: dict[str, str] = {}
        for root in paths:
            for path in files(root, ".md"):
                try:
                    docs |= docs_blocks(read_text(path))
                except ModelError as error:
                    self.project.notices.append(Notice(error.file, error.line, error.reason))
        return docs

    def _read_documents(self, paths: Sequence[Path]) -> None:
        for root in paths:
            for path in files(root, ".yml", ".yaml"):
                try:
                    document = read_yaml(path)
                except ModelError as error:
                    self.project.fail(path.name, error)
                    self._lose(path, error)
                    continue
                self.documents.append(document)
                for key, line in repeated_keys(document.content):
                    reason = f"{shown(key)} stands there twice: the last one counts"
                    self.project.notices.append(Notice(path, line, reason))

    def _lose(self, path: Path, error: ModelError) -> None:
        """What an unreadable file names would lose its configuration and its tests: it cannot be built without."""
        try:
            text = path.read_bytes()[:4_000_000].decode("utf-8", "replace")
        except OSError:
            return
        for name in re.findall(r"^\s*-\s+name:\s*[\"']?(\w+)", text, flags=re.M):
            self.properties.setdefault(
                name, error.__class__(path, error.line, f"its YAML file cannot be used: {error.reason}")
            )

    def _section(self, document: Document, key: str, within: YamlMap | None = None) -> Iterator[tuple[YamlMap, str]]:
        """The named entries of a section; an entry of another shape is an error of the file."""
        try:
            entries = list(items(document, document.content if within is None else within, key))
        except ModelError as error:
            self.project.fail(document.path.name, error)
            return
        for entry, line in entries:
            try:
                yield entry, a_name(document, entry, line, key)
            except ModelError as error:
                self.project.fail(document.path.name, error)

    def _read_sources(self) -> None:
        scope = self.project.scope()
        for document in self.documents:
            for source, name in self._section(document, "sources"):
                for table, table_name in self._section(document, "tables", source):
                    key = (name, table_name)
                    try:
                        found = self._source(document, source, table, scope)
                    except ModelError as error:
                        self.project.missing[key] = error
                        self.project.fail(f"source_{as_asset_name(name)}_{as_asset_name(table_name)}", error)
                        continue
                    if found is not None:
                        self.project.sources[key] = found

    def _source(self, document: Document, source: YamlMap, table: YamlMap, scope: Scope) -> Source | None:
        levels = [level_of(a_map(document, part, "config"), document.path) for part in (source, table)]
        for part, level in zip((source, table), levels, strict=True):
            if part.get("meta") is not None:
                level["meta"] = Setting(a_map(document, part, "meta"), document.path, part.line_of("meta"))
        config = merged(levels, document.path)
        name, key = source["name"], (source["name"], table["name"])
        if not config.flag("enabled", True):
            self.project.missing[key] = document.error(table.line, f"the source {key} is not enabled")
            return None
        texts = []
        for part, word, default in ((source, "schema", name), (table, "identifier", table["name"])):
            value = part.get(word, default)
            if not isinstance(value, str) or not value:
                raise document.error(part.line_of(word), f"{word} must be text, not {shown(value)}")
            texts.append(str(templates.value(document.path, part.line_of(word), value, scope)))
        assets = config.meta().get("assets", [table["name"]])
        if not isinstance(assets, list) or not all(isinstance(asset, str) for asset in assets):
            raise config.error("meta", f"assets must be a list of names, not {shown(assets)}")
        for asset in assets:
            if not re.fullmatch(r"[A-Za-z0-9_]+", asset) or asset == "published_database":
                raise config.error("meta", f"{shown(asset)} cannot be the asset that fills a source")
        known = {"name", "description", "schema", "identifier", "tables", "config", "meta", "columns", "quoting"}
        for part in (source, table):
            for word in part:
                if word not in known:
                    self._note(document, part.line_of(word), f"{shown(word)} of a source")
        columns = table.get("columns")
        if isinstance(columns, list) and any(
            isinstance(column, dict) and (column.get("tests") or column.get("data_tests")) for column in columns
        ):
            self._note(document, table.line_of("columns"), f"tests of a source ({name}.{table['name']})")
        return Source(Relation(*texts), tuple(assets))

    def _read_properties(self, docs: Mapping[str, str]) -> None:
        scope = self.project.scope(doc=_doc(docs))
        for document in self.documents:
            for entry, name in self._section(document, "models"):
                known = self.properties.get(name)
                if isinstance(known, Properties):
                    reason = f"{name} is described twice; the first time in {readable(known.document.path)}"
                    self.project.fail(f"{as_asset_name(name)}_described_again", document.error(entry.line, reason))
                    continue
                try:
                    self.properties[name] = read_properties(document, entry, scope)
                except ModelError as error:
                    self.properties[name] = error

    def _read_models(self, paths: Sequence[Path]) -> dict[str, Model]:
        found: dict[str, Model] = {}
        tables: dict[tuple[str, str], Model] = {}
        names: dict[str, Path] = {}
        seen: list[list[str]] = []
        self._refuse_python(paths)
        for root, path in self._in_order_of_names(paths):
            objection = objection_to_asset(path.stem)
            if path.stem in names:
                objection = f"another model has this name: {readable(names[path.stem])}"
            names.setdefault(path.stem, path)
            fqn = [self.project.name, *path.relative_to(root).parent.parts, path.stem]
            seen.append(fqn)
            try:
                if objection:
                    raise ModelError(path, None, objection)
                model = self._read_model(path, fqn)
                if model is None:
                    continue
                if model.materialized != "ephemeral":
                    table = (model.schema.lower(), model.alias.lower())
                    if other := tables.get(table):
                        reason = f"another model makes the table {other.table}: {readable(other.path)}"
                        raise ModelError(path, None, reason)
                    tables[table] = model
                found[model.name] = model
            except ModelError as error:
                self.project.fail(_free_name(path, root, objection), error)
            except Exception as error:  # whatever lies there costs only itself
                reason = f"cannot be read: {type(error).__name__}: {error}"
                self.project.fail(_free_name(path, root, objection), ModelError(path, None, reason))
        self._tell_of_missing_files(names)
        section = a_map(self.settings, self.settings.content, "models")
        self.project.notices += unused_in_project(self.settings, section, seen)
        return found

    def _in_order_of_names(self, paths: Sequence[Path]) -> list[tuple[Path, Path]]:
        """Of two files with one name the first is the one that is described beside it."""
        found = [(root, path) for root in paths for path in files(root, ".sql")]

        def rank(item: tuple[Path, Path]) -> tuple[bool, Path]:
            known = self.properties.get(item[1].stem)
            beside = isinstance(known, Properties) and known.document.path.parent == item[1].parent
            return not beside, item[1]

        return sorted(found, key=rank)

    def _refuse_python(self, paths: Sequence[Path]) -> None:
        for root in paths:
            for path in files(root, ".py"):
                error = ModelError(path, None, f"{NOT_HONOURED}Python models")
                self.project.missing["", path.stem] = error
                self.project.fail(_free_name(path, root, objection_to_asset(path.stem)), error)

    def _tell_of_missing_files(self, names: Mapping[str, Path]) -> None:
        for name, known in self.properties.items():
            if name in names or ("", name) in self.project.missing:
                continue
            if isinstance(known, Properties):
                reason = f"describes {shown(name)[1:-1]}, for which there is no SQL file"
                self.project.fail(as_asset_name(name), known.document.error(known.line, reason))
            elif known.reason.startswith("its YAML file cannot be used"):
                continue  # the file is an error of its own; what it names may be a column
            else:
                self.project.fail(as_asset_name(name), known)

    def _read_model(self, path: Path, fqn: Sequence[str]) -> Model | None:
        """The model; None if it is switched off. Raises ModelError."""
        project, name = self.project, path.stem
        text = read_text(path)
        known = self.properties.get(name)
        if isinstance(known, ModelError):
            raise known
        section = a_map(self.settings, self.settings.content, "models")
        scope = project.scope()
        outer: list[Level] = [
            {key: rendered(setting, scope) if not key.endswith("_hook") else setting for key, setting in level.items()}
            for level in project_levels(self.settings, section, fqn)
        ]
        outer.append(known.settings if known else {})
        refs: dict[str, None] = {}
        sources: dict[Source, None] = {}
        calls: list[Level] = []
        failed: ModelError | None = None
        try:
            if not text.strip():
                raise ModelError(path, None, "is empty: there is no query in it")
            for incremental in (False, True):
                # Its dependencies are those of either way of building it.
                configure = ConfigWord(merged(outer, path).values())
                names = _recording(project, refs, sources)
                try:
                    templates.render(
                        path,
                        text,
                        project.scope(
                            None,
                            this=Relation("main", name),
                            config=configure,
                            is_incremental=lambda value=incremental: value,
                            model=node(project, merged(outer, path)),
                            **names,
                        ),
                    )
                finally:
                    calls = [level_of_call(call, path, text) for call in configure.calls]
        except ModelError as error:
            failed = error
        config = merged([*outer, *calls], path)
        if not config.flag("enabled", True):
            project.missing["", name] = ModelError(path, None, "is not enabled")
            return None
        if failed:
            raise failed
        project.notices += [*rest_of_model(config, name), *(known.notices if known else ())]
        return self._model(text, config, known, refs=tuple(refs), sources=tuple(sources))

    def _model(
        self,
        text: str,
        config: Config,
        known: Properties | None,
        *,
        refs: tuple[str, ...],
        sources: tuple[Source, ...],
    ) -> Model:
        path = config.file
        name = path.stem
        materialized = _materialized(config, text)
        grain, charted, owner = _own_meta(config)
        if materialized == "incremental" and "report_date" not in grain:
            reason = (
                f"{NOT_HONOURED}incremental without days: an incremental model is rebuilt by days, so its grain"
                " (config: meta: grain in YAML) needs report_date"
            )
            raise ModelError(path, line_of(text, "incremental"), reason)
        schema, alias = self._table_name(path, config)
        if (objection := objection_to_table(schema, alias)) and materialized != "ephemeral":
            raise config.error("schema" if config.get("schema") else "alias", objection)
        persisted = config.get("persist_docs", {})
        if not isinstance(persisted, dict):
            raise config.error("persist_docs", f"persist_docs must be a mapping, not {shown(persisted)}")
        return Model(
            name=name,
            path=path,
            text=text,
            schema=schema,
            alias=alias,
            materialized=materialized,
            config=config,
            refs=refs,
            sources=sources,
            description=known.description if known else "",
            grain=grain,
            columns={column.name: column.description for column in known.columns} if known else {},
            charted=charted,
            owner=owner,
            tags=config.tags(),
            comments=(persisted.get("relation", True) is not False, persisted.get("columns", True) is not False),
            properties=known,
        )

    def _table_name(self, path: Path, config: Config) -> tuple[str, str]:
        """Schema and name of the table: dbt's own rules, or the project's macros in their place."""
        project, name = self.project, path.stem
        schema, alias = config.text("schema"), config.text("alias")
        own = node(project, config)
        found = {
            "generate_schema_name": f"{project.target.schema}_{schema.strip()}" if schema else project.target.schema,
            "generate_alias_name": (alias or name).strip(),
        }
        for macro, given in (("generate_schema_name", schema), ("generate_alias_name", alias)):
            if project.library.has(macro):
                scope = project.scope(None, given=given, own=own)
                found[macro] = str(templates.value(path, None, f"{{{{ {macro}(given, own) }}}}", scope)).strip()
        return found["generate_schema_name"], found["generate_alias_name"]

    def _note(self, document: Document, line: int | None, what: str) -> None:
        self._note_at(document.path, line, what)

    def _note_at(self, path: Path, line: int | None, what: str) -> None:
        self.project.notices.append(Notice(path, line, NOT_HONOURED + what))

    def _note_the_rest(self, model_paths: Sequence[Path]) -> None:
        """All that dbt reads and this runner does not."""
        for document in self.documents:
            for key, value in document.content.items():
                if key not in ("version", "models", "sources", "data_tests", "anchors") and value:
                    self._note(document, document.content.line_of(key), shown(key).strip("'"))
                for entry in value if key in ("seeds", "snapshots") and isinstance(value, list) else ():
                    if isinstance(entry, dict) and isinstance(entry.get("name"), str):
                        reason = f"{NOT_HONOURED}{key} ({entry['name']})"
                        self.project.missing.setdefault(("", entry["name"]), document.error(entry.line, reason))
        for name in (".dbtignore", "selectors.yml"):
            if (self.folder / name).exists():
                self._note_at(self.folder / name, None, name)
        for kind, key, suffixes in (
            ("seeds", "seed-paths", (".csv",)),
            ("snapshots", "snapshot-paths", (".sql", ".yml", ".yaml")),
            ("analyses", "analysis-paths", (".sql",)),
            ("functions", "function-paths", (".sql",)),
        ):
            for root in self._paths(key, kind):
                for path in files(root, *suffixes):
                    for name in _names_in(path, kind):
                        error = ModelError(path, None, f"{NOT_HONOURED}{kind} ({name})")
                        self.project.missing.setdefault(("", name), error)
                    self._note_at(path, None, kind)
        for root in model_paths:
            for path in files(root, ".csv", ".ipynb", ".r"):
                self._note_at(path, None, f"a file {path.suffix} among the models")


def _names_in(path: Path, kind: str) -> list[str]:
    """What a file of a kind that is not honoured could be referred to as."""
    if kind != "snapshots":
        return [path.stem]
    try:
        found = re.findall(r"\{%-?\s*snapshot\s+(\w+)|^\s*-\s*name:\s*(\w+)", read_text(path), flags=re.M)
    except ModelError:
        return [path.stem]
    return [name for pair in found for name in pair if name]


def _doc(docs: Mapping[str, str]) -> Any:
    def doc(*names: str) -> str:
        if not names or names[-1] not in docs:
            raise ValueError(f"there is no docs block {names[-1] if names else ''!r}")
        return docs[names[-1]]

    return doc


def _recording(project: SqlProject, refs: dict[str, None], sources: dict[Source, None]) -> dict[str, Any]:
    """`ref` and `source` that write down what a model reads."""

    def ref(*names: Any, **version: Any) -> Relation:
        name = ref_name(project.name, *names, **version)
        refs[name] = None
        return Relation("main", name)

    def source(name: str, table: str) -> Relation:
        found = project.source(name, table)
        sources[found] = None
        return found.relation

    return {"ref": ref, "source": source}


def _materialized(config: Config, text: str) -> Materialized:
    given = config.get("materialized", "view")
    if given not in MATERIALIZED:
        setting = config.settings["materialized"]
        line = line_of(text, "materialized") if setting.file == config.file else setting.line
        reason = f"{NOT_HONOURED}materialized={shown(given)}; known are {', '.join(MATERIALIZED)}"
        raise ModelError(setting.file, line, reason)
    strategy = config.get("incremental_strategy")
    if given == "incremental" and strategy is not None and strategy not in _STRATEGIES:
        raise config.error("incremental_strategy", f"{NOT_HONOURED}incremental_strategy={shown(strategy)}")
    return given  # type: ignore[no-any-return]  # it is one of them


def _own_meta(config: Config) -> tuple[tuple[str, ...], dict[str, str], str | None]:
    """What this runner reads of `meta`: grain, chart and owner. Raises ModelError."""
    meta = config.meta()
    grain = meta.get("grain") or []
    if not isinstance(grain, (list, tuple)) or not all(isinstance(name, str) for name in grain):
        raise config.error("meta", "grain must be a list of column names")
    charted = meta.get("chart") or {}
    if not isinstance(charted, dict) or not all(isinstance(part, str) for item in charted.items() for part in item):
        raise config.error("meta", f"chart must be a mapping of columns to titles, not {shown(charted)}")
    owner = meta.get("owner")
    if owner is not None and not _OWNER.fullmatch(str(owner)):
        raise config.error("meta", f"owner must be team:name or an email address, not {shown(owner)}")
    return tuple(grain), dict(charted), None if owner is None else str(owner)


def _free_name(path: Path, root: Path, objection: str | None) -> str:
    """The name of the asset that stands for a broken file: the model's own, where nothing else has it."""
    if objection is None and path.parent != path and path.suffix == ".sql" and root.name != path.name:
        return path.stem if objection_to_asset(path.stem) is None else as_asset_name(path.stem)
    return as_asset_name("_".join(readable(part) for part in path.relative_to(root).with_suffix("").parts))
