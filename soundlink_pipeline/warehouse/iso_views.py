"""The views over ISO's lists, for the SQL models and for analysts: `countries` and `currencies`."""

from __future__ import annotations

from collections.abc import Iterable

from soundlink_pipeline.contracts.countries import COUNTRY_NAMES
from soundlink_pipeline.contracts.currencies import DECIMALS, UNLISTED_DECIMALS, minor_unit
from soundlink_pipeline.contracts.table import MONEY, Column, Table
from soundlink_pipeline.warehouse.sql import quote


def _list(values: Iterable[str]) -> str:
    """As a list in SQL. One text is read several times as fast as a row of VALUES for each: every check reads it."""
    return f"string_split({quote(';'.join(values))}, ';')"


COUNTRIES = Table(
    name="countries",
    kind="view",
    meaning="The country codes that ISO 3166-1 assigns, and their names. One row per country_code.",
    grain=("country_code",),
    columns=(
        Column("country_code", "VARCHAR", "ISO 3166-1 alpha-2.", nullable=None),
        Column("country_name", "VARCHAR", "Short name in English: Namibia for NA.", nullable=None),
    ),
    query=(
        f"select unnest({_list(COUNTRY_NAMES)}) as country_code,"
        f" unnest({_list(COUNTRY_NAMES.values())}) as country_name"
    ),
)

_NAMES = "currency, decimals, minor_unit"
_VALUES = ", ".join(f"({quote(code)}, {number}, {minor_unit(code)})" for code, number in sorted(DECIMALS.items()))
CURRENCIES = Table(
    name="currencies",
    kind="view",
    meaning=(
        "The currencies of ISO 4217 with their decimals; an amount in any other is taken to have"
        f" {UNLISTED_DECIMALS}. One row per currency."
    ),
    grain=("currency",),
    columns=(
        Column("currency", "VARCHAR", "ISO 4217 code.", nullable=None),
        Column("decimals", "INTEGER", "Decimals of an amount: 2 for USD, 0 for JPY, 3 for KWD.", nullable=None),
        Column("minor_unit", MONEY, "The smallest amount, in the currency: 0.01 for USD.", nullable=None),
    ),
    query=f"select currency, decimals, minor_unit::{MONEY} as minor_unit from (values {_VALUES}) as iso ({_NAMES})",
)
