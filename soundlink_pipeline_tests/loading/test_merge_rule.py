"""The merge rule against a model in plain Python: whatever the order, the table is the source's last answer.

A row's version is (exported_at, moment of the pull, line); the greatest wins. A key that a newer whole delivery of its
campaign and date no longer holds has vanished: it leaves the table, and waits in `vanished_rows` until it comes back.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
    account: str = "org-1"


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
                account_id=line.account,
                campaign_id=self.campaign,
                exported_at=f"2026-05-20T{line.exported:02d}:00:00Z",
                streams=line.streams,
            )
            for line in self.lines
        ]
        dates = DateRange(self.first, self.last)
        return arrival(folder, rows, campaign=self.path, dates=dates, pulled=NOON + timedelta(hours=self.hour - 24))


# Two ids the API lists lead to campaign X: the row's campaign_id need not be the path's. One led to Y and then to X.
PATHS = {"camp_x": "X", "alias_x": "X", "Y": "Y", "moved": "YX"}


@st.composite
def pulls(draw: st.DrawFn) -> list[Pull]:
    made = []
    moved = draw(st.integers(0, 40))
    account_moved = draw(st.integers(0, 40))
    for hour in draw(st.lists(st.integers(0, 40), min_size=1, max_size=6, unique=True)):
        path = draw(st.sampled_from(sorted(PATHS)))
        first, last = sorted((draw(st.sampled_from(DAYS)), draw(st.sampled_from(DAYS))))
        days = [day for day in DAYS if first <= day <= last]
        line = st.builds(
            Line,
            st.sampled_from(days),
            st.sampled_from(["NA", "US"]),
            st.integers(0, 2),
            st.integers(0, 1),
            # An organization moves between two pulls, or between two days of one.
            st.just("org-1" if hour < account_moved else "org-2"),
        )
        lines = tuple(draw(st.lists(line, max_size=4)))
        if draw(st.booleans()) and len(days) > 1:
            lines = tuple(replace(one, account="org-1") if one.day == first else one for one in lines)
        made.append(Pull(path, PATHS[path][-1 if hour < moved else 0], first, last, hour, lines))
    return made


Loaded = list[tuple[Pull, HashedDelivery]]


def spoken_for(loaded: Loaded) -> dict[str, str | None]:
    """Of each delivery the campaign it speaks for: its rows', or that of its path's last rows if nobody else has it."""
    by_id = sorted((item.delivery.delivery_id, pull) for pull, item in loaded)
    found: dict[str, str | None] = {}
    for at, (name, pull) in enumerate(by_id):
        before = [other for _, other in by_id[:at] if other.lines]
        campaign = next((other.campaign for other in reversed(before) if other.path == pull.path), None)
        newest = next((other.path for other in reversed(before) if other.campaign == campaign), None)
        found[name] = pull.campaign if pull.lines else campaign if newest == pull.path else None
    return found


def model(loaded: Loaded) -> dict[str, list[Any]]:
    """What `snapshot` must find, of the columns that the pulls vary; nothing of it asks for the order of loading."""
    best: dict[tuple[str, str, date, str], tuple[Any, ...]] = {}
    seen: dict[tuple[str, str, date, str], str] = {}
    status: dict[tuple[str, date], list[tuple[datetime, str | None]]] = {}
    moments = {item.delivery.delivery_id: item.delivery.pulled_at.replace(tzinfo=None) for _, item in loaded}
    for pull, item in loaded:
        name = item.delivery.delivery_id
        for number, line in enumerate(pull.lines):
            key = (pull.campaign, line.account, line.day, line.country)
            version = (line.exported, name, number, line.streams)
            best[key] = max(best.get(key, version), version)
            seen[key] = max(seen.get(key, name), name)
        for day in DateRange(pull.first, pull.last).dates():
            status.setdefault((pull.path, day), []).append((moments[name], pull.campaign if pull.lines else None))
    speaks, present, vanished = spoken_for(loaded), [], []
    for key, (exported, delivery, _, streams) in best.items():
        speaking = [
            item.delivery.delivery_id
            for pull, item in loaded
            if speaks[item.delivery.delivery_id] == key[0] and pull.first <= key[2] <= pull.last
        ]
        if seen[key] == max(speaking):
            at = datetime(2026, 5, 20, exported)  # noqa: DTZ001
            present.append((*key, streams, at, moments[delivery], delivery))
        else:
            gone = min(name for name in speaking if name > seen[key])
            vanished.append((*key, str(streams), delivery, moments[seen[key]], moments[gone], seen[key], gone))
    return {
        "rows": sorted(present),
        "vanished": sorted(vanished),
        "speaks": sorted(speaks.items()),
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
    def rows(sql: str) -> list[Any]:
        return connection.execute(sql).fetchall()

    return {
        "rows": rows(
            "select campaign_id, account_id, report_date, country_code, streams, exported_at, _pulled_at, _delivery_id"
            f" from {EXPORT.name} order by all"
        ),
        "vanished": rows(
            "select subject_id, key ->> 'account_id', report_date, key ->> 'country_code', row ->> 'streams',"
            " delivery_id, last_seen_at, vanished_at, last_seen_delivery_id, vanished_delivery_id"
            " from vanished_rows order by all"
        ),
        "speaks": rows("select delivery_id, speaks_for from deliveries order by all"),
        "status": rows(
            "select subject_id, row_subject_id, report_date, last_pulled_at, deliveries, is_settled"
            " from report_date_status order by subject_id, report_date"
        ),
    }


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with NativeFile(tmp_path_factory.mktemp("merge")).write() as connection:
        connection.execute("set threads = 1")  # the files are tiny: a second thread costs more than it brings
        yield connection


def load_in(connection: duckdb.DuckDBPyConnection, batches: list[list[HashedDelivery]]) -> None:
    for table in (EXPORT.name, f"{EXPORT.name}_history", "deliveries", "vanished_rows"):
        connection.execute(f"truncate {table}")
    for batch in batches:
        result = load_batch(connection, EXPORTS, batch)
        assert not result.rejected
        for item in result.loaded:
            assert item.rows == item.inserted + item.updated + item.unchanged + item.ignored_as_older


def check_history(connection: duckdb.DuckDBPyConnection, loaded: Loaded) -> None:
    """The history, and since when the table's rows are believed, are what the order of loading makes of the model."""
    moments = {item.delivery.delivery_id: item.delivery.pulled_at.replace(tzinfo=None) for _, item in loaded}
    history: list[tuple[Any, ...]] = []
    believed: dict[tuple[Any, ...], tuple[int, datetime]] = {}
    for end, (_, item) in enumerate(loaded, start=1):
        now, own = model(loaded[:end]), item.delivery.delivery_id
        present = {line[:4]: line[4] for line in now["rows"]}
        vanished = {line[:4]: line[4:] for line in now["vanished"]}
        for key, (streams, since) in list(believed.items()):
            if key not in present and vanished[key][1] == own and vanished[key][0] != str(streams):
                # Overwritten, and in the same breath no longer there: empty deliveries found their campaign just now.
                history.append((*key, streams, since, moments[own], own, False))
            elif key not in present:
                history.append((*key, streams, since, vanished[key][3], vanished[key][5], True))
            elif present[key] != streams:
                history.append((*key, streams, since, moments[own], own, False))
                believed[key] = (present[key], moments[own])
            if key not in present:
                del believed[key]
        for key in present.keys() - believed.keys():
            believed[key] = (present[key], moments[own])
    columns = "campaign_id, account_id, report_date, country_code, streams, _valid_from"
    assert connection.execute(
        f"select {columns}, _valid_until, _replaced_by_delivery_id, _vanished from {EXPORT.name}_history order by all"
    ).fetchall() == sorted(history)
    assert connection.execute(f"select {columns} from {EXPORT.name} order by all").fetchall() == sorted(
        (*key, *value) for key, value in believed.items()
    )


