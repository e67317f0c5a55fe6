"""The columns of a table as Dagster's UI shows them."""

from __future__ import annotations

import dagster as dg

from soundlink_pipeline.contracts.table import Table

# Under Dagster's own name, dagster/column_schema, the UI lists every column above an asset's metadata, of an export 36.
# Under any other it is a link at the end of them, and the chart and the figures of the last run come first.
COLUMNS = "columns"


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
