"""A contract changes, attribute by attribute: what becomes of the rows that are loaded, and of the next delivery."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.schema import Export, ExportColumn
from soundlink_pipeline.loading.batch import load_batch
from soundlink_pipeline.warehouse.home import WarehouseUnusable
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline.warehouse.tables import is_guarded, warehouse_tables
from soundlink_pipeline_tests.support.deliveries import NOON, Row, arrival, load, refusal, row

# Without what names columns beside the columns themselves.
EXPORT = replace(CAMPAIGN_COUNTRY_DAILY, measures=("listeners",), charted={}, identities=(), ratios=())
TABLE, HISTORY = EXPORT.name, f"{EXPORT.name}_history"
OWN = ("_pulled_at", "_valid_from", "_delivery_id")
DAY = timedelta(days=1)
REBUILD = "Move it away, with warehouse.duckdb.wal if there is one, and run make rebuild"


def column(name: str) -> ExportColumn:
    return next(column for column in EXPORT.columns if column.name == name)


def changed(of: str, **attributes: Any) -> Export:
    """The export with one column changed, in its key too."""
    new = replace(column(of), **attributes)
    return replace(
        EXPORT,
        columns=tuple(new if c.name == of else c for c in EXPORT.columns),
        primary_key=tuple(new.name if n == of else n for n in EXPORT.primary_key),
    )


def rows(de: Row | None = None, **us: Any) -> tuple[Row, Row]:
    """A delivery's rows: US as given, and DE with its own values."""
    own: Row = {"country_code": "DE", "streams": 12, "impressions": None, "listeners": 1}
    return row(**us), row(**own | (de or {}))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DE with 12 streams and unknown impressions; US with 15 streams, and 12 before."""
    folder = tmp_path_factory.mktemp("loaded")
    warehouse = NativeFile(folder / "data", exports=[EXPORT])
    load(warehouse, arrival(folder / "in", rows(streams=12)))
    load(warehouse, arrival(folder / "in", rows(streams=15), pulled=NOON + timedelta(hours=1)))
    return folder / "data"


@pytest.fixture
def data(loaded: Path, tmp_path: Path) -> Path:
    return shutil.copytree(loaded, tmp_path / "data")


def values(connection: duckdb.DuckDBPyConnection, column: str) -> tuple[Any, ...]:
    """In DE and in US, and in the versions of US that were overwritten, oldest first."""
    of_table = f"select {column} as x, 1 as place, listeners as next, 0 as of from {TABLE}"
    of_history = f"select {column}, 2, epoch(_valid_until), listeners from {HISTORY}"
    found = connection.execute(f"select x from ({of_table} union all {of_history}) order by place, next, of").fetchall()
    return tuple(value for (value,) in found)


def all_values(connection: duckdb.DuckDBPyConnection, columns: list[str]) -> list[list[tuple[Any, ...]]]:
    names = ", ".join(columns)
    return [connection.execute(f"select {names} from {table} order by all").fetchall() for table in (TABLE, HISTORY)]


def schema(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Of every table of ours and view the columns in their order, with type, nullability and comment."""
    return connection.execute(
        "select table_name, column_name, data_type, is_nullable, comment from duckdb_columns()"
        " where not internal and not starts_with(table_name, '_') order by table_name, column_index"
    ).fetchall()


def declared(export: Export) -> list[tuple[Any, ...]]:
    """What a new warehouse has (`test_tables.py`)."""
    tables = sorted(warehouse_tables([export]), key=lambda table: table.name)
    return [
        (table.name, c.name, c.type, table.kind == "view" or not is_guarded(table, c), table.comment(c))
        for table in tables
        for c in table.columns
    ]


@dataclass(frozen=True)
class Case:
    """A changed contract, what it makes of `column` in DE, US and the history's US, and the next delivery.

    `then` is what DE, US and the history hold by that one; `refused` is why it is refused instead.
    """

    export: Export
    column: str
    after: tuple[Any, ...]
    delivered: tuple[Row, ...]
    then: tuple[Any, ...] = ()
    refused: str = ""


