"""Reads the SQL files of a folder into models, each with its configuration from all places."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from soundlink_pipeline.models import templates
from soundlink_pipeline.models.config import (
    Config,
    Level,
    level_of_call,
    merged,
    project_levels,
    rest_of_model,
    unused_in_project,
)
from soundlink_pipeline.models.context import ConfigWord, Relation
from soundlink_pipeline.models.errors import NOT_HONOURED, ModelError, readable, shown
from soundlink_pipeline.models.folder import files, line_of, read_text
from soundlink_pipeline.models.model import (
    MATERIALIZED,
    Materialized,
    Model,
    Source,
    SqlProject,
    node,
    ref_name,
)
from soundlink_pipeline.models.names import as_asset_name, objection_to_asset, objection_to_table
from soundlink_pipeline.models.properties import Properties, rendered
from soundlink_pipeline.models.reading import UNUSABLE, Reading, asset_of_file
from soundlink_pipeline.models.yaml_files import a_map

# The owners that Dagster accepts.
_OWNER = re.compile(r"team:[\w-]+|[^@\s]+@[^@\s]+\.[^@\s]+")
_STRATEGIES = ("delete+insert",)


def read_models(reading: Reading, paths: Sequence[Path]) -> dict[str, Model]:
    found: dict[str, Model] = {}
    tables: dict[tuple[str, str], Model] = {}
    names: dict[str, Path] = {}
    described: set[str] = set()
    seen: list[list[str]] = []
    _refuse_python(reading, paths)
    for root, path in _in_order_of_names(reading, paths):
        objection = objection_to_asset(path.stem)
        if path.stem in names:
            objection = f"another model has this name: {readable(names[path.stem])}"
        names.setdefault(path.stem, path)
        fqn = [reading.project.name, *path.relative_to(root).parent.parts, path.stem]
        seen.append(fqn)
        try:
            if objection:
                raise ModelError(path, None, objection)
            model = _read_model(reading, path, fqn)
            if model is None:
                del names[path.stem]  # switched off, it leaves its name to another
                described.add(path.stem)
                continue
            if model.materialized != "ephemeral":
                table = (model.schema.lower(), model.alias.lower())
                if other := tables.get(table):
                    reason = f"another model makes the table {other.table}: {readable(other.path)}"
                    raise ModelError(path, None, reason)
                tables[table] = model
            found[model.name] = model
        except ModelError as error:
            reading.project.fail(asset_of_file(path, root, model=objection is None), error)
        except Exception as error:  # whatever lies there costs only itself
            reason = f"cannot be read: {type(error).__name__}: {error}"
            reading.project.fail(asset_of_file(path, root, model=objection is None), ModelError(path, None, reason))
    _tell_of_missing_files(reading, {*names, *described})
    section = a_map(reading.settings, reading.settings.content, "models")
    if seen:
        reading.project.notices += unused_in_project(reading.settings, section, seen)
    return found


def _in_order_of_names(reading: Reading, paths: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Of two files with one name the first is the one that is described beside it."""
    found = [(root, path) for root in paths for path in files(root, ".sql")]

    def rank(item: tuple[Path, Path]) -> tuple[bool, Path]:
        known = reading.properties.get(item[1].stem)
        beside = isinstance(known, Properties) and known.document.path.parent == item[1].parent
        return not beside, item[1]

    return sorted(found, key=rank)


def _refuse_python(reading: Reading, paths: Sequence[Path]) -> None:
    for root in paths:
        for path in files(root, ".py"):
            error = ModelError(path, None, f"{NOT_HONOURED}Python models")
            reading.project.missing["", path.stem] = error
            reading.project.fail(asset_of_file(path, root, model=True), error)


def _tell_of_missing_files(reading: Reading, names: set[str]) -> None:
    for name, known in reading.properties.items():
        if name in names or ("", name) in reading.project.missing:
            continue
        if isinstance(known, Properties):
            reason = f"describes {shown(name)[1:-1]}, for which there is no SQL file"
            reading.project.fail(as_asset_name(name), known.document.error(known.line, reason))
        elif known.reason.startswith(UNUSABLE):
            continue  # the file is an error of its own; what it names may be a column
        else:
            reading.project.fail(as_asset_name(name), known)


def _read_model(reading: Reading, path: Path, fqn: Sequence[str]) -> Model | None:
    """The model; None if it is switched off. Raises ModelError."""
    project, name = reading.project, path.stem
    text = read_text(path)
    known = reading.properties.get(name)
    if isinstance(known, ModelError):
        raise known
    section = a_map(reading.settings, reading.settings.content, "models")
    scope = project.settings_scope()
    outer: list[Level] = [
        {key: rendered(setting, scope) if not key.endswith("_hook") else setting for key, setting in level.items()}
        for level in project_levels(reading.settings, section, fqn)
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
    return _model(reading, text, config, known, refs=tuple(refs), sources=tuple(sources))


def _model(
    reading: Reading,
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
    schema, alias = _table_name(reading, path, config)
    if (objection := objection_to_table(schema, alias)) and materialized != "ephemeral":
        raise config.error("schema" if config.get("schema") else "alias", objection)
    # As long as nothing is said of them, descriptions become comments.
    persisted = config.get("persist_docs", {"relation": True, "columns": True})
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
        comments=(bool(persisted.get("relation")), bool(persisted.get("columns"))),
        properties=known,
    )


def _table_name(reading: Reading, path: Path, config: Config) -> tuple[str, str]:
    """Schema and name of the table: dbt's own rules, or the project's macros in their place."""
    project, name = reading.project, path.stem
    schema, alias = config.text("schema"), config.text("alias")
    own = node(project, config)
    default = project.target.schema
    found = {
        "generate_schema_name": default if schema is None else f"{default}_{schema.strip()}",
        "generate_alias_name": (alias or name).strip(),
    }
    for macro, given in (("generate_schema_name", schema), ("generate_alias_name", alias)):
        if project.library.has(macro):
            scope = project.scope(None, given=given, own=own)
            found[macro] = str(templates.value(path, None, f"{{{{ {macro}(given, own) }}}}", scope)).strip()
    return found["generate_schema_name"], found["generate_alias_name"]


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
