"""The merge rule against a model in plain Python: whatever the order, the table is the source's last answer.

A row's version is (exported_at, moment of the pull, line); the greatest wins. A key that a newer whole delivery of its
date no longer holds has vanished, and stays in the table.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.landing.deliveries import HashedDelivery
from soundlink_pipeline.loading.batch import load_batch
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import NOON, arrival, row, snapshot

EXPORT = CAMPAIGN_COUNTRY_DAILY
DAYS = [date(2026, 5, 14), date(2026, 5, 15), date(2026, 5, 16)]  # NOON is 8 days and 12 hours after the second
VALUES = [name for name in EXPORT.value_columns if not name.startswith("campaign_target")]


@dataclass(frozen=True)
class Line:
    day: date
    country: str
    exported: int  # hours
    streams: int


@dataclass(frozen=True)
class Pull:
    path: str
    campaign: str
    first: date
    last: date
    hour: int  # moment of the pull, unique
    lines: tuple[Line, ...]

    def arrival(self, folder: Path) -> HashedDelivery:
        rows = [
            row(
                report_date=str(line.day),
                country_code=line.country,
                campaign_id=self.campaign,
                exported_at=f"2026-05-20T{line.exported:02d}:00:00Z",
                streams=line.streams,
            )
            for line in self.lines
        ]
        dates = DateRange(self.first, self.last)
        return arrival(folder, rows, campaign=self.path, dates=dates, pulled=NOON + timedelta(hours=self.hour - 24))


# Two ids the API lists lead to campaign X: the row's campaign_id need not be the path's.
PATHS = {"camp_x": "X", "alias_x": "X", "Y": "Y"}


@st.composite
def pulls(draw: st.DrawFn) -> list[Pull]:
    made = []
    for hour in draw(st.lists(st.integers(0, 40), min_size=1, max_size=5, unique=True)):
        path = draw(st.sampled_from(sorted(PATHS)))
        first, last = sorted((draw(st.sampled_from(DAYS)), draw(st.sampled_from(DAYS))))
        line = st.builds(
            Line,
            st.sampled_from([day for day in DAYS if first <= day <= last]),
            st.sampled_from(["NA", "US"]),
            st.integers(0, 2),
            st.integers(0, 1),
        )
        made.append(Pull(path, PATHS[path], first, last, hour, tuple(draw(st.lists(line, max_size=4)))))
    return made


def model(loaded: list[tuple[Pull, HashedDelivery]]) -> dict[str, list[Any]]:
    """What `snapshot` must find, of the columns that the pulls vary; nothing of it asks for the order of loading."""
    best: dict[tuple[str, date, str], tuple[Any, ...]] = {}
    seen: dict[tuple[str, date, str], tuple[datetime, str]] = {}
    status: dict[tuple[str, date], list[tuple[datetime, str | None]]] = {}
    leads_to: dict[str, set[str]] = {}
    for pull, item in loaded:
        moment, name = item.delivery.pulled_at.replace(tzinfo=None), item.delivery.delivery_id
        for number, line in enumerate(pull.lines):
            key = (pull.campaign, line.day, line.country)
            version = (line.exported, moment, number, line.streams, name)
            best[key] = max(best.get(key, version), version)
            seen[key] = max(seen.get(key, (moment, name)), (moment, name))
        if pull.lines:
            leads_to.setdefault(pull.path, set()).add(pull.campaign)
        for day in DateRange(pull.first, pull.last).dates():
            status.setdefault((pull.path, day), []).append((moment, pull.campaign if pull.lines else None))
    vanished = []
    for key, (last_seen, last_name) in seen.items():
        later = [
            (item.delivery.pulled_at.replace(tzinfo=None), item.delivery.delivery_id)
            for pull, item in loaded
            if key[0] in leads_to.get(pull.path, set())
            and pull.first <= key[1] <= pull.last
            and item.delivery.pulled_at.replace(tzinfo=None) > last_seen
        ]
        if later:
            vanished.append((*key, last_seen, min(later)[0], last_name, min(later)[1]))
    return {
        "rows": sorted((*key, v[3], datetime(2026, 5, 20, v[0]), v[1], v[4]) for key, v in best.items()),  # noqa: DTZ001
        "vanished": sorted(vanished),
        "status": [
            (
                path,
                max((c for _, c in found if c), default=None),
                day,
                max(m for m, _ in found),
                len(found),
                max(m for m, _ in found).date() >= day + timedelta(days=8),
            )
            for (path, day), found in sorted(status.items())
        ],
    }


def found(connection: duckdb.DuckDBPyConnection) -> dict[str, list[Any]]:
    rows = connection.execute(
        f"select campaign_id, report_date, country_code, streams, exported_at, _pulled_at, _delivery_id "
        f"from {EXPORT.name} order by 1, 2, 3"
    )
    rows_found = rows.fetchall()
    vanished = connection.execute(
        "select campaign_id, report_date, key ->> 'country_code', last_seen_at, vanished_at, last_seen_delivery_id,"
        " vanished_delivery_id from vanished_rows order by all"
    ).fetchall()
    status = connection.execute(
        "select campaign_id, row_campaign_id, report_date, last_pulled_at, deliveries, is_settled"
        " from report_date_status order by campaign_id, report_date"
    ).fetchall()
    return {"rows": rows_found, "vanished": vanished, "status": status}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with NativeFile(tmp_path_factory.mktemp("merge")).write() as connection:
        yield connection


def load_in(connection: duckdb.DuckDBPyConnection, batches: list[list[HashedDelivery]]) -> None:
    for table in (EXPORT.name, f"{EXPORT.name}_history", "deliveries"):
        connection.execute(f"truncate {table}")
    for batch in batches:
        result = load_batch(connection, EXPORTS, batch)
        assert not result.rejected
        for item in result.loaded:
            assert item.rows == item.inserted + item.updated + item.unchanged + item.ignored_as_older


def check_history(connection: duckdb.DuckDBPyConnection) -> None:
    """Every version in the history differs in values from the one that replaced it, and is a smaller version."""
    key, values = ", ".join(EXPORT.primary_key), ", ".join(VALUES)
    versions = connection.execute(
        f"""
        with versions as (
            select {key}, {values}, exported_at, _delivery_id, _valid_from, _valid_until, _replaced_by_delivery_id
            from {EXPORT.name}_history
            union all by name
            select {key}, {values}, exported_at, _delivery_id, _valid_from from {EXPORT.name}
        )
        select {key}, [({values})] as said, (exported_at, _delivery_id) as version, _valid_from, _valid_until,
            _replaced_by_delivery_id
        from versions order by {key}, version
        """
    ).fetchall()
    for before, after in itertools.pairwise(versions):
        if before[:5] == after[:5]:
            assert before[5] != after[5], "a version was logged that nothing different replaced"
            assert before[6] < after[6]
            assert before[8] == after[7], "one version's end is the next one's beginning"
        else:
            assert before[8] is None, "a version was logged of which the table holds no successor"
    if versions:
        assert versions[-1][8] is None
    assert connection.execute(f"select count(*) from {EXPORT.name}").fetchall() == [
        (sum(version[8] is None for version in versions),)
    ]


def test_any_order_and_any_batches_give_the_table_of_the_model(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:

    @settings(max_examples=40, deadline=None, database=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        made = data.draw(pulls())
        items = [(pull, pull.arrival(tmp_path)) for pull in data.draw(st.permutations(made))]
        cuts = data.draw(st.lists(st.booleans(), min_size=len(items), max_size=len(items)))
        batches: list[list[HashedDelivery]] = [[]]
        for (_, item), cut in zip(items, cuts, strict=True):
            if cut:
                batches.append([])
            batches[-1].append(item)
        load_in(connection, [batch for batch in batches if batch])
        assert found(connection) == model(items)
        check_history(connection)
        for _, item in items:
            item.delivery.path.unlink()

    check()


US, NA = (Line(DAYS[0], code, 1, 1) for code in ("US", "NA"))
BOTH_DAYS = (DAYS[0], DAYS[1])
CASES = {
    "later pull of an older row keeps the row, which has not vanished": [
        Pull("camp_x", "X", *BOTH_DAYS, 1, (US,)),
        Pull("camp_x", "X", *BOTH_DAYS, 2, (Line(DAYS[0], "US", 0, 0),)),
    ],
    "vanished and come back": [
        Pull("camp_x", "X", *BOTH_DAYS, 1, (US, NA)),
        Pull("camp_x", "X", *BOTH_DAYS, 2, (NA,)),
        Pull("camp_x", "X", *BOTH_DAYS, 3, (US,)),
    ],
    "all vanished from an empty delivery": [
        Pull("camp_x", "X", *BOTH_DAYS, 1, (US, NA)),
        Pull("camp_x", "X", *BOTH_DAYS, 2, ()),
    ],
    "empty first, rows afterwards": [
        Pull("camp_x", "X", *BOTH_DAYS, 1, ()),
        Pull("camp_x", "X", *BOTH_DAYS, 2, (US,)),
    ],
    "other dates say nothing": [
        Pull("camp_x", "X", *BOTH_DAYS, 1, (US,)),
        Pull("camp_x", "X", DAYS[1], DAYS[2], 2, ()),
    ],
    "another campaign says nothing": [
        Pull("camp_x", "X", *BOTH_DAYS, 1, (US,)),
        Pull("Y", "Y", *BOTH_DAYS, 2, (NA,)),
    ],
    "two ids of one campaign": [
        Pull("camp_x", "X", *BOTH_DAYS, 1, (US, NA)),
        Pull("alias_x", "X", *BOTH_DAYS, 2, (NA,)),
    ],
}
VANISHED = dict(zip(CASES, ([], ["NA"], ["NA", "US"], [], [], [], ["US"]), strict=True))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one by one"])
def test_vanished_keys_are_listed_and_kept_whatever_the_order(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, case: str, together: bool
) -> None:
    items = [(pull, pull.arrival(tmp_path)) for pull in CASES[case]]
    for order in itertools.permutations(item for _, item in items):
        load_in(connection, [list(order)] if together else [[item] for item in order])
        assert found(connection) == model(items)
        assert [line[2] for line in sorted(found(connection)["vanished"], key=lambda v: v[2])] == VANISHED[case]
        check_history(connection)


def test_same_pulls_in_both_orders_give_the_same_rows_to_the_last_column(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    items = [pull.arrival(tmp_path) for case in CASES.values() for pull in case[:1]]
    items += [Pull("camp_x", "X", DAYS[0], DAYS[2], 30, (Line(DAYS[2], "US", 0, 5), NA)).arrival(tmp_path)]
    items = list({item.delivery.delivery_id: item for item in items}.values())
    load_in(connection, [items])
    forward = snapshot(connection)
    load_in(connection, [[item] for item in reversed(items)])
    assert snapshot(connection) == forward
    assert any(forward["vanished_rows"])


def test_newer_exported_at_with_the_same_values_is_taken_over_without_history(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    older, newer = (Pull("camp_x", "X", *BOTH_DAYS, hour, (Line(DAYS[0], "US", hour, 1),)) for hour in (1, 2))
    load_in(connection, [[older.arrival(tmp_path)], [newer.arrival(tmp_path)]])
    assert [str(line[4]) for line in found(connection)["rows"]] == ["2026-05-20 02:00:00"]
    assert connection.execute(f"from {EXPORT.name}_history").fetchall() == []


def test_vanished_row_names_its_key(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    load_in(connection, [[pull.arrival(tmp_path)] for pull in CASES["two ids of one campaign"]])
    ((key,),) = connection.execute("select key from vanished_rows").fetchall()
    assert json.loads(key) == {
        name: row(campaign_id="X", report_date="2026-05-14")[name] for name in EXPORT.primary_key
    }
