"""Which names a model may have, for its asset and for its table: nothing of the pipeline's own is in the way."""

from __future__ import annotations

import keyword
import re

from soundlink_pipeline.contracts.exports import EXPORTS, SUBJECTS
from soundlink_pipeline.warehouse.own_tables import OWN_SCHEMA
from soundlink_pipeline.warehouse.tables import warehouse_tables

# The pipeline's own assets; a test compares them with those that Dagster is given.
ASSETS = frozenset(
    (
        *(export.name for export in EXPORTS),
        *(subject.table for subject in SUBJECTS),
        *("campaign_totals", "parquet_export", "published_database", "soundlink_api"),
    )
)
_ASSET_NAME = re.compile(r"[A-Za-z0-9_]+")
# The names that Dagster refuses.
_DAGSTERS = frozenset(
    (
        *keyword.kwlist,
        *("arg_dict", "bool", "conf", "config", "context", "dict", "float", "input", "input_arg_dict", "int", "meta"),
        *("output", "output_arg_dict", "str", "type"),
    )
)
_OWN_TABLES = frozenset((*(table.name for table in warehouse_tables(EXPORTS)), "publication"))
# What DuckDB itself calls so: schemas and databases of its own, and the database files of the pipeline.
_RESERVED_SCHEMAS = frozenset(
    ("empty", "information_schema", "memory", "pg_catalog", "soundlink", "system", "temp", "warehouse")
)


def objection_to_asset(name: str) -> str | None:
    """Why no asset can have this name; None if one can."""
    if not _ASSET_NAME.fullmatch(name):
        return "the file's name is the model's and its asset's: letters, digits and _ only"
    if name in _DAGSTERS:
        return f"no asset can have the name {name}: it is a word of Python's or Dagster's own"
    if name.lower() in ASSETS:
        return f"an asset of the pipeline has this name: {name}"
    return None


def objection_to_table(schema: str, alias: str) -> str | None:
    """Why no model can make this table; None if one can."""
    if not schema.strip() or not alias.strip() or "\0" in schema + alias:
        return f"a table must have a name and a schema, not {alias!r} in {schema!r}"
    if schema.lower() == OWN_SCHEMA:
        return f"the schema {schema} is for the tables of analysts' own files"
    if schema.lower() in _RESERVED_SCHEMAS:
        return f"the schema {schema} is DuckDB's own, or a database has this name"
    if schema.lower() == "main" and (alias.lower() in _OWN_TABLES or alias.startswith("_")):
        return f"the table main.{alias} is the pipeline's own"
    return None


def as_asset_name(text: str) -> str:
    """A name like `text` that an asset can have."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_") or "file"
    return f"{name}_" if name in _DAGSTERS else name
