"""Reads the sources in YAML: the tables that the pipeline fills."""

from __future__ import annotations

import re

from soundlink_pipeline.models import templates
from soundlink_pipeline.models.config import Setting, level_of, merged
from soundlink_pipeline.models.context import Relation, Scope
from soundlink_pipeline.models.errors import ModelError, shown
from soundlink_pipeline.models.folder import files
from soundlink_pipeline.models.model import Source
from soundlink_pipeline.models.names import ASSETS, as_asset_name
from soundlink_pipeline.models.reading import Reading
from soundlink_pipeline.models.yaml_files import Document, YamlMap, a_map

_ASSET_NAME = re.compile(r"[A-Za-z0-9_]+")


def read_sources(reading: Reading) -> None:
    scope = reading.project.scope()
    for document in reading.documents:
        for source, name in reading.section(document, "sources"):
            for table, table_name in reading.section(document, "tables", source):
                key = (name, table_name)
                try:
                    found = _source(reading, document, source, table, scope)
                except ModelError as error:
                    reading.project.missing[key] = error
                    reading.project.fail(f"source_{as_asset_name(name)}_{as_asset_name(table_name)}", error)
                    continue
                if found is not None:
                    reading.project.sources[key] = found


def _source(reading: Reading, document: Document, source: YamlMap, table: YamlMap, scope: Scope) -> Source | None:
    levels = [level_of(a_map(document, part, "config"), document.path) for part in (source, table)]
    for part, level in zip((source, table), levels, strict=True):
        if part.get("meta") is not None:
            level["meta"] = Setting(a_map(document, part, "meta"), document.path, part.line_of("meta"))
    config = merged(levels, document.path)
    name, key = source["name"], (source["name"], table["name"])
    if not config.flag("enabled", True):
        reading.project.missing[key] = document.error(table.line, f"the source {key} is not enabled")
        return None
    texts = []
    for part, word, default in ((source, "schema", name), (table, "identifier", table["name"])):
        value = part.get(word, default)
        if not isinstance(value, str) or not value:
            raise document.error(part.line_of(word), f"{word} must be text, not {shown(value)}")
        texts.append(str(templates.value(document.path, part.line_of(word), value, scope)))
    meta = config.meta()
    assets = meta["assets"] if "assets" in meta else _assets_by_name(reading, texts[1], table["name"])
    if not isinstance(assets, list) or not all(isinstance(asset, str) for asset in assets):
        raise config.error("meta", f"assets must be a list of names, not {shown(assets)}")
    for asset in assets:
        if not _ASSET_NAME.fullmatch(asset) or asset == "published_database":
            raise config.error("meta", f"{shown(asset)} cannot be the asset that fills a source")
    known = {"name", "description", "schema", "identifier", "tables", "config", "meta", "columns", "quoting"}
    for part in (source, table):
        for word in part:
            if word not in known:
                reading.note(document.path, part.line_of(word), f"{shown(word)} of a source")
    columns = table.get("columns")
    if isinstance(columns, list) and any(
        isinstance(column, dict) and (column.get("tests") or column.get("data_tests")) for column in columns
    ):
        reading.note(document.path, table.line_of("columns"), f"tests of a source ({name}.{table['name']})")
    return Source(Relation(*texts), tuple(assets))


def _assets_by_name(reading: Reading, *names: str) -> list[str]:
    """The asset that fills a source, where `meta` does not say: that of the table's name, which no model has."""
    models = {path.stem for root in reading.paths("model-paths", "models") for path in files(root, ".sql")}
    return [name for name in names if name in ASSETS or (_ASSET_NAME.fullmatch(name) and name not in models)][:1]
