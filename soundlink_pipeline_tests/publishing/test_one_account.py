"""A file of one account holds all of its rows, and nothing of another's: neither as rows nor in the file's bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.models.build import build_models
from soundlink_pipeline.models.project import SqlProject, read_project
from soundlink_pipeline.publishing import one_account
from soundlink_pipeline.publishing.file_copy import NotPublished, publish, read_published
from soundlink_pipeline.publishing.one_account import publish_account
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import NOON, arrival, load, row, save
from soundlink_pipeline_tests.support.project import REPOSITORY

NOW = datetime(2026, 5, 24, tzinfo=UTC)
HOUR = timedelta(hours=1)
ACCOUNTS = ("acme", "bolt")


@pytest.fixture(scope="module")
def project() -> SqlProject:
    return read_project(REPOSITORY / "dbt_like_sql")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, project: SqlProject) -> Path:
    """A published file of two accounts, each with rows, a history and a key that has vanished."""
    folder = tmp_path_factory.mktemp("whole")
    warehouse, landing = NativeFile(folder), Landing(folder)
    for account in ACCOUNTS:
        of: dict[str, Any] = {"account_id": f"org-{account}", "campaign_id": f"uuid-{account}"}
        of["campaign_name"] = f"Song of {account}"
        codes = ("DE", "US")
        for hours, rows in enumerate(
            ([row(**of, country_code=code) for code in codes], [row(**of, country_code="DE", streams=9)])
        ):
            load(warehouse, arrival(folder / "in", rows, account=account, pulled=NOON + hours * HOUR))
        item = {"campaignId": "camp_1", "artistName": f"Artist of {account}", "createdAt": "2026-01-01T00:00:00Z"}
        line = json.dumps(item).encode()
        save(warehouse, landing.land_listing(CAMPAIGN, [line], NOON, None, "run-1", account=account))
    with warehouse.write() as connection:
        build_models(connection, project)
    target = folder / "soundlink.duckdb"
    publish(warehouse, target, run_id="run-1", now=NOW)
    return target


@pytest.fixture(scope="module")
def of_acme(whole: Path, project: SqlProject) -> Path:
    target = whole.parent / "published" / "acme.duckdb"
    publish_account(whole, target, "acme", exports=EXPORTS, project=project, run_id="run-2", now=NOW)
    return target


@pytest.fixture
def acme(of_acme: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with read_published(of_acme) as connection:
        yield connection


def test_it_holds_the_rows_of_its_account_with_models_history_and_ledger(
    acme: duckdb.DuckDBPyConnection, whole: Path
) -> None:
    def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
        return connection.execute(sql).fetchall()

    tables = ("campaign_country_daily", "campaign_country_daily_history", "vanished_rows", "deliveries", "campaigns")
    found = {table: rows(acme, f"from {table} order by all") for table in tables}
    assert rows(acme, "select name from accounts") == [("acme",)]
    assert rows(acme, "select campaign_id, streams from marts.campaign_daily") == [("uuid-acme", 9)]
    assert rows(acme, "select country_code, streams from marts.country_daily") == [("DE", 9)]
    assert rows(acme, "select run_id from publication") == [("run-2",)]
    with read_published(whole) as connection:
        of = "in (select delivery_id from deliveries where account = 'acme')"
        where = dict.fromkeys(tables, f"_delivery_id {of}") | {"vanished_rows": f"delivery_id {of}"}
        where |= {"deliveries": "account = 'acme'", "campaigns": "account = 'acme'"}
        assert found == {table: rows(connection, f"from {table} where {where[table]} order by all") for table in tables}
    assert all(found.values())


def test_its_marts_are_what_the_file_of_all_has_of_the_account(
    acme: duckdb.DuckDBPyConnection, whole: Path, project: SqlProject
) -> None:
    marts = [model for model in project.models.values() if model.schema == "marts"]
    with read_published(whole) as connection:
        for mart in marts:
            of = "account = 'acme'" if mart.name == "data_status" else "account_id = 'org-acme'"
            rows = connection.execute(f"from {mart.table} where {of} order by all").fetchall()
            assert acme.execute(f"from {mart.table} order by all").fetchall() == rows, mart.name


def test_no_byte_of_the_file_names_another_account(of_acme: Path) -> None:
    content = of_acme.read_bytes()
    assert b"Song of acme" in content
    assert b"bolt" not in content
    assert [path.name for path in of_acme.parent.iterdir()] == ["acme.duckdb"]


def test_a_row_of_another_account_keeps_the_file_from_its_name(
    whole: Path, tmp_path: Path, project: SqlProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = one_account._own_rows

    def leaking(*arguments: Any) -> Iterator[tuple[str, str]]:
        for table, query in real(*arguments):
            leaks = table == "campaign_country_daily"
            yield table, query.replace("where _delivery_id in", "where true or _delivery_id in") if leaks else query

    monkeypatch.setattr(one_account, "_own_rows", leaking)
    target = tmp_path / "published" / "acme.duckdb"
    with pytest.raises(NotPublished, match="campaign_country_daily has 1 rows that are another's"):
        publish_account(whole, target, "acme", exports=EXPORTS, project=project, run_id="run-2", now=NOW)
    assert list(target.parent.iterdir()) == []


def test_an_account_that_is_not_in_the_file_is_told(whole: Path, tmp_path: Path, project: SqlProject) -> None:
    with pytest.raises(NotPublished, match="has no account nobody; it has acme, bolt"):
        publish_account(
            whole, tmp_path / "x.duckdb", "nobody", exports=EXPORTS, project=project, run_id="run-2", now=NOW
        )


def test_there_is_no_file_of_an_account_that_lists_what_another_has_delivered_last(
    tmp_path: Path, project: SqlProject
) -> None:
    warehouse, landing = NativeFile(tmp_path), Landing(tmp_path)
    line = b'{"campaignId": "camp_1", "createdAt": "2026-01-01T00:00:00Z"}'
    for hours, account in enumerate(ACCOUNTS):  # two keys of one organization
        moment = NOON + hours * HOUR
        load(warehouse, arrival(tmp_path / "in", [row(campaign_id="uuid")], account=account, pulled=moment))
        save(warehouse, landing.land_listing(CAMPAIGN, [line], NOON, None, "run-1", account=account))
    with warehouse.write() as connection:
        build_models(connection, project)
    whole = tmp_path / "soundlink.duckdb"
    publish(warehouse, whole, run_id="run-1", now=NOW)

    def publish_one(account: str) -> dict[str, int]:
        target = tmp_path / "published" / f"{account}.duckdb"
        return publish_account(whole, target, account, exports=EXPORTS, project=project, run_id="run-2", now=NOW)

    said = "1 campaign that it lists came from account bolt, too, so that 1 row of campaign_country_daily would"
    with pytest.raises(NotPublished, match=f"no file of acme was published: {said}"):
        publish_one("acme")
    assert publish_one("bolt")["campaign_country_daily"] == 1
