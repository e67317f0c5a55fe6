"""The data dictionary: every table and view of the published database, with every column, from where each is declared.

Exports come from the contracts, the pipeline's own tables from the code that makes them, models from the SQL folder
with the types DuckDB binds them to.

`python -m soundlink_pipeline.commands.data_dictionary` prints it as Markdown (`docs/data-dictionary.md`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.table import Table
from soundlink_pipeline.models.binding import check_models
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.publishing.file_copy import PUBLICATION
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.warehouse.tables import warehouse_tables

_KINDS = {"view": "View", "table": "Table", "incremental": "Table, of which a refresh rebuilds the days it pulled"}


def tables(folder: Path, exports: Sequence[Export] = EXPORTS) -> list[Table]:
    """What the published database holds, in the order to read about it. `folder` is the folder of SQL models.

    ValueError if a model cannot be read.
    """
    project = read_project(folder)
    models = check_models(project, exports)
    if wrong := project.not_built():
        raise ValueError("\n".join(wrong))
    made = [table for table in models.values() if table.kind != "ephemeral"]
    # Marts come before staging, for most questions end there.
    return [*warehouse_tables(exports), PUBLICATION, *sorted(made, key=lambda table: table.name)]


def markdown(found: Sequence[Table]) -> str:
    """The tables as a Markdown document."""
    lines = [
        "# Data dictionary",
        "",
        "Every table and view of `soundlink.duckdb`, the published database. Made by"
        " `python -m soundlink_pipeline.commands.data_dictionary`; a test keeps it true. How to use them:"
        " [analysts.md](analysts.md).",
        "",
        "**key**: the column's place in what tells one row from another. **null**: `no` where the contract, the table"
        " or a test forbids it; `yes` where it is to be expected; empty where nothing is said. Moments are UTC, columns"
        " beginning with `_` are the pipeline's own. In the database, the same is in the column `comment` of"
        " `duckdb_columns()`.",
        "",
        "| table or view | what it holds |",
        "|---|---|",
    ]
    lines += [f"| [`{table.name}`](#{_anchor(table)}) | {_cell(table.meaning)} |" for table in found]
    for table in found:
        lines += ["", f"## `{table.name}`", "", f"{table.meaning} ({_KINDS[table.kind]}.)", ""]
        columns = table.columns
        if table.like:
            columns = columns[len(table.like.columns) :]
            key = ", ".join(f"`{name}`" for name in table.grain)
            lines += [f"All columns of `{table.like.name}`, and behind them those below. Key: {key}.", ""]
        lines += ["| column | type | key | null | meaning |", "|---|---|---|---|---|"]
        for column in columns:
            key = str(table.grain.index(column.name) + 1) if column.name in table.grain else ""
            null = {None: "", True: "yes", False: "no"}[column.nullable]
            lines.append(f"| `{column.name}` | {column.type} | {key} | {null} | {_cell(column.description)} |")
    return "\n".join(lines) + "\n"


def _anchor(table: Table) -> str:
    """As GitHub makes it of a heading: without punctuation."""
    return table.name.replace(".", "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(markdown(tables(Path(sys.argv[1]) if len(sys.argv) > 1 else Settings().sql_dir)), end="")