SAVES = ExportColumn(name="saves", type="BIGINT", meaning="Saves of the track.")
MONEY = Decimal("42.5")
STREAMS = (12, 15, 12)
USD = ("USD", "USD", "USD")
PLAYS = changed("streams", name="plays", renamed_from=("spins", "streams"))
CASES = {
    "name, declared": Case(
        PLAYS, "plays", STREAMS, rows({"streams": ..., "plays": 12}, streams=..., plays=13), (12, 13, 12, 15)
    ),
    "name, not declared, which is another column": Case(
        changed("streams", name="plays"),
        "plays",
        (None, None, None),
        rows({"streams": ..., "plays": 12}, streams=..., plays=13),
        (12, 13, None, None, None),
    ),
    "name, which a new column takes": Case(
        replace(PLAYS, columns=(*PLAYS.columns, replace(column("streams"), nullable=True))),
        "(plays, streams)",
        ((12, None), (15, None), (12, None)),
        rows({"streams": ..., "plays": 12}, plays=13, streams=14),
        ((12, None), (13, 14), (12, None), (15, None)),
    ),
    "name of a key column": Case(
        changed("country_code", name="market", renamed_from=("country_code",)),
        "market",
        ("DE", "US", "US"),
        rows({"country_code": ..., "market": "DE"}, country_code=..., market="US", streams=13),
        ("DE", "US", "US", "US"),
    ),
    "name and type": Case(
        changed("streams", name="plays", renamed_from=("streams",), type="DOUBLE"),
        "plays",
        (12.0, 15.0, 12.0),
        rows({"streams": ..., "plays": 12}, streams=..., plays=13.5),
        (12.0, 13.5, 12.0, 15.0),
    ),
    "type, with a fraction": Case(
        changed("streams", type="DOUBLE"), "streams", (12.0, 15.0, 12.0), rows(streams=13.5), (12.0, 13.5, 12.0, 15.0)
    ),
    "type, with more digits": Case(
        changed("spend_media", type="DECIMAL(24,8)"),
        "spend_media",
        (MONEY, MONEY, MONEY),
        rows(spend_media=43.12345678),
        (MONEY, Decimal("43.12345678"), MONEY, MONEY),
    ),
    "type, a text": Case(
        changed("streams", type="VARCHAR"),
        "streams",
        ("12", "15", "12"),
        rows({"streams": "12"}, streams="13"),
        ("12", "13", "12", "15"),
    ),
    "meaning": Case(changed("streams", meaning="Plays."), "streams", STREAMS, rows(streams=13), (12, 13, 12, 15)),
    "nullable": Case(changed("streams", nullable=True), "streams", STREAMS, rows(streams=None), (12, None, 12, 15)),
    "not nullable, where no row has a null": Case(
        changed("link_clicks", nullable=False),
        "link_clicks",
        (89, 89, 89),
        rows(link_clicks=None),
        refused="link_clicks must be an integer",
    ),
    "allowed": Case(
        changed("currency", allowed=("EUR", "SEK")), "currency", USD, rows(), refused="currency must be one of"
    ),
    "minimum": Case(
        changed("streams", minimum=10), "streams", STREAMS, rows(streams=9), refused="streams must be an integer of"
    ),
    "country": Case(changed("currency", country=True), "currency", USD, rows(), refused="currency must be two"),
    "one_per_delivery": Case(
        changed("currency", one_per_delivery=True), "currency", USD, rows(currency="EUR"), refused="currency"
    ),
    "order of the columns": Case(
        replace(EXPORT, columns=EXPORT.columns[::-1]), "streams", STREAMS, rows(streams=13), (12, 13, 12, 15)
    ),
    "added": Case(
        replace(EXPORT, columns=(replace(SAVES, nullable=True), *EXPORT.columns)),
        "saves",
        (None, None, None),
        rows(saves=7),
        (None, 7, None, None),
    ),
    "added, with a value for the rows there are": Case(
        replace(EXPORT, columns=(*EXPORT.columns, replace(SAVES, backfill="streams * 2"))),
        "saves",
        (24, 30, 24),
        rows({"saves": 24}, saves=7),
        (24, 7, 24, 30),
    ),
    "dropped": Case(
        replace(EXPORT, columns=tuple(c for c in EXPORT.columns if c.name != "cpf")),
        "streams",
        STREAMS,
        rows(streams=13),
        (12, 13, 12, 15),
    ),
    "order of the key": Case(
        replace(EXPORT, primary_key=EXPORT.primary_key[::-1]), "streams", STREAMS, rows(streams=13), (12, 13, 12, 15)
    ),
    "title and grain": Case(
        replace(EXPORT, title="Told anew.", grain="row"), "streams", STREAMS, rows(streams=13), (12, 13, 12, 15)
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_changed_contract_keeps_the_rows_and_the_next_load_goes_by_it(data: Path, tmp_path: Path, case: Case) -> None:
    other = [n for n in EXPORT.column_names if n in case.export.column_names and n not in case.column]
    with NativeFile(data).read() as connection:
        before = all_values(connection, [*other, *OWN])
    warehouse = NativeFile(data, exports=[case.export])
    with warehouse.write() as connection:
        assert values(connection, case.column) == case.after
        assert all_values(connection, [*other, *OWN]) == before
        assert schema(connection) == declared(case.export)
        delivery = arrival(tmp_path / "in", case.delivered, pulled=NOON + DAY)
        result = load_batch(connection, warehouse.exports, [delivery])
        if case.refused:
            assert case.refused in refusal(result)
            assert values(connection, case.column) == case.after
        else:
            assert values(connection, case.column) == case.then


REFUSED = {
    "type, a fraction to a whole number": (
        changed("cpf", type="BIGINT"),
        "the column cpf of campaign_country_daily was DOUBLE, and is BIGINT now, which is narrower",
    ),
    "type, fewer digits": (
        changed("spend_media", type="DECIMAL(18,2)"),
        "spend_media of campaign_country_daily was DECIMAL(18,6), and is DECIMAL(18,2) now, which is narrower",
    ),
    "type, fewer digits before the point": (changed("fees", type="DECIMAL(18,8)"), "is DECIMAL(18,8) now, which is"),
    "type, inexact money": (changed("fees", type="DOUBLE"), "was DECIMAL(18,6), and is DOUBLE now, which is narrower"),
    "type, a text to a number": (changed("currency", type="BIGINT"), "was VARCHAR, and is BIGINT now, which is"),
    "type, half the integer": (changed("streams", type="INTEGER"), "was BIGINT, and is INTEGER now, which is narrower"),
    "type of a key column": (
        changed("country_code", type="BIGINT"),
        "the key column country_code of campaign_country_daily was VARCHAR, and is BIGINT now",
    ),
    "a key with a column more": (
        replace(EXPORT, primary_key=(*EXPORT.primary_key, "currency")),
        "the primary key of campaign_country_daily was provider, account_id, report_date, campaign_id, country_code,"
        " and is provider, account_id, report_date, campaign_id, country_code, currency now",
    ),
    "a key with a column fewer": (
        replace(EXPORT, primary_key=EXPORT.primary_key[1:]),
        "and is account_id, report_date, campaign_id, country_code now",
    ),
    "not nullable, where rows have a null": (
        changed("impressions", nullable=False),
        "the column impressions of campaign_country_daily must not be null now, and is in 1 row",
    ),
}


@pytest.mark.parametrize(("export", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_change_that_would_falsify_rows_is_refused_with_what_to_do(data: Path, export: Export, why: str) -> None:
    warehouse = NativeFile(data, exports=[export], wait_seconds=0)
    with warehouse.read() as connection:
        before = schema(connection), all_values(connection, ["*"])
        with pytest.raises(WarehouseUnusable) as foreseen:
            warehouse.pending(connection)
    assert why in str(foreseen.value)
    assert REBUILD in str(foreseen.value)
    with pytest.raises(WarehouseUnusable) as refused:
        warehouse.prepare()
    assert str(refused.value) == str(foreseen.value)
    with warehouse.read() as connection:
        assert (schema(connection), all_values(connection, ["*"])) == before
        # The code that made it goes on with it.
        assert NativeFile(data, exports=[EXPORT]).pending(connection) == []


def test_value_that_the_wider_type_has_not_got_is_not_rounded(data: Path, tmp_path: Path) -> None:
    odd = 2**53 + 1  # no DOUBLE of its own
    load(NativeFile(data, exports=[EXPORT]), arrival(tmp_path / "in", rows(streams=odd), pulled=NOON + DAY))
    with pytest.raises(WarehouseUnusable, match="which would change the values of 1 row"):
        NativeFile(data, exports=[changed("streams", type="DOUBLE")]).prepare()
    with NativeFile(data, exports=[changed("streams", type="VARCHAR")]).write() as connection:
        assert values(connection, "streams") == ("12", str(odd), "12", "15")
