"""Columns that an analyst has added to the pipeline's tables: every load goes on, and what is in them stays."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.warehouse.home import WarehouseUnusable
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.loading.shared import TABLE
from soundlink_pipeline_tests.support.deliveries import NOON, arrival, load, query, row, save

TABLES = (TABLE, f"{TABLE}_history", "deliveries", "campaigns")


def test_first_rows_revisions_ledger_and_listing_are_loaded_beside_them(tmp_path: Path) -> None:
    warehouse, landing, folder = NativeFile(tmp_path / "data"), Landing(tmp_path / "data"), tmp_path / "in"
    listed = [landing.land_listing(CAMPAIGN, [b'{"campaignId":"camp_1"}'], NOON, None, f"run-{n}") for n in (1, 2)]
    load(warehouse, arrival(folder, [row(streams=1), row(streams=2, country_code="DE")]))
    save(warehouse, listed[0])
    with warehouse.write() as connection:
        for table in TABLES:
            connection.execute(f"alter table {table} add column note VARCHAR")
            connection.execute(f"update {table} set note = 'mine'")
    hour = timedelta(hours=1)
    for streams, moment in ((5, NOON + hour), (6, NOON + 2 * hour), (7, NOON - hour)):
        rows = [row(streams=streams), row(streams=2, country_code="DE"), row(country_code="AT")]
        load(warehouse, arrival(folder, rows, pulled=moment))
    load(warehouse, arrival(folder, [row(campaign_id="another")], campaign="camp_2"))  # no day of it is there yet
    save(warehouse, listed[1])
    assert query(warehouse, f"select streams, note from {TABLE} where campaign_id <> 'another' order by streams") == [
        (2, "mine"),
        (6, "mine"),
        (203, None),
    ]
    assert query(warehouse, f"select streams, note from {TABLE}_history order by streams") == [(1, None), (5, None)]
    assert query(warehouse, "select count(*), count(note) from deliveries") == [(5, 1)]
    assert query(warehouse, "select _run_id, note from campaigns") == [("run-2", "mine")]


@pytest.mark.parametrize(
    "made", ["alter table {} alter note set not null", "create unique index one_of_each on {} (campaign_id)"]
)
def test_constraint_of_an_analysts_that_a_load_breaks_is_told_with_the_way_out(tmp_path: Path, made: str) -> None:
    warehouse = NativeFile(tmp_path)
    with warehouse.write() as connection:
        connection.execute(f"alter table {TABLE} add column note VARCHAR")
        connection.execute(made.format(TABLE))
    two = arrival(tmp_path / "in", [row(), row(country_code="DE")])
    with pytest.raises(WarehouseUnusable, match="it is an analyst's: take it from the column"):
        load(warehouse, two)
    assert query(warehouse, f"select count(*) from {TABLE}") == [(0,)]
