"""Tables and views change, rows are moved once, a migration is cut off: all of it happens, or nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.table import Column, Table
from soundlink_pipeline.warehouse import data_steps, stored_contract, tables
from soundlink_pipeline.warehouse.data_steps import DataStep
from soundlink_pipeline.warehouse.home import WarehouseUnusable
from soundlink_pipeline.warehouse.instances import opened
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline.warehouse.tables import DELIVERIES, MODEL_STATE, listing_table
from soundlink_pipeline.warehouse.unknown_fields import UNKNOWN_FIELDS
from soundlink_pipeline_tests.support.deliveries import NOON, arrival, load, query, row

DAY = timedelta(days=1)
TABLE = CAMPAIGN_COUNTRY_DAILY.name
NOTES = "select country_code, note, \"My 'note'\" from campaign_country_daily order by all"
SPEND = replace(
    CAMPAIGN_COUNTRY_DAILY, columns=tuple(c for c in CAMPAIGN_COUNTRY_DAILY.columns if c.name != "cost_per_result")
)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One delivery, one campaign."""
    folder = tmp_path_factory.mktemp("loaded")
    warehouse = NativeFile(folder / "data")
    load(warehouse, arrival(folder / "in", [row(), row(country_code="DE")]))
    with warehouse.write() as connection:
        connection.execute(
            "insert into campaigns (account, campaign_id, status) values ('default', 'camp_1', 'active')"
        )
        connection.execute(f"create table {MODEL_STATE} (model VARCHAR, fingerprint VARCHAR, load_order BIGINT)")
        connection.execute(f"insert into {MODEL_STATE} values ('marts.x', 'made so', 1)")
    return folder / "data"


@pytest.fixture
def data(loaded: Path, tmp_path: Path) -> Path:
    return shutil.copytree(loaded, tmp_path / "data")


