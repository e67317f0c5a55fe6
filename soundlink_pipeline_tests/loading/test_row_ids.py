"""`campaigns.row_campaign_id`: what to join the rows on, since the API may list a campaign under another id."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from soundlink_pipeline.warehouse import row_ids
from soundlink_pipeline.warehouse.data_steps import DATA_STEPS
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import NOON, arrival, load, query, row

HOUR = timedelta(hours=1)


def listed(warehouse: NativeFile, *ids: str) -> None:
    with warehouse.write() as connection:
        insert = "insert into campaigns (account, campaign_id) values (?, ?)"
        connection.executemany(insert, [("default", listed_id) for listed_id in ids])
        row_ids.note_row_ids(connection, warehouse.exports)


def noted(warehouse: NativeFile) -> dict[str, str | None]:
    return dict(query(warehouse, "select campaign_id, row_campaign_id from campaigns"))


def test_a_campaign_has_the_id_of_its_rows_as_soon_as_there_are_some(warehouse: NativeFile, tmp_path: Path) -> None:
    listed(warehouse, "camp_1", "camp_2", "camp_3")
    first = [arrival(tmp_path, [row(campaign_id="X")]), arrival(tmp_path, [], campaign="camp_2")]
    load(warehouse, *first)
    assert noted(warehouse) == {"camp_1": "X", "camp_2": None, "camp_3": None}
    # Staged, since the days are there already; an empty delivery says nothing.
    later = [arrival(tmp_path, [], pulled=NOON + HOUR)]
    later += [arrival(tmp_path, [row(campaign_id="Y")], campaign="camp_2", pulled=NOON + HOUR)]
    load(warehouse, *later)
    assert noted(warehouse) == {"camp_1": "X", "camp_2": "Y", "camp_3": None}


def test_what_was_pulled_before_it_was_listed_has_it_too(warehouse: NativeFile, tmp_path: Path) -> None:
    load(warehouse, arrival(tmp_path, [row(campaign_id="X")]))
    listed(warehouse, "camp_1")
    assert noted(warehouse) == {"camp_1": "X"}


def test_of_two_listed_ids_of_one_campaign_the_last_to_deliver_it_has_it(warehouse: NativeFile, tmp_path: Path) -> None:
    """Whatever the order of loading: a join on it doubles no row."""
    listed(warehouse, "camp_1", "alias")
    old, new = (
        arrival(tmp_path, [row(campaign_id="X", streams=hour)], campaign=path, pulled=NOON + hour * HOUR)
        for hour, path in enumerate(("camp_1", "alias"))
    )
    load(warehouse, new)
    load(warehouse, old)
    assert noted(warehouse) == {"camp_1": None, "alias": "X"}
    moved = arrival(tmp_path, [row(campaign_id="Y")], campaign="alias", pulled=NOON + 2 * HOUR)
    load(warehouse, moved)
    assert noted(warehouse)["alias"] == "Y"


def test_an_upgrade_fills_it(warehouse: NativeFile, tmp_path: Path) -> None:
    listed(warehouse, "camp_1")
    load(warehouse, arrival(tmp_path, [row(campaign_id="X")]))
    with warehouse.write() as connection:
        connection.execute("update campaigns set row_campaign_id = null")
        next(step for step in DATA_STEPS if "which id" in step.name).run(connection, warehouse.exports)
    assert noted(warehouse) == {"camp_1": "X"}
