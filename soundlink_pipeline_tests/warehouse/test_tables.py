"""The tables as declared are the tables that DuckDB makes, in a new warehouse and in one that is older."""

from pathlib import Path

import pytest

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.table import Table
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline.warehouse.own_tables import STATEMENTS
from soundlink_pipeline.warehouse.tables import (
    DELIVERIES,
    VANISHED_ROWS,
    history_table,
    listing_table,
    warehouse_tables,
)
from soundlink_pipeline_tests.support.deliveries import arrival, load, query, row
from soundlink_pipeline_tests.support.made_once import new_warehouses

TABLES = warehouse_tables(EXPORTS)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> NativeFile:
    folder = tmp_path_factory.mktemp("warehouse")
    warehouse = NativeFile(folder)
    with new_warehouses():
        load(warehouse, arrival(folder / "in", [row()]))
    return warehouse


def made(warehouse: NativeFile, table: str) -> list[tuple[object, ...]]:
    """Name, type, whether it may be null, and comment of every column, as the database has them."""
    return query(
        warehouse,
        "select column_name, data_type, is_nullable, comment from duckdb_columns()"
        f" where table_name = '{table}' order by column_index",
    )


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_columns_types_and_comments_are_the_declared_ones(warehouse: NativeFile, table: Table) -> None:
    found = [(name, kind, comment) for name, kind, _, comment in made(warehouse, table.name)]
    assert found == [(column.name, column.type, table.comment(column)) for column in table.columns]
    of_table = f"select comment from duckdb_{'view' if table.kind == 'view' else 'table'}s() where"
    assert query(warehouse, f"{of_table} {table.kind}_name = '{table.name}'") == [(table.meaning,)]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_key_of_a_table_is_among_its_columns(table: Table) -> None:
    assert {*table.grain, *table.primary_key} <= set(table.column_names)
    assert len(set(table.column_names)) == len(table.columns)


def test_database_refuses_a_null_in_keys_and_in_the_ledger(warehouse: NativeFile) -> None:
    found = {
        table.name: {name for name, _, nullable, _ in made(warehouse, table.name) if not nullable} for table in TABLES
    }
    keys = {name: set(export.primary_key) for export in EXPORTS for name in (export.name, history_table(export))}
    ledger = set(DELIVERIES.column_names) - {"row_subject_id", "server_date", "declared_rows", "speaks_for"}
    assert found == keys | {
        "deliveries": ledger,
        "campaigns": {"account", "campaign_id"},
        "soundlinks": {"account", "soundlink_id"},
        "expected_accounts": {"account"},
        "accounts": set(),
        "report_date_status": set(),
        "vanished_rows": set(VANISHED_ROWS.column_names),
        "own_files": {"file"},
        "distributor_statements": set(STATEMENTS.column_names) - {"country_code"},
        "distributor_monthly": set(),
        "countries": set(),
        "currencies": set(),
    }


def test_older_warehouse_gains_the_columns_it_lacks_and_keeps_its_rows(tmp_path: Path) -> None:
    warehouse = NativeFile(tmp_path)
    load(warehouse, arrival(tmp_path / "in", [row()]))
    before = {table.name: set(made(warehouse, table.name)) for table in TABLES}
    rows = query(warehouse, "select * exclude (declared_rows) from deliveries")
    with warehouse.write() as connection:
        connection.execute("update _schema_state set fingerprint = 'older'")
        connection.execute("alter table deliveries drop column declared_rows")
        connection.execute("alter table campaigns drop column generation")
        connection.execute("alter table campaign_country_daily drop column fees")
        connection.execute("comment on column deliveries.bytes is 'Told otherwise.'")
    with warehouse.write():
        pass
    assert {table.name: set(made(warehouse, table.name)) for table in TABLES} == before
    assert query(warehouse, "select * exclude (declared_rows) from deliveries") == rows
    assert query(warehouse, "select fees from campaign_country_daily") == [(None,)]
    assert listing_table(CAMPAIGN).column_names[8] == "generation"