def test_any_order_and_any_batches_give_the_table_of_the_model(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, pytestconfig: pytest.Config
) -> None:

    @settings(max_examples=pytestconfig.getoption("--inputs") // 50, deadline=None, database=None)
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
        again = [item for _, item in data.draw(st.lists(st.sampled_from(items), max_size=2))]
        load_in(connection, [batch for batch in (*batches, again) if batch])
        assert found(connection) == model(items)
        check_history(connection, items)
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
HERE = dict(zip(CASES, (["US"], ["US"], [], ["US"], ["US"], ["NA", "US"], ["NA"]), strict=True))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one by one"])
def test_table_holds_the_last_answer_whatever_the_order(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, case: str, together: bool
) -> None:
    items = [(pull, pull.arrival(tmp_path)) for pull in CASES[case]]
    for order in itertools.permutations(items):
        own = [item for _, item in order]
        load_in(connection, [own] if together else [[item] for item in own])
        assert found(connection) == model(items)
        assert sorted(line[3] for line in found(connection)["rows"]) == HERE[case]
        check_history(connection, list(order))


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
    assert [str(line[5]) for line in found(connection)["rows"]] == ["2026-05-20 02:00:00"]
    assert connection.execute(f"from {EXPORT.name}_history").fetchall() == []


def test_vanished_row_names_its_key(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    load_in(connection, [[pull.arrival(tmp_path)] for pull in CASES["two ids of one campaign"]])
    ((key,),) = connection.execute("select key from vanished_rows").fetchall()
    assert json.loads(key) == {
        name: row(campaign_id="X", report_date="2026-05-14", account_id="org-1")[name] for name in EXPORT.primary_key
    }
