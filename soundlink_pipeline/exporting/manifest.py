"""The manifest of an export: the one object that says which files are a whole state. It is replaced last.

Each file has two names. `file` is one of its own, which never gets other bytes, so that whoever reads by the manifest
has all of one state. `copy` is the fixed name of its partition, for readers by pattern.

Whoever may write to the target may have changed it: names out of it are deleted and written to, and so each is of the
form that exports give them, or the manifest is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from soundlink_pipeline.exporting.store import ExportFailed, is_plain

MANIFEST = "manifest.json"
# Where files have names of their own. Spark, Hive and others pass over what begins with _.
VERSIONS = "_versions"
PIPELINE = "soundlink-pipeline"
# What every fixed name ends with.
COPY = "data.parquet"
_FORMAT = 1


@dataclass(frozen=True)
class ExportedFile:
    """A partition, or a table without partitions (`report_date` is null then, as for rows without a day).

    `sums` of all integers and decimals, by column, as texts; `fingerprint` of the rows, `written_at` in UTC.
    """

    report_date: str | None
    file: str
    copy: str
    rows: int
    bytes: int
    sha256: str
    sums: dict[str, str | None]
    fingerprint: str
    written_at: str


@dataclass(frozen=True)
class ExportedTable:
    """A table or model; `columns` with their types, `made_by` says how files are written: both the same in all."""

    name: str
    folder: str
    partitioned_by: str | None
    columns: dict[str, str]
    made_by: str
    files: list[ExportedFile]


@dataclass(frozen=True)
class Manifest:
    """`to_copy` and `to_delete` are the fixed names that still wait for their turn: none once the export has ended."""

    export: str
    exported_at: str
    published_at: str
    run_id: str
    pipeline_version: str
    timestamps: str
    organizations: list[str]
    tables: list[ExportedTable]
    to_copy: list[str] = field(default_factory=list)
    to_delete: list[str] = field(default_factory=list)

    @property
    def files(self) -> dict[str, ExportedFile]:
        """Every file by its fixed name."""
        return {file.copy: file for table in self.tables for file in table.files}

    def as_json(self) -> bytes:
        head = {"format": _FORMAT, "pipeline": PIPELINE}
        totals = {
            "rows": sum(file.rows for file in self.files.values()),
            "bytes": sum(file.bytes for file in self.files.values()),
        }
        return json.dumps(head | totals | vars(self), default=vars, ensure_ascii=False, separators=(",", ":")).encode()


# Of what is read the shapes: a type, [one of each element], {str: one of each value}, (one, or another).
_FILE = {
    "report_date": (str, type(None)),
    "file": str,
    "copy": str,
    "rows": int,
    "bytes": int,
    "sha256": str,
    "sums": {str: (str, type(None))},
    "fingerprint": str,
    "written_at": str,
}
_TABLE = {"name": str, "folder": str, "partitioned_by": (str, type(None)), "columns": {str: str}, "made_by": str}
_HEAD = {
    "export": str,
    "exported_at": str,
    "published_at": str,
    "run_id": str,
    "pipeline_version": str,
    "timestamps": str,
    "organizations": [str],
    "to_copy": [str],
    "to_delete": [str],
}


def read_manifest(content: bytes, where: str) -> Manifest:
    """Raises ExportFailed for what this version has not written, or cannot read, or what names other places."""
    try:
        found: dict[str, Any] = json.loads(content)
        json.dumps(found, ensure_ascii=False).encode()  # fails at what JSON may escape and UTF-8 cannot write
        format, pipeline = found.pop("format"), found.pop("pipeline")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _not_ours(where) from None
    if pipeline != PIPELINE:
        raise _not_ours(where)
    if type(format) is int and format > _FORMAT:
        raise ExportFailed(
            f"{where} was written by a newer version of the pipeline: upgrade this one, or export to another place"
        )
    try:
        del found["rows"], found["bytes"]
        tables = [_table(table) for table in found.pop("tables")]
        if type(format) is not int or format != _FORMAT or not _has_fields(found, _HEAD):
            raise _not_ours(where)
        manifest = Manifest(**found, tables=tables)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise _not_ours(where) from None
    _check_names(manifest, where)
    return manifest


def _table(found: dict[str, Any]) -> ExportedTable:
    """Raises ValueError and others for what is no table."""
    files = found.pop("files")
    if not _has_fields(found, _TABLE) or not isinstance(files, list):
        raise ValueError
    if not all(_has_fields(file, _FILE) for file in files):
        raise ValueError
    return ExportedTable(**found, files=[ExportedFile(**file) for file in files])


def _has_fields(found: object, shapes: dict[str, Any]) -> bool:
    """Whether it has these fields, of these shapes, and no other."""
    return (
        isinstance(found, dict)
        and found.keys() == shapes.keys()
        and all(_is(found[name], shape) for name, shape in shapes.items())
    )


def _is(value: object, shape: Any) -> bool:
    if isinstance(shape, type):  # first, for nearly all are
        return type(value) is shape and not (shape is int and value < 0)  # type: ignore[operator]
    match shape:
        case tuple():
            return any(_is(value, one) for one in shape)
        case [each]:
            return isinstance(value, list) and all(_is(element, each) for element in value)
        case dict():
            [(key, of)] = shape.items()
            return isinstance(value, dict) and all(_is(name, key) and _is(each, of) for name, each in value.items())
    raise TypeError(shape)


def _check_names(manifest: Manifest, where: str) -> None:
    """Raises ExportFailed for a name that no export has given."""
    files = manifest.files
    for name in (file.file for table in manifest.tables for file in table.files):
        _check_name(name, name.startswith(f"{VERSIONS}/") and name.endswith(".parquet"), where)
    copies = (file.copy for table in manifest.tables for file in table.files)
    for name in (*copies, *manifest.to_copy, *manifest.to_delete):
        _check_name(name, not name.startswith(f"{VERSIONS}/") and name.endswith(f"/{COPY}"), where)
    if not {*manifest.to_copy} <= files.keys() or files.keys() & {*manifest.to_delete}:
        raise _not_ours(where)


def _check_name(name: str, has_form: bool, where: str) -> None:
    if not (has_form and is_plain(name) and "\\" not in name):
        raise ExportFailed(
            f"{where}/{MANIFEST} names {ascii(name)[:80]}, which no export has put there, so that somebody has changed"
            " it: name another place, or empty this one"
        )


def _not_ours(where: str) -> ExportFailed:
    return ExportFailed(
        f"{where}/{MANIFEST} is damaged, or is not a manifest that an export has written whole: name another place, or"
        " empty this one"
    )
