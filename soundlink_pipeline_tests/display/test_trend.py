"""The chart beside a materialization: what it adds up, and what it must not."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

import duckdb
import pytest

from soundlink_pipeline.display.trend import table_trend

CHARTED = {"spend_total": "Spend", "streams": "Streams"}


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(
            "create table days (report_date date, is_settled boolean, currency varchar, streams bigint,"
            " spend_total decimal(18, 6))"
        )
        yield connection


def test_money_has_a_panel_for_each_currency_and_counts_have_one(connection: duckdb.DuckDBPyConnection) -> None:
    for currency, spend in (("USD", 10), ("JPY", 7000), ("it's", 1)):
        connection.execute("insert into days values ('2026-03-01', true, ?, 5, ?)", [currency, spend])
    image = table_trend(connection, "days", CHARTED)
    assert image is not None
    assert image.startswith("![Spend, JPY and Spend, USD and Spend, it's and Streams of days per day]")
    svg = base64.b64decode(re.findall(r"base64,([^)]*)", image)[0]).decode()
    for title in ("Spend, JPY", "Spend, USD", "Streams"):
        assert f">{title}<" in svg
    # Each panel has a scale of its own: to 7,000 yen, and to the 15 streams of all rows.
    assert {"6,000", "12"} <= set(re.findall(r">([\d,]+)<", svg))


def test_money_of_one_currency_names_it(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("insert into days values ('2026-03-01', true, 'EUR', 5, 10)")
    image = table_trend(connection, "days", CHARTED)
    assert image is not None
    assert image.startswith("![Spend, EUR and Streams of days per day]")


def test_empty_table_has_no_chart(connection: duckdb.DuckDBPyConnection) -> None:
    assert table_trend(connection, "days", CHARTED) is None
