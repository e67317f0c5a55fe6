"""Which answers hold far fewer rows than the warehouse, and whether two of them miss the same ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY as EXPORT
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.pulling.planning import PullRequest
from soundlink_pipeline.pulling.shrinking import NOTHING_HELD, HeldRows, has_shrunk, miss_the_same_keys
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import NOON, Row, arrival, ledger, load, ndjson, row


@pytest.mark.parametrize(
    ("held", "delivered", "suspicious"),
    [
        (40, 20, False),  # half
        (40, 19, True),
        (41, 20, True),
        (18, 8, True),  # ten fewer, and less than half
        (17, 8, False),  # nine fewer
        (20, 10, False),
        (10, 0, True),
        (9, 0, False),
        (1000, 990, False),
        (0, 0, False),
        (0, 50, False),
    ],
)
def test_a_day_has_shrunk_with_less_than_half_and_at_least_ten_fewer(
    held: int, delivered: int, suspicious: bool
) -> None:
    assert has_shrunk(held, delivered) is suspicious


DAY, NEXT = date(2026, 4, 1), date(2026, 4, 2)
REQUEST = PullRequest(EXPORT, "camp_1", DateRange(DAY, NEXT))
CAMPAIGN = str(row()["campaign_id"])


def rows(day: date, count: int, **changes: Any) -> list[Row]:
    """Rows of a day, each of a country of its own."""
    codes = [a + b for a in "ABCDEF" for b in "ABCDEFGHIJ"][:count]
    return [row(report_date=str(day), country_code=code, **changes) for code in codes]


def suspicious(tmp_path: Path, held: dict[date, int], answer: bytes | list[Row], **spoken_for: str) -> list[str]:
    path = tmp_path / "answer"
    path.write_bytes(answer if isinstance(answer, bytes) else ndjson(answer))
    before = HeldRows({(EXPORT.name, CAMPAIGN): held}, {(EXPORT.name, name): row for name, row in spoken_for.items()})
    return [str(day) for day in before.shrunken_days(REQUEST, path)]


def test_each_day_is_judged_for_itself(tmp_path: Path) -> None:
    answer = [*rows(DAY, 60), *rows(NEXT, 2)]
    assert suspicious(tmp_path, {DAY: 20, NEXT: 20}, answer) == ["2 of 20 rows of 2026-04-02"]
    assert suspicious(tmp_path, {DAY: 20, NEXT: 11}, answer) == []
    # A day that the request is not about has lost nothing by it.
    assert suspicious(tmp_path, {NEXT + timedelta(days=1): 50}, answer) == []


def test_a_day_that_is_not_in_the_answer_at_all_counts_as_none(tmp_path: Path) -> None:
    assert suspicious(tmp_path, {DAY: 10, NEXT: 9}, rows(NEXT, 1)) == ["0 of 10 rows of 2026-04-01"]


def test_an_answer_without_rows_is_of_the_campaign_that_its_path_speaks_for(tmp_path: Path) -> None:
    every = ["0 of 12 rows of 2026-04-01"]
    assert suspicious(tmp_path, {DAY: 12}, b"", camp_1=CAMPAIGN) == every
    assert suspicious(tmp_path, {DAY: 12}, b"\n", camp_1=CAMPAIGN) == every
    assert suspicious(tmp_path, {DAY: 12}, b"", camp_1="another") == []
    assert suspicious(tmp_path, {DAY: 12}, b"") == []


def test_rows_are_counted_for_the_campaign_that_they_name_whichever_path_was_asked(tmp_path: Path) -> None:
    assert suspicious(tmp_path, {DAY: 20}, rows(DAY, 2), camp_1="another") == ["2 of 20 rows of 2026-04-01"]
    assert suspicious(tmp_path, {DAY: 20}, rows(DAY, 2, campaign_id="another"), camp_1=CAMPAIGN) == []


def test_rows_are_counted_and_not_keys(tmp_path: Path) -> None:
    moved = rows(DAY, 20, account_id="b7ac3173-2f71-4e79-921f-d15d7112dd22")
    assert suspicious(tmp_path, {DAY: 20}, moved) == []


def _reordered(rows: list[Row]) -> list[Row]:
    return [dict(reversed(row.items())) for row in rows]


@pytest.mark.parametrize(
    "written",
    [
        ndjson,
        lambda rows: ndjson(rows).removesuffix(b"\n"),
        lambda rows: ndjson(rows).replace(b"\n", b"\r\n"),
        lambda rows: b"\n" + ndjson(rows).replace(b"\n", b"\n\n"),
        lambda rows: ndjson(_reordered(rows)),
        lambda rows: ndjson({"of": {"report_date": "2026-04-02"}} | row for row in rows),
        lambda rows: ndjson(row | {"campaign_name": '{"report_date":"2026-04-02"}'} for row in rows),
        lambda rows: ndjson(rows).replace(b'report_date"', b'report\\u005fdate"'),
        lambda rows: ndjson(rows).replace(b'", "', b'",\t"').replace(b'": "', b'"  :  "'),
    ],
)
def test_rows_are_counted_however_json_is_written(tmp_path: Path, written: Callable[[list[Row]], bytes]) -> None:
    answer = written([*rows(DAY, 25), *rows(NEXT, 3)])
    assert suspicious(tmp_path, {DAY: 60, NEXT: 60}, answer) == [
        "25 of 60 rows of 2026-04-01",
        "3 of 60 rows of 2026-04-02",
    ]


def test_days_are_counted_over_the_seams_of_what_is_read_at_once(tmp_path: Path) -> None:
    answer = ndjson([*rows(DAY, 25, campaign_name="x" * 70_001), *rows(NEXT, 3)])
    assert len(answer) > 1 << 20
    assert suspicious(tmp_path, {DAY: 51, NEXT: 60}, answer) == [
        "25 of 51 rows of 2026-04-01",
        "3 of 60 rows of 2026-04-02",
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"\xff",
        b'{"x":1}',
        b"[" * 100_000,
        b'{"campaign_id":1}',
        ndjson([row(report_date="2026-02-30")]),
        ndjson([row(report_date=None)]),
        b" " * (1 << 22) + b"1",
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_an_answer_that_cannot_be_read_is_left_to_the_load(tmp_path: Path, line: bytes, first: bool) -> None:
    sound = ndjson(rows(DAY, 1))
    answer = line.rstrip() + b"\n" + sound if first else sound + line
    assert suspicious(tmp_path, {DAY: 50}, answer) == []


# What is held, and what of it two answers miss


def test_what_is_held_is_known_per_campaign_and_day(tmp_path: Path) -> None:
    warehouse = NativeFile(tmp_path / "data")
    hours = [NOON + timedelta(hours=hour) for hour in range(5)]
    dates, other = REQUEST.dates, "f1e28d31-c358-4284-9bef-00a2334625fe"
    load(warehouse, arrival(tmp_path, [*rows(DAY, 12), *rows(NEXT, 9)], pulled=hours[0], dates=dates))
    load(warehouse, arrival(tmp_path, rows(DAY, 30, campaign_id=other), campaign="b", pulled=hours[0], dates=dates))
    with ledger(warehouse) as asked:
        held = HeldRows.before(asked, [REQUEST])
        of_next_day = HeldRows.before(asked, [replace(REQUEST, dates=DateRange(NEXT, NEXT))])
    assert held.per_day == {(EXPORT.name, CAMPAIGN): {DAY: 12}, (EXPORT.name, other): {DAY: 30}}
    assert held.spoken_for == {(EXPORT.name, "camp_1"): CAMPAIGN, (EXPORT.name, "b"): other}
    assert of_next_day == NOTHING_HELD
    # An empty answer changes nothing of that; another path that has the campaign now takes it over.
    load(warehouse, arrival(tmp_path, b"", pulled=hours[1], dates=DateRange(NEXT, NEXT)))
    with ledger(warehouse) as asked:
        assert asked.row_subject_ids()[EXPORT.name, "camp_1"] == CAMPAIGN
    load(warehouse, arrival(tmp_path, rows(NEXT, 1), campaign="alias", pulled=hours[2], dates=DateRange(NEXT, NEXT)))
    with ledger(warehouse) as asked:
        assert asked.row_subject_ids() == {(EXPORT.name, "alias"): CAMPAIGN, (EXPORT.name, "b"): other}


@pytest.fixture(scope="module")
def holding(tmp_path_factory: pytest.TempPathFactory) -> NativeFile:
    folder = tmp_path_factory.mktemp("holding")
    warehouse = NativeFile(folder / "data")
    load(warehouse, arrival(folder, [*rows(DAY, 20), *rows(NEXT, 2)], dates=REQUEST.dates))
    return warehouse


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (rows(DAY, 3), rows(DAY, 3, streams=1), True),  # keys are compared, not values
        (rows(DAY, 3), rows(DAY, 3)[1:], False),
        (rows(DAY, 3)[:2], rows(DAY, 3)[1:], False),
        (b"", b"", True),
        (b"", rows(DAY, 1), False),
        (rows(DAY, 3), [*rows(DAY, 3), row(report_date=str(DAY), country_code="ZZ")], True),  # one that is not held
        (rows(DAY, 3), [*rows(DAY, 3), *rows(NEXT, 1)], False),
        (rows(DAY, 3), ndjson(rows(DAY, 3)) + b'{"report_date":"2026-04-01"\n', False),
    ],
)
def test_which_keys_two_answers_miss_is_compared_with_what_is_held(
    holding: NativeFile, tmp_path: Path, first: bytes | list[Row], second: bytes | list[Row], same: bool
) -> None:
    folder = tmp_path / "country_code=DE"  # a path that DuckDB could take for a column's value
    answers = (arrival(folder, first).delivery.path, arrival(folder, second).delivery.path)
    assert miss_the_same_keys(holding, EXPORT, REQUEST.dates, [CAMPAIGN], answers) is same
