"""A warehouse of now, turned into what version 0.2 would have left of the same deliveries."""

from __future__ import annotations

import duckdb

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export


def leave(connection: duckdb.DuckDBPyConnection) -> None:
    """Rows that a newer delivery lacks are back in their tables, and still believed; a view lists them."""
    for export in EXPORTS:
        _put_back(connection, export)
        connection.execute(f"delete from {export.name}_history where _vanished")
        connection.execute(f"alter table {export.name}_history drop column _vanished")
    connection.execute("drop table vanished_rows")
    connection.execute("create view vanished_rows as select 'as it was' as export")
    connection.execute("alter table deliveries drop column speaks_for")
    connection.execute("drop table _schema_state")


def _put_back(connection: duckdb.DuckDBPyConnection, export: Export) -> None:
    values = ", ".join(f"(v.row ->> '{c.name}')::{c.type} as {c.name}" for c in export.columns)
    key = " and ".join(f"h.{name} = (v.row ->> '{name}')::{_type(export, name)}" for name in export.primary_key)
    connection.execute(
        f"""
        insert into {export.name} by name
        select {values}, d.pulled_at as _pulled_at, v.delivery_id as _delivery_id,
            nullif(v.last_seen_delivery_id, v.delivery_id) as _last_seen_delivery_id,
            coalesce(
                (select max(h._valid_from) from {export.name}_history as h where h._vanished and {key}), d.pulled_at
            ) as _valid_from
        from vanished_rows as v join deliveries as d using (delivery_id)
        where v.export = '{export.name}'
        """
    )


def _type(export: Export, name: str) -> str:
    return next(column.type for column in export.columns if column.name == name)
