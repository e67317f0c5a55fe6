"""The data dictionary: every table and view of the published database, with every column, from where each is declared.

Exports and histories come from the contracts, ledger, campaigns and publication from the code that makes them, models
from the SQL folder; the types of models and views are what DuckDB makes of them. Only the two views on the ledger are
described here, for there is nowhere else that does.

`python -m soundlink_pipeline.commands.data_dictionary` prints it as Markdown (`docs/data-dictionary.md`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.models.build import check_models
from soundlink_pipeline.models.project import Model, SqlProject, read_project
from soundlink_pipeline.publishing.file_copy import PUBLICATION_COLUMNS
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.warehouse.ledger_views import LEDGER_VIEWS
from soundlink_pipeline.warehouse.native_file import Warehouse
from soundlink_pipeline.warehouse.tables import (
    CAMPAIGN_COLUMNS,
    HISTORY_COLUMNS,
    LEDGER_COLUMNS,
    OWN_COLUMNS,
    OwnColumn,
    history_table,
)

_KINDS = {"view": "view", "table": "table", "incremental": "table, of which a refresh rebuilds the days it pulled"}


@dataclass(frozen=True)
class Column:
    """`nullable`: None where nothing forbids a null and nothing expects one."""

    name: str
    sql_type: str
    nullable: bool | None
    meaning: str


@dataclass(frozen=True)
class Table:
    """A table or view; `name` is written as a query writes it. `grain`: what one row is about, as column names.

    `like` is a table whose columns come first among `columns`.
    """

    name: str
    kind: str
    meaning: str
    grain: tuple[str, ...]
    columns: tuple[Column, ...]
    like: Table | None = None


def tables(folder: Path, exports: Sequence[Export] = EXPORTS) -> list[Table]:
    """What the published database holds, in the order to read about it. `folder` is the folder of SQL models.

    ValueError if a model cannot be read, or if a view on the ledger has columns other than those told of here.
    """
    schema = Warehouse(Path(), exports=exports).schema_statements()
    project = read_project(folder)
    types = check_models(project, schema)
    if project.problems:
        raise ValueError("\n".join(str(problem) for problem in project.problems.values()))
    found = []
    with duckdb.connect(":memory:") as connection:
        for statement in schema:
            connection.execute(statement)
        comments = dict(connection.execute("select table_name, comment from duckdb_tables()").fetchall())
        for export in exports:
            found += _export_tables(export, comments)
        found.append(_declared("deliveries", comments["deliveries"], ("delivery_id",), LEDGER_COLUMNS))
        found += _ledger_views(connection)
    found.append(_declared("campaigns", comments["campaigns"], ("campaign_id",), CAMPAIGN_COLUMNS))
    about = "When and from what this file was published. Grain: one row."
    found.append(_declared("publication", about, (), PUBLICATION_COLUMNS))
    # Marts come before staging, for most questions end there.
    models = sorted(project.models.values(), key=lambda model: (model.schema, model.name))
    return found + [_model(project, model, types[model.name]) for model in models]


def _export_tables(export: Export, comments: Mapping[str, str]) -> list[Table]:
    contract = [Column(c.name, c.sql_type, c.nullable, _sentence(c.meaning, c.rule)) for c in export.columns]
    name, history = export.name, history_table(export)
    table = Table(name, "table", comments[name], export.primary_key, (*contract, *map(_own, OWN_COLUMNS)))
    key = (*export.primary_key, "_valid_until", "_delivery_id")
    columns = (*table.columns, *map(_own, HISTORY_COLUMNS))
    return [table, Table(history, "table", comments[history], key, columns, like=table)]


def _own(column: OwnColumn) -> Column:
    return Column(column.name, column.sql_type, None, column.meaning)


def _sentence(meaning: str, rule: str) -> str:
    return f"{meaning} Rule: {rule}." if rule else meaning


def _declared(name: str, meaning: str, grain: tuple[str, ...], declared: Sequence[tuple[str, str, str]]) -> Table:
    columns = [Column(n, t.removesuffix(" not null"), not t.endswith(" not null"), text) for n, t, text in declared]
    return Table(name, "table", meaning, grain, tuple(columns))


def _ledger_views(connection: duckdb.DuckDBPyConnection) -> list[Table]:
    found = []
    for name, (meaning, grain, texts) in LEDGER_VIEWS.items():
        types = {column: str(kind) for column, kind, *_ in connection.execute(f"describe {name}").fetchall()}
        if types.keys() != texts.keys():
            raise ValueError(f"{name} has the columns {', '.join(types)}; told of are {', '.join(texts)}")
        columns = tuple(Column(column, kind, None, texts[column]) for column, kind in types.items())
        found.append(Table(name, "view", meaning, grain, columns))
    return found


def _model(project: SqlProject, model: Model, types: dict[str, str]) -> Table:
    never_null = {test.name.removeprefix("not_null_") for test in project.tests_of(model)}
    columns = tuple(
        Column(name, kind, False if name in never_null else None, model.columns.get(name, ""))
        for name, kind in types.items()
    )
    return Table(model.table, _KINDS[model.materialized], model.description, model.grain, columns)


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
        lines += ["", f"## `{table.name}`", "", f"{table.meaning} ({table.kind[:1].upper()}{table.kind[1:]}.)", ""]
        columns = table.columns
        if table.like:
            columns = columns[len(table.like.columns) :]
            key = ", ".join(f"`{name}`" for name in table.grain)
            lines += [f"All columns of `{table.like.name}`, and behind them those below. Key: {key}.", ""]
        lines += ["| column | type | key | null | meaning |", "|---|---|---|---|---|"]
        for column in columns:
            key = str(table.grain.index(column.name) + 1) if column.name in table.grain else ""
            null = {None: "", True: "yes", False: "no"}[column.nullable]
            lines.append(f"| `{column.name}` | {column.sql_type} | {key} | {null} | {_cell(column.meaning)} |")
    return "\n".join(lines) + "\n"


def _anchor(table: Table) -> str:
    """As GitHub makes it of a heading: without punctuation."""
    return table.name.replace(".", "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(markdown(tables(Path(sys.argv[1]) if len(sys.argv) > 1 else Settings().sql_dir)), end="")
