"""The columns of a table as Dagster's UI shows them."""

from __future__ import annotations

import dagster as dg

from soundlink_pipeline.contracts.table import Table


def column_schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type,
                description=table.comment(column) or None,
                constraints=dg.TableColumnConstraints(nullable=column.nullable is not False),
            )
            for column in table.columns
        ]
    )
