"""The contracts as documents: `docs/exports.md`, and the rows in `docs/soundlink-openapi.yaml`.

`python -m soundlink_pipeline.commands.contract_docs` prints the first; with the path of the second it makes its rows
anew, which are all that stands below a line that says so.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export, ExportColumn

_ROWS_BELOW = "    # Rows of the exports, made from soundlink_pipeline/contracts/: nothing below is written by hand.\n"
_JSON_TYPES = {
    "VARCHAR": {"type": "string"},
    "BIGINT": {"type": "integer"},
    "DOUBLE": {"type": "number"},
    "DECIMAL(18,6)": {"type": "number"},
    "DATE": {"type": "string", "format": "date"},
    "TIMESTAMP": {"type": "string", "format": "date-time"},
}
_COUNTRY = "^[A-Z][A-Z0-9]$"


def markdown(exports: tuple[Export, ...] = EXPORTS) -> str:
    """The contracts as a Markdown document (`docs/exports.md`)."""
    lines = [
        "# The exports",
        "",
        "Made from `soundlink_pipeline/contracts/` by `python -m soundlink_pipeline.commands.contract_docs`; a test"
        " keeps it true.",
        "Columns the pipeline adds at the end of each table begin with `_` and are explained by their comments.",
        "The whole API as an OpenAPI 3.1 document: [soundlink-openapi.yaml](soundlink-openapi.yaml).",
    ]
    for export in exports:
        lines += [
            "",
            f"## `{export.name}`",
            "",
            export.describe(),
            "",
            f"- API: `GET {export.path}`",
            f"- Primary key: {', '.join(f'`{name}`' for name in export.primary_key)}",
            "",
            "| column | type | null | meaning | rule |",
            "|---|---|---|---|---|",
        ]
        for column in export.columns:
            null = "yes" if column.nullable else "no"
            lines.append(f"| `{column.name}` | {column.type} | {null} | {column.meaning} | {column.rule} |")
    return "\n".join(lines) + "\n"


def openapi(document: str, exports: tuple[Export, ...] = EXPORTS) -> str:
    """The OpenAPI document with the rows of its exports made anew, each a schema of its name.

    Raises ValueError if the line is missing that they stand below.
    """
    by_hand, line, _ = document.partition(_ROWS_BELOW)
    if not line:
        raise ValueError(f"the OpenAPI document has no line {_ROWS_BELOW.strip()!r}")
    lines = [row for export in exports for row in _row_schema(export)]
    return by_hand + line + "\n".join(lines) + "\n"


def _row_schema(export: Export) -> list[str]:
    """YAML, in which JSON may stand; fields that no contract knows may be added to a row."""
    required = [column.name for column in export.columns if not column.nullable]
    return [
        f"    {export.name}:",
        f"      description: {json.dumps(export.describe(), ensure_ascii=False)}",
        "      type: object",
        f"      required: {json.dumps(required)}",
        "      properties:",
        *(f"        {column.name}: {json.dumps(_schema(column), ensure_ascii=False)}" for column in export.columns),
    ]


def _schema(column: ExportColumn) -> dict[str, Any]:
    schema: dict[str, Any] = dict(_JSON_TYPES[column.type])
    if column.allowed:
        schema["enum"] = list(column.allowed)
    if column.minimum is not None:
        schema["minimum"] = column.minimum
    if column.country:
        schema["pattern"] = _COUNTRY
    if column.nullable:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"].append(None)
    return schema | {"description": column.meaning}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        target = Path(sys.argv[1])
        target.write_text(openapi(target.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(markdown(), end="")
