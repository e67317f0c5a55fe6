"""The chart beside a materialization: the last days of a table, with final and provisional days in different tones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from soundlink_pipeline.contracts.schema import CURRENCY_COLUMN, DATE_COLUMN, Export
from soundlink_pipeline.display.charts import LAST_DAYS, days_chart, markdown_image
from soundlink_pipeline.display.small_bars import small_bars


@dataclass(frozen=True)
class Trend:
    """A table's newest days in Markdown: `picture` has all that is charted.

    `bars` are by title, of each measure but money, which has a currency.
    """

    picture: str
    bars: dict[str, str]


def table_trend(connection: duckdb.DuckDBPyConnection, table: str, charted: Mapping[str, str]) -> Trend | None:
    """A table with report_date and is_settled, as pictures of the `charted` columns (name: title).

    None of an empty table. Money has a panel for each currency, as it cannot be added up.
    """
    return _trend(connection, table, table, charted)


def export_trend(connection: duckdb.DuckDBPyConnection, export: Export) -> Trend | None:
    """The same for an export's table, over all that it is about."""
    rows = f"""
        (
            select t.*, s.is_settled
            from {export.name} as t
            left join (
                select row_subject_id, {DATE_COLUMN}, bool_or(is_settled) as is_settled
                from report_date_status where export = '{export.name}' group by all
            ) as s on s.row_subject_id = t.{export.id_column} and s.{DATE_COLUMN} = t.{DATE_COLUMN}
        )
    """
    return _trend(connection, rows, export.name, export.charted)


def _trend(connection: duckdb.DuckDBPyConnection, rows: str, name: str, charted: Mapping[str, str]) -> Trend | None:
    newest = f"select max({DATE_COLUMN}) - {LAST_DAYS - 1} from {name}"
    relation = connection.sql(f"from {name}")
    kinds = dict(zip(relation.columns, (kind.id for kind in relation.types), strict=True))
    currencies: list[str] = []
    if CURRENCY_COLUMN in kinds:
        found = f"select distinct {CURRENCY_COLUMN} from {name} where {DATE_COLUMN} >= ({newest}) order by all"
        currencies = [currency for (currency,) in connection.execute(found).fetchall()]
    # Panels by name: title, sum, tone.
    panels: dict[str, tuple[str, str, int]] = {}
    for tone, column in enumerate(column for column in charted if column in kinds):
        if kinds[column] == "decimal" and currencies:
            for place, currency in enumerate(currencies):
                of_currency = f"sum({column}) filter ({CURRENCY_COLUMN} = $currencies[{place + 1}])"
                panels[f"{column}_{place}"] = (f"{charted[column]}, {currency}", of_currency, tone)
        else:
            panels[column] = (charted[column], f"sum({column})", tone)
    if not panels:
        return None
    sums = ", ".join(f"{total}::double as {panel}" for panel, (_, total, _) in panels.items())
    days = connection.execute(
        f"""
        select {DATE_COLUMN}, coalesce(bool_and(is_settled), false) as is_settled, {sums}
        from {rows} where {DATE_COLUMN} >= ({newest}) group by {DATE_COLUMN}
        """,
        {"currencies": currencies} if "$currencies" in sums else None,
    ).df()
    if days.empty:
        return None
    titles = {panel: title for panel, (title, _, _) in panels.items()}
    chart = days_chart(days, titles, tones=[tone for *_, tone in panels.values()])
    return Trend(
        picture=markdown_image(chart, f"{' and '.join(titles.values())} of {name} per day"),
        bars={
            title: small_bars(days, panel, f"{title} of {name}, newest days")
            for panel, title in titles.items()
            if panel in charted
        },
    )
