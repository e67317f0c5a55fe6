"""`docs/exports.md`, the contracts as a Markdown document: `python -m soundlink_pipeline.commands.contract_docs`."""

from __future__ import annotations

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export


def markdown(exports: tuple[Export, ...] = EXPORTS) -> str:
    """The contracts as a Markdown document (`docs/exports.md`)."""
    lines = [
        "# The exports",
        "",
        "Made from `soundlink_pipeline/contracts/` by `python -m soundlink_pipeline.commands.contract_docs`; a test"
        " keeps it true.",
        "Columns the pipeline adds at the end of each table begin with `_` and are explained by their comments.",
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


if __name__ == "__main__":
    print(markdown(), end="")