def built(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the models are still those of the tables as they are."""
    return connection.execute(f"from {MODEL_STATE}").fetchall() == [("marts.x", "made so", 1)]


# What is the pipeline's


def test_columns_of_an_analyst_stay_through_migrations_and_loads(data: Path, tmp_path: Path) -> None:
    with NativeFile(data).write() as connection:
        connection.execute(f"alter table {TABLE} add column note VARCHAR")
        connection.execute(f"alter table {TABLE} add column \"My 'note'\" VARCHAR default 'it''s new'")
        connection.execute(f"comment on column {TABLE}.note is 'Mine.'")
        connection.execute(f"update {TABLE} set note = 'seen' where country_code = 'DE'")
        connection.execute(f"create index mine on {TABLE} (note)")
    changed = NativeFile(data, exports=[SPEND])
    assert changed.prepare()
    found = query(
        changed, f"select column_name, comment, column_default from duckdb_columns() where table_name = '{TABLE}'"
    )
    assert "cost_per_result" not in {name for name, *_ in found}
    assert found[-2:] == [("note", "Mine.", None), ("My 'note'", None, "'it''s new'")]
    assert query(changed, "select index_name from duckdb_indexes()") == [("mine",)]
    rows = [row(streams=1), row(country_code="DE"), row(country_code="AT")]
    load(changed, arrival(tmp_path / "in", rows, pulled=NOON + DAY))
    assert query(changed, NOTES) == [
        ("AT", None, "it's new"),
        ("DE", "seen", "it's new"),
        ("US", None, "it's new"),
    ]


def test_analysts_own_tables_and_views_stay(data: Path) -> None:
    with NativeFile(data).write() as connection:
        connection.execute("create table budget as select 1 as x")
        connection.execute(f"create view mine as select sum(streams) as streams from {TABLE}")
        connection.execute("create schema theirs; create table theirs.campaigns as select 2 as y")
    changed = NativeFile(data, exports=[SPEND])
    assert changed.prepare()
    assert query(changed, "select x, streams, y from budget, mine, theirs.campaigns") == [(1, 406, 2)]


@pytest.mark.parametrize(
    ("made", "fix"),
    [
        (f'alter table {TABLE} add column "Saves" INTEGER', 'rename column "Saves" to'),
        ("create table saved as select 1 as x", "alter table saved rename to"),
        ("create view saved as select 1 as x", "alter view saved rename to"),
    ],
)
def test_name_that_an_analyst_has_taken_is_not_taken_over(
    data: Path, monkeypatch: pytest.MonkeyPatch, made: str, fix: str
) -> None:
    with NativeFile(data).write() as connection:
        connection.execute(made)
    saves = replace(CAMPAIGN_COUNTRY_DAILY.columns[13], name="saves")
    gained = replace(CAMPAIGN_COUNTRY_DAILY, columns=(*CAMPAIGN_COUNTRY_DAILY.columns, saves))
    export = gained if "Saves" in made else replace(CAMPAIGN_COUNTRY_DAILY, name="saved")
    with pytest.raises(WarehouseUnusable) as refused:
        NativeFile(data, exports=[export]).prepare()
    assert fix in str(refused.value)
    assert "rebuild" not in str(refused.value)


def test_export_that_goes_keeps_its_rows_and_is_the_pipelines_when_it_comes_back(data: Path) -> None:
    with NativeFile(data, exports=EXPORTS[1:]).write() as connection:
        assert connection.execute(f"select count(*) from {TABLE}").fetchall() == [(2,)]
    back = NativeFile(data, exports=[SPEND, *EXPORTS[1:]])
    assert f"{TABLE}: cost_per_result is dropped" in back.prepare()
    assert query(back, f"select count(*) from {TABLE}") == [(2,)]


def test_export_of_another_name_is_another_export(data: Path) -> None:
    with NativeFile(data, exports=[replace(CAMPAIGN_COUNTRY_DAILY, name="campaign_daily")]).write() as connection:
        assert connection.execute(f"select count(*) from {TABLE}").fetchall() == [(2,)]
        assert connection.execute("select count(*) from campaign_daily").fetchall() == [(0,)]


# Every attribute of a table


def declare(monkeypatch: pytest.MonkeyPatch, *changed: Table, exports: Sequence[Export] = EXPORTS) -> None:
    """Another declaration of tables of ours."""
    real = {table.name: table for table in tables.warehouse_tables(exports)}
    for module in (tables, stored_contract):
        monkeypatch.setattr(
            module, "warehouse_tables", lambda _: list((real | {table.name: table for table in changed}).values())
        )
    monkeypatch.setattr("soundlink_pipeline.warehouse.migration.warehouse_tables", tables.warehouse_tables)


OWNER = Column("owner", "VARCHAR", "Owner.", nullable=False, backfill="'first'")


def with_columns(table: Table, *columns: Column, **more: Any) -> Table:
    names = {column.name for column in columns}
    return replace(table, columns=(*(c for c in table.columns if c.name not in names), *columns), **more)


def test_key_of_our_own_table_may_change_while_it_tells_rows_apart(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, with_columns(listing_table(CAMPAIGN), OWNER, grain=("owner", "campaign_id")))
    warehouse = NativeFile(data)
    assert warehouse.prepare() == ["campaigns: owner is added"]
    assert query(warehouse, "select owner, campaign_id, status from campaigns") == [("first", "camp_1", "active")]
    nullable = "select is_nullable from duckdb_columns() where table_name = 'campaigns' and column_name = 'owner'"
    assert query(warehouse, nullable) == [(False,)]


def test_table_that_declares_no_key_any_more_keeps_its_rows(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, replace(listing_table(CAMPAIGN), grain=()))
    assert NativeFile(data).prepare() == []
    assert query(NativeFile(data), "select campaign_id from campaigns") == [("camp_1",)]


@pytest.mark.parametrize(
    ("grain", "why"),
    [
        (("status",), "was account, campaign_id, and is status now, which 2 rows would share or lack"),
        (("organization_id", "campaign_id"), "which 2 rows would share or lack"),
    ],
)
def test_key_that_rows_would_share_or_lack_is_refused(
    data: Path, monkeypatch: pytest.MonkeyPatch, grain: tuple[str, ...], why: str
) -> None:
    with NativeFile(data).write() as connection:
        connection.execute(
            "insert into campaigns (account, campaign_id, status) values ('default', 'camp_2', 'active')"
        )
    declare(monkeypatch, replace(listing_table(CAMPAIGN), grain=grain))
    with pytest.raises(WarehouseUnusable, match=why):
        NativeFile(data).prepare()


def test_ledger_gains_loses_renames_and_loosens_columns(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = {column.name: column for column in DELIVERIES.columns}
    declare(
        monkeypatch,
        with_columns(
            DELIVERIES,
            replace(ledger["sha256"], nullable=True),
            replace(ledger["rows"], type="HUGEINT"),
            Column("loaded_at", "TIMESTAMP", "Moment of loading.", backfill="received_at"),
            Column("subject", "VARCHAR", "Kind.", nullable=False, backfill="'campaign'"),
        ),
    )
    warehouse = NativeFile(data)
    assert warehouse.prepare() == [
        "deliveries: sha256 may be null, rows becomes HUGEINT, loaded_at is added, subject is added"
    ]
    found = "select subject_id, rows, loaded_at = received_at, subject from deliveries"
    assert query(warehouse, found) == [("camp_1", 2, True, "campaign")]


def test_column_that_must_not_be_null_and_has_no_value_for_older_rows_is_refused(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, with_columns(DELIVERIES, replace(OWNER, backfill="")))
    with pytest.raises(WarehouseUnusable, match="owner of deliveries must not be null now, and is in 1 row"):
        NativeFile(data).prepare()


def test_meaning_alone_changes_comments_and_no_row_or_model(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, replace(listing_table(CAMPAIGN), meaning="Told anew."))
    with NativeFile(data).write() as connection:
        comment = "select comment from duckdb_tables() where table_name = 'campaigns'"
        assert connection.execute(comment).fetchall() == [("Told anew.",)]
        assert built(connection)


def view(name: str) -> Table:
    return next(table for table in tables.warehouse_tables(EXPORTS) if table.name == name)


def test_query_of_a_view_is_brought_up_to_date_and_the_models_are_built_anew(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = view("report_date_status")
    declare(monkeypatch, replace(status, query=f"{status.query.rstrip()} having false"))
    with NativeFile(data).write() as connection:
        assert connection.execute("select count(*) from report_date_status").fetchall() == [(0,)]
        assert not built(connection)


def test_view_becomes_a_table_that_a_step_fills_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = view("report_date_status")
    declare(monkeypatch, replace(status, kind="table", query=""))
    ran = []

    def fill(connection: duckdb.DuckDBPyConnection, exports: Sequence[Export]) -> None:
        ran.append([export.name for export in exports])
        connection.execute(
            "insert into report_date_status (export, subject_id) select export, subject_id from deliveries"
        )

    monkeypatch.setattr(data_steps, "DATA_STEPS", (*data_steps.DATA_STEPS, DataStep("status is stored", fill)))
    warehouse = NativeFile(data)
    assert warehouse.prepare() == ["the view report_date_status becomes a table", "status is stored"]
    with warehouse.write() as connection:
        assert connection.execute("select subject_id from report_date_status").fetchall() == [("camp_1",)]
        assert not built(connection)
    assert ran == [[export.name for export in EXPORTS]]
    # A table holds what a view would lose.
    declare(monkeypatch, status)
    older = NativeFile(data)
    with pytest.raises(WarehouseUnusable, match="the table report_date_status is a view now"):
        older.prepare()


VANISHED = Table(
    name="vanished_rows",
    meaning="Keys that have gone. Grain: one row per key.",
    grain=("export", "key"),
    columns=(
        *(Column(name, "VARCHAR", "Text.") for name in ("export", "campaign_id")),
        *(Column(name, "JSON", "Values.") for name in ("key", "row")),
    ),
)


def as_vanished(export: Export) -> str:
    """The rows of the table as `vanished_rows` keeps them."""
    key = ", ".join(f"{name} := {name}" for name in export.primary_key)
    row = ", ".join(f"{name} := {name}::varchar" for name in (*export.column_names, UNKNOWN_FIELDS))
    return (
        f"select '{export.name}' as export, campaign_id, to_json(struct_pack({key})) as key,"
        f" to_json(struct_pack({row})) as row from {export.name}"
    )


def test_rows_that_have_vanished_get_the_same_columns(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, VANISHED)
    with NativeFile(data).write() as connection:
        connection.execute(f"insert into vanished_rows {as_vanished(CAMPAIGN_COUNTRY_DAILY)}")
        connection.execute("insert into vanished_rows values ('another', 'camp_1', '{}', '{}')")
    columns = {column.name: column for column in CAMPAIGN_COUNTRY_DAILY.columns}
    columns["country_code"] = replace(columns["country_code"], name="market", renamed_from=("country_code",))
    columns["streams"] = replace(columns["streams"], type="DOUBLE")
    saves = replace(columns.pop("cpf"), name="saves", type="BIGINT", backfill="streams * 2")
    changed = replace(
        CAMPAIGN_COUNTRY_DAILY,
        columns=(saves, *columns.values()),
        primary_key=(*CAMPAIGN_COUNTRY_DAILY.primary_key[:-1], "market"),
        ratios=(),
    )
    monkeypatch.undo()
    declare(monkeypatch, VANISHED, exports=[changed, *EXPORTS[1:]])
    with NativeFile(data, exports=[changed, *EXPORTS[1:]]).write() as connection:
        found = connection.execute(f"from vanished_rows where export = '{TABLE}' order by all").fetchall()
        assert found == connection.execute(f"from ({as_vanished(changed)}) order by all").fetchall()
        assert '"market":"DE"' in found[0][2]
        assert '"saves":"406"' in found[0][3]
        another = connection.execute("select key, row from vanished_rows where export = 'another'").fetchall()
        assert another == [("{}", "{}")]


def test_new_warehouse_has_no_step_to_catch_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(connection: duckdb.DuckDBPyConnection, exports: Sequence[Export]) -> None:
        raise AssertionError

    monkeypatch.setattr(
        data_steps,
        "DATA_STEPS",
        (
            *data_steps.DATA_STEPS,
            DataStep("rows are moved", never),
        ),
    )
    for _ in range(2):
        with NativeFile(tmp_path).write():
            pass


# All or nothing


@contextmanager
def step(monkeypatch: pytest.MonkeyPatch, run: Callable[[], object]) -> Iterator[None]:
    def do(connection: duckdb.DuckDBPyConnection, exports: Sequence[Export]) -> None:
        connection.execute(f"delete from {TABLE}")
        run()

    with monkeypatch.context() as patch:
        patch.setattr(data_steps, "DATA_STEPS", (*data_steps.DATA_STEPS, DataStep("rows are moved", do)))
        yield


def everything(warehouse: NativeFile) -> list[list[tuple[Any, ...]]]:
    return [
        query(warehouse, f"from {name}")
        for name in (TABLE, "deliveries", "_schema_state", MODEL_STATE, "duckdb_columns() order by all")
    ]


def test_step_that_fails_leaves_the_warehouse_as_it_was(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(NativeFile(data))
    with step(monkeypatch, lambda: 1 / 0), pytest.raises(ZeroDivisionError):
        NativeFile(data, exports=[SPEND]).prepare()
    with NativeFile(data).read() as connection:
        assert NativeFile(data).pending(connection) == []
    after = everything(NativeFile(data))
    assert after[:-1] == before[:-1]
    assert len(after[-1]) == len(before[-1])


def test_migration_that_is_killed_leaves_the_warehouse_as_it_was(data: Path) -> None:
    before = everything(NativeFile(data))[:-1]
    code = f"""
        import os, signal
        from pathlib import Path
        from soundlink_pipeline.warehouse import data_steps, stored_contract
        from soundlink_pipeline.warehouse.native_file import NativeFile
        real = stored_contract.StoredContract.save
        def save(contract, connection):
            real(contract, connection)
            os.kill(os.getpid(), signal.SIGKILL)
        stored_contract.StoredContract.save = save
        data_steps.DATA_STEPS = (
            *data_steps.DATA_STEPS,
            data_steps.DataStep("rows are moved", lambda connection, _: connection.execute("delete from {TABLE}")),
        )
        NativeFile(Path({str(data)!r})).prepare()
    """
    child = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, capture_output=True)
    assert child.returncode == -9, child
    assert everything(NativeFile(data))[:-1] == before


# Of another version


def test_warehouse_of_a_newer_version_is_left_alone(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(stored_contract, "version", lambda _: "7.1.0")
        assert NativeFile(data, exports=[SPEND, *EXPORTS[1:]]).prepare()
    older = NativeFile(data)
    with pytest.raises(
        WarehouseUnusable, match=r"made by a newer soundlink-pipeline \(7\.1\.0\).* Install the newer one"
    ):
        older.prepare()
    # With the same contract any version goes on.
    assert NativeFile(data, exports=[SPEND, *EXPORTS[1:]]).prepare() == []


def test_warehouse_with_steps_that_this_version_does_not_know_is_left_alone(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with step(monkeypatch, lambda: None):
        assert NativeFile(data).prepare() == ["rows are moved"]
    with pytest.raises(WarehouseUnusable, match="made by a newer soundlink-pipeline"):
        NativeFile(data).prepare()


def test_query_that_an_older_contract_cannot_answer_says_so(data: Path) -> None:
    saves = replace(CAMPAIGN_COUNTRY_DAILY.columns[13], name="saves")
    newer = NativeFile(data, exports=[replace(CAMPAIGN_COUNTRY_DAILY, columns=(*SPEND.columns, saves))])
    with pytest.raises(WarehouseUnusable, match="made with another contract: the next run"), newer.read() as connection:
        connection.execute(f"select saves from {TABLE}")


# Before the first request


def test_warehouse_is_opened_before_a_run_only_if_its_contract_may_be_another(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openings: list[Path] = []

    def counted(path: Path, **named: Any) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        openings.append(path)
        return opened(path, **named)

    monkeypatch.setattr("soundlink_pipeline.warehouse.native_file.opened", counted)
    assert NativeFile(data).prepare() == []  # a copy as whole as the folder it is of
    assert openings == []
    (data / "warehouse.duckdb").touch()  # somebody has written to it, or put another one there
    assert NativeFile(data).prepare() == []
    assert NativeFile(data).prepare() == []
    assert len(openings) == 1
    assert NativeFile(data, exports=[SPEND]).prepare()
    assert len(openings) == 2
    assert NativeFile(data.parent / "none").prepare() == []
    assert not (data.parent / "none").exists()
