"""The chart beside a materialization: the last days of a table, with final and provisional days in different tones."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from soundlink_pipeline.contracts.schema import DATE_COLUMN, Export
from soundlink_pipeline.display.charts import LAST_DAYS, days_chart, markdown_image

_CURRENCY = "currency"


def table_trend(connection: duckdb.DuckDBPyConnection, table: str, charted: Mapping[str, str]) -> str | None:
    """A table with report_date and is_settled, as a Markdown image of the `charted` columns (name: title).

    None of an empty table. Money of several currencies is left out: it cannot be added up.
    """
    return _trend(connection, table, table, charted)


def export_trend(connection: duckdb.DuckDBPyConnection, export: Export) -> str | None:
    """The same for an export's table, over all campaigns."""
    rows = f"""
        (
            select t.*, s.is_settled
            from {export.name} as t
            left join (
                select row_campaign_id, {DATE_COLUMN}, bool_or(is_settled) as is_settled
                from report_date_status where export = '{export.name}' group by all
            ) as s on s.row_campaign_id = t.campaign_id and s.{DATE_COLUMN} = t.{DATE_COLUMN}
        )
    """
    return _trend(connection, rows, export.name, export.charted)


def _trend(connection: duckdb.DuckDBPyConnection, rows: str, name: str, charted: Mapping[str, str]) -> str | None:
    newest = f"select max({DATE_COLUMN}) - {LAST_DAYS - 1} from {name}"
    relation = connection.sql(f"from {name}")
    kinds = dict(zip(relation.columns, (kind.id for kind in relation.types), strict=True))
    shown = {column: title for column, title in charted.items() if column in kinds}
    if _CURRENCY in kinds:
        currencies = connection.execute(
            f"select distinct {_CURRENCY} from {name} where {DATE_COLUMN} >= ({newest}) limit 2"
        ).fetchall()
        money = {column for column in shown if kinds[column] == "decimal"}
        unit = f", {currencies[0][0]}" if len(currencies) == 1 else None
        shown = {c: title + (unit or "") * (c in money) for c, title in shown.items() if unit or c not in money}
    if not shown:
        return None
    sums = ", ".join(f"sum({column})::double as {column}" for column in shown)
    days = connection.execute(
        f"""
        select {DATE_COLUMN}, coalesce(bool_and(is_settled), false) as is_settled, {sums}
        from {rows} where {DATE_COLUMN} >= ({newest}) group by {DATE_COLUMN}
        """
    ).df()
    if days.empty:
        return None
    return markdown_image(days_chart(days, shown), f"{' and '.join(shown.values())} of {name} per day")
