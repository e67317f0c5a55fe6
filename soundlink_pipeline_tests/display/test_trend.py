"""The chart beside a materialization: what it adds up, and what it must not."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

import duckdb
import pytest

from soundlink_pipeline.display.markdown import SHOWN_IN_A_DIALOG
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
    trend = table_trend(connection, "days", CHARTED)
    assert trend is not None
    image = trend.picture
    assert image.startswith("![Spend, JPY and Spend, USD and Spend, it's and Streams of days per day]")
    svg = base64.b64decode(re.findall(r"base64,([^)]*)", image)[0]).decode()
    for title in ("Spend, JPY", "Spend, USD", "Streams"):
        assert f">{title}<" in svg
    # Each panel has a scale of its own: to 7,000 yen, and to the 15 streams of all rows.
    assert {"6,000", "15"} <= set(re.findall(r">([\d,]+)<", svg))


def test_money_of_one_currency_names_it(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("insert into days values ('2026-03-01', true, 'EUR', 5, 10)")
    trend = table_trend(connection, "days", CHARTED)
    assert trend is not None
    assert trend.picture.startswith("![Spend, EUR and Streams of days per day]")


def test_newest_days_of_a_count_are_bars_small_enough_for_the_table(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("""
        insert into days
        select date '2026-01-01' + day::int, day < 32, 'USD', case when day = 38 then 4e11 else day * 1e10 end, 5
        from range(40) as days (day) where day <> 35
    """)
    trend = table_trend(connection, "days", CHARTED)
    assert trend is not None
    assert list(trend.bars) == ["Streams"]  # money has a currency: one panel each, in the larger picture
    shown = trend.bars["Streams"]
    assert len(shown) < SHOWN_IN_A_DIALOG
    assert shown.startswith("11 Jan to 9 Feb, at most 400,000,000,000 a day; pale: provisional\n\n![Streams of")
    svg = base64.b64decode(re.findall(r"base64,([^)]*)", shown)[0]).decode()
    final, provisional = (re.findall(r"V(\d+)h1", path) for path in re.findall(r' d="([^"]*)"', svg))
    # Forty steps, from the top: the ground is at 40, and of no day both have a bar.
    assert final == [str(40 - day) for day in range(10, 32)] + ["40"] * 8
    assert provisional == ["40"] * 22 + ["8", "7", "6", "40", "4", "3", "0", "1"]


@pytest.mark.parametrize("value", ["0", "'nan'", "'inf'", "null", "-3"])
def test_what_is_no_number_or_nothing_has_no_bar(connection: duckdb.DuckDBPyConnection, value: str) -> None:
    connection.execute("alter table days alter streams type double")
    connection.execute(f"insert into days values ('2026-03-01', true, 'USD', {value}, 5)")
    trend = table_trend(connection, "days", CHARTED)
    assert trend is not None
    assert trend.bars["Streams"].startswith("1 Mar to 1 Mar, at most ")
    assert "V40h1V40z" in base64.b64decode(re.findall(r"base64,([^)]*)", trend.bars["Streams"])[0]).decode()


def test_empty_table_has_no_chart(connection: duckdb.DuckDBPyConnection) -> None:
    assert table_trend(connection, "days", CHARTED) is None
