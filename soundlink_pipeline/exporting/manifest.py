"""The manifest of an export: the one object that says which files are a whole state. It is replaced last.

Each file has two names. `file` is one of its own, which never gets other bytes, so that whoever reads by the manifest
has all of one state. `copy` is the fixed name of its partition, for readers by pattern.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from soundlink_pipeline.exporting.store import ExportFailed

MANIFEST = "manifest.json"
# Where files have names of their own. Spark, Hive and others pass over what begins with _.
VERSIONS = "_versions"
PIPELINE = "soundlink-pipeline"
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


def read_manifest(content: bytes, where: str) -> Manifest:
    """Raises ExportFailed for what this version has not written, or cannot read."""
    try:
        found: dict[str, Any] = json.loads(content)
        format, pipeline = found.pop("format"), found.pop("pipeline")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _not_ours(where) from None
    if pipeline != PIPELINE:
        raise _not_ours(where)
    if format != _FORMAT:
        raise ExportFailed(
            f"{where} was written by a newer version of the pipeline: upgrade this one, or export to another place"
        )
    try:
        del found["rows"], found["bytes"]
        tables = [
            ExportedTable(**table | {"files": [ExportedFile(**file) for file in table["files"]]})
            for table in found.pop("tables")
        ]
        return Manifest(**found, tables=tables)
    except (KeyError, TypeError):
        raise _not_ours(where) from None


def _not_ours(where: str) -> ExportFailed:
    return ExportFailed(
        f"{where}/{MANIFEST} is not a manifest that an export has written whole: name another place, or empty this one"
    )
