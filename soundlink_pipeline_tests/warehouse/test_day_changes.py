"""What deliveries did to each day, told from the tables after they were loaded."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.warehouse.day_changes import DayChanges, changes_by_day
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import NOON, arrival, load, row

FIRST, SECOND, THIRD = (date(2026, 4, day) for day in (1, 2, 3))
LATER = NOON + timedelta(days=1)
NEWER: dict[str, Any] = {"exported_at": LATER.isoformat().replace("+00:00", "Z")}


def changes(warehouse: NativeFile, *delivery_ids: str) -> list[DayChanges]:
    with warehouse.read() as connection:
        found = changes_by_day(connection, CAMPAIGN_COUNTRY_DAILY, DateRange(FIRST, THIRD), delivery_ids)
    assert list(found) == [FIRST, SECOND, THIRD]
    return list(found.values())


def test_rows_are_told_by_what_became_of_them_and_requests_by_the_days_they_asked_for(
    warehouse: NativeFile, tmp_path: Path
) -> None:
    folder, days = tmp_path / "in", DateRange(FIRST, SECOND)
    first = arrival(
        folder, [row(country_code=code) for code in ("DE", "FR")] + [row(report_date=str(SECOND))], dates=days
    )
    load(warehouse, first)
    assert changes(warehouse, first.delivery.delivery_id) == [
        DayChanges(requests=1, inserted=2, updated=0, unchanged=0),
        DayChanges(requests=1, inserted=1, updated=0, unchanged=0),
        DayChanges(requests=0, inserted=0, updated=0, unchanged=0),
    ]

    rows = [
        row(country_code="DE", **NEWER),
        row(country_code="FR", streams=7, **NEWER),
        row(country_code="IT", **NEWER),
    ]
    second = arrival(folder, rows, dates=days, pulled=LATER)  # a row of the second day is gone
    empty = arrival(folder, [], dates=DateRange(SECOND, THIRD), campaign="camp_2", pulled=LATER)
    load(warehouse, second, empty)
    assert changes(warehouse, second.delivery.delivery_id, empty.delivery.delivery_id) == [
        DayChanges(requests=1, inserted=1, updated=1, unchanged=1),
        DayChanges(requests=2, inserted=0, updated=0, unchanged=0),
        DayChanges(requests=1, inserted=0, updated=0, unchanged=0),
    ]
    # Of the first delivery nothing is believed any more.
    assert changes(warehouse, first.delivery.delivery_id)[0] == DayChanges(1, 0, 0, 0)


def test_no_deliveries_changed_nothing(warehouse: NativeFile, tmp_path: Path) -> None:
    load(warehouse, arrival(tmp_path / "in", [row()]))
    assert changes(warehouse) == [DayChanges(0, 0, 0, 0)] * 3
