"""Loading: what a batch leaves in the ledger and the history, and that nothing is ever half-loaded."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.loading import direct_insert
from soundlink_pipeline.loading.batch import load_batch
from soundlink_pipeline.loading.validation import Staging
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.loading.shared import ENGAGEMENT, TABLE, countries, utc
from soundlink_pipeline_tests.support.deliveries import NOON, arrival, load, ndjson, query, row, sample_line


def test_ledger_tells_everything_about_a_delivery(warehouse: NativeFile, tmp_path: Path) -> None:
    first = [row(country_code=code) for code in ("DE", "FR", "NA", "US")]
    load(warehouse, arrival(tmp_path, first, declared=4))
    second = [
        row(country_code="DE"),  # the same values again
        row(country_code="FR", streams=1),  # other values, same exported_at, later pull
        row(country_code="NA", exported_at="2026-05-20T02:59:59Z", streams=9),  # older
        row(country_code="US", exported_at="2026-05-21T03:00:00Z"),  # newer, the same values
        row(country_code="XK"),
        row(country_code="XK"),
    ]
    pulled = NOON + timedelta(days=1)
    later = arrival(tmp_path / "camp_1", second, pulled=pulled, server=False)
    loaded = load(warehouse, later).loaded[0]
    assert (loaded.inserted, loaded.updated, loaded.unchanged, loaded.ignored_as_older) == (1, 1, 2, 2)
    with warehouse.read() as connection:
        found = connection.execute("select * from deliveries where load_order = 2")
        names = [description[0] for description in found.description]
        entry = dict(zip(names, found.fetchall()[0], strict=True))
    delivery = later.delivery
    naive = pulled.replace(tzinfo=None)
    assert entry == {
        "unknown_fields": [],
        "declared_rows": None,
        "server_date": None,
        "delivery_id": delivery.delivery_id,
        "export": TABLE,
        "subject_id": "camp_1",
        "row_subject_id": "f1e28d31-c358-4284-9bef-00a2334625fd",
        "account": "default",
        "start_date": date(2026, 4, 1),
        "end_date": date(2026, 4, 30),
        "requested_at": naive,
        "received_at": naive,
        "pulled_at": naive,
        "rows": 6,
        "bytes": len(ndjson(second)),
        "sha256": later.sha256,
        "inserted": 1,
        "updated": 1,
        "unchanged": 2,
        "ignored_as_older": 2,
        "run_id": "run-1",
        "landed_file": f"{TABLE}/camp_1/{delivery.name.removesuffix('.ndjson')}_loaded-00000002.ndjson.zst",
        "load_order": 2,
        "speaks_for": "f1e28d31-c358-4284-9bef-00a2334625fd",
    }
    assert query(warehouse, "select declared_rows, server_date from deliveries where load_order = 1") == [
        (4, NOON.replace(tzinfo=None))
    ]


def test_overwritten_values_go_to_the_history_with_from_when_until_when(warehouse: NativeFile, tmp_path: Path) -> None:
    days = [NOON + timedelta(days=n) for n in range(4)]
    pulls = [
        arrival(tmp_path, [row(streams=streams, exported_at=f"2026-05-2{n}T00:00:00Z")], pulled=days[n])
        for n, streams in enumerate((5, 5, 6, 7))
    ]
    for pull in pulls:
        load(warehouse, pull)
    ids = [pull.delivery.delivery_id for pull in pulls]
    naive = [day.replace(tzinfo=None) for day in days]
    columns = "streams, exported_at, _pulled_at, _delivery_id, _valid_from"
    # The second delivery said the same again: 5 was believed from the first pull until the third.
    assert query(
        warehouse, f"select {columns}, _valid_until, _replaced_by_delivery_id from {TABLE}_history order by 1"
    ) == [
        (5, utc("2026-05-21"), naive[1], ids[1], naive[0], naive[2], ids[2]),
        (6, utc("2026-05-22"), naive[2], ids[2], naive[2], naive[3], ids[3]),
    ]
    assert query(warehouse, f"select {columns} from {TABLE}") == [(7, utc("2026-05-23"), naive[3], ids[3], naive[3])]


def test_replayed_deliveries_keep_their_place_and_new_ones_come_after_them(
    warehouse: NativeFile, tmp_path: Path
) -> None:
    replayed = [arrival(tmp_path, [row()], campaign=f"c{n}", loaded=n) for n in (7, 3)]
    new = [arrival(tmp_path, b"", campaign=f"c{n}") for n in (1, 2)]
    result = load(warehouse, *new, *replayed)
    assert [item.load_order for item in result.loaded] == [8, 9, 7, 3]


def test_delivery_that_is_loaded_already_is_passed_over(warehouse: NativeFile, tmp_path: Path) -> None:
    known, new = arrival(tmp_path, [row()]), arrival(tmp_path, [row(campaign_id="new")], campaign="new")
    load(warehouse, known)
    result = load(warehouse, known, new, new)
    assert [item.delivery for item in result.loaded] == [new.delivery]
    assert query(warehouse, "select count(*) from deliveries") == [(2,)]
    assert query(warehouse, f"select count(*) from {TABLE}") == [(2,)]


def test_first_load_and_staged_load_leave_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = [
        arrival(tmp_path, [row(campaign_id=name, country_code=code) for code in ("DE", "US")], campaign=name)
        for name in ("one", "two")
    ]
    batch.append(arrival(tmp_path, sample_line(ENGAGEMENT), export=ENGAGEMENT))
    left = []
    for way in ("direct", "staged"):
        warehouse = NativeFile(tmp_path / way)
        with monkeypatch.context() as patch:
            if way == "direct":
                patch.setattr(Staging, "validate", lambda _: pytest.fail("a first load was staged"))
            else:
                patch.setattr(direct_insert, "is_first", lambda *_: False)
            assert load(warehouse, *batch).rejected == []
        tables = (TABLE, f"{TABLE}_history", ENGAGEMENT.name, "deliveries", "report_date_status", "vanished_rows")
        left.append([query(warehouse, f"from {table} order by all") for table in tables])
    assert left[0] == left[1]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({"campaign_id": "a"}, id="campaigns under two ids"),
        pytest.param({"country_code": "us"}, id="a broken rule"),
        pytest.param({"campaign_name": 5}, id="a text that is a number"),
        pytest.param({"report_date": "2027-04-02"}, id="a day that was not asked for"),
    ],
)
def test_first_load_with_something_odd_is_staged_instead(
    warehouse: NativeFile, tmp_path: Path, second: dict[str, Any]
) -> None:
    good = arrival(tmp_path, [row(campaign_id="a")], campaign="first")
    odd = arrival(tmp_path, [row(**{"campaign_id": "b", "streams": 999, **second})], campaign="second")
    result = load(warehouse, good, odd)
    same_key = second.get("campaign_id") == "a"
    assert [len(result.loaded), len(result.rejected)] == ([2, 0] if same_key else [1, 1])
    assert query(warehouse, f"select campaign_id, streams from {TABLE}") == [("a", 999 if same_key else 203)]
    assert query(warehouse, f"select count(*) from {TABLE}_history") == [(int(same_key),)]


def test_crash_before_the_commit_leaves_nothing_of_the_batch(warehouse: NativeFile, tmp_path: Path) -> None:
    load(warehouse, arrival(tmp_path, [row(streams=1), row(country_code="DE")]))
    with warehouse.write() as connection:
        # A key that stands twice, as a defect of ours could leave it.
        connection.execute(f"insert into {TABLE} from {TABLE} where country_code = 'DE'")
    before = [query(warehouse, f"from {t} order by all") for t in (TABLE, f"{TABLE}_history", "deliveries")]
    batch = [
        arrival(tmp_path, sample_line(ENGAGEMENT), export=ENGAGEMENT),
        arrival(tmp_path, [row(streams=2), row(country_code="FR")], pulled=NOON + timedelta(days=1)),
    ]
    with warehouse.write() as connection:
        with pytest.raises(RuntimeError, match=r"primary key twice: .*'DE'.*; nothing of this batch was loaded"):
            load_batch(connection, warehouse.exports, batch[::-1])
        # The connection is usable, and outside a transaction.
        connection.execute("begin")
        connection.execute("rollback")
    assert before == [query(warehouse, f"from {t} order by all") for t in (TABLE, f"{TABLE}_history", "deliveries")]
    assert query(warehouse, f"select count(*) from {ENGAGEMENT.name}") == [(0,)]


def test_failure_in_the_last_export_takes_the_first_back_with_it(warehouse: NativeFile, tmp_path: Path) -> None:
    with warehouse.write() as connection:
        connection.execute(f"alter table {ENGAGEMENT.name} drop column _valid_from")
        batch = [
            arrival(tmp_path, [row()]),
            arrival(tmp_path, sample_line(ENGAGEMENT), export=ENGAGEMENT),
        ]
        with pytest.raises(Exception, match="_valid_from"):
            load_batch(connection, warehouse.exports, batch)
    assert countries(warehouse) == []
    assert query(warehouse, "select * from deliveries") == []
