"""ISO's own figures, where others differ."""

from __future__ import annotations

from decimal import Decimal

import duckdb
import pytest

from soundlink_pipeline.contracts.countries import COUNTRY_CODES
from soundlink_pipeline.contracts.currencies import DECIMALS, decimals, minor_unit, minor_unit_sql

# ISO 4217; CLDR says 0 of HUF, IDR, IQD, LBP and MGA.
UNITS = {
    **{"USD": "0.01", "EUR": "0.01", "HUF": "0.01", "IDR": "0.01", "LBP": "0.01", "MGA": "0.01", "MRU": "0.01"},
    **{"JPY": "1", "KRW": "1", "ISK": "1", "UGX": "1", "CLP": "1", "VND": "1", "XOF": "1"},
    **{"KWD": "0.001", "IQD": "0.001", "TND": "0.001", "BHD": "0.001"},
    **{"CLF": "0.0001", "UYW": "0.0001"},
    **{"QQQ": "0.01", "XAU": "0.01", "usd": "0.01", "": "0.01"},  # ISO gives no unit: two decimals
}


@pytest.mark.parametrize(("currency", "unit"), UNITS.items())
def test_minor_unit_of_a_currency_is_isos(currency: str, unit: str) -> None:
    assert minor_unit(currency) == Decimal(unit)
    assert Decimal(10) ** -decimals(currency) == Decimal(unit)


def test_minor_unit_in_sql_is_the_same_for_every_currency() -> None:
    currencies = [*DECIMALS, *UNITS]
    asked = f"select {minor_unit_sql('c')}::decimal(18, 6) from unnest($all) as _(c)"
    found = [unit for (unit,) in duckdb.execute(asked, {"all": currencies}).fetchall()]
    assert found == [minor_unit(currency) for currency in currencies]


def test_countries_are_those_that_iso_3166_1_assigns() -> None:
    assert len(COUNTRY_CODES) == 249
    assert {"US", "NA", "GB", "SS", "CW", "AX", "TW", "PS"} <= COUNTRY_CODES
    assert COUNTRY_CODES.isdisjoint({"T1", "A1", "A2", "XK", "EU", "UK", "AP", "AN", "ZZ"})
