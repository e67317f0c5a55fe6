"""Fields that the contract does not know: kept with the version of the row that brought them, and no version of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY as EXPORT
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import Export, ExportColumn
from soundlink_pipeline.loading import batch
from soundlink_pipeline.loading.unknown_fields import UnknownField, summed
from soundlink_pipeline.simulator.world import World
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import NOON, Row, arrival, load, ndjson, query, refusal, row, snapshot

TABLE, HISTORY = EXPORT.name, f"{EXPORT.name}_history"
HOUR = timedelta(hours=1)
Kept = dict[str, Any] | None


def kept(warehouse: NativeFile, table: str = TABLE) -> dict[str, Kept]:
    """What the rows keep, by country."""
    found = query(warehouse, f"select country_code, _unknown_fields from {table}")
    return {country: None if fields is None else json.loads(fields) for country, fields in found}


def codes(number: int) -> list[str]:
    return [chr(65 + place % 26) + chr(65 + place // 26) for place in range(number)]


def exported(hour: int, **values: Any) -> Row:
    return row(exported_at=f"2026-05-20T{hour:02d}:00:00Z", **values)


@pytest.fixture(params=["first", "again"])
def again(request: pytest.FixtureRequest, warehouse: NativeFile, tmp_path: Path) -> bool:
    """Whether the warehouse has deliveries of the days already, so that a batch is staged."""
    if request.param == "again":
        earlier = [
            arrival(tmp_path / "before", [exported(1)], campaign=f"camp_{i}", pulled=NOON - HOUR) for i in (1, 2)
        ]
        load(warehouse, *earlier)
    return bool(request.param == "again")


def test_each_row_keeps_its_own_fields(
    again: bool, warehouse: NativeFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not again:
        monkeypatch.delattr(batch, "Staging")  # the quick way is taken with such fields, too
    odd: Row = {'a "b".c/~d': {"x": [1, None]}, "": True, "IMPRESSIONS": None, "ü\U0001f3b6": "  \u2028", "_file": "x"}
    lines = [exported(2, country_code="DE"), exported(2, country_code="SE", **odd), exported(2, saves=3)]
    data = b"\n \r\n".join(ndjson([line]) for line in lines)
    other = arrival(tmp_path, [exported(2, campaign_id="c2", country_code=c) for c in ("FR", "IT")], campaign="camp_2")
    result = load(warehouse, arrival(tmp_path, data), other)
    assert kept(warehouse) == {"DE": None, "SE": odd, "US": {"saves": 3}, "FR": None, "IT": None}
    assert [item.unknown_fields for item in result.loaded] == [tuple(sorted((*odd, "saves"))), ()]
    assert [field.types for field in result.loaded[0].unknown] == [
        ("boolean",), ("null",), ("text",), ("object",), ("integer",), ("text",)
    ]  # fmt: skip


def test_numbers_keep_their_digits(again: bool, warehouse: NativeFile, tmp_path: Path) -> None:
    numbers = '{"big":123456789012345678901234567890,"cent":0.07,"exact":1.0,"less":-9007199254740993}'
    load(warehouse, arrival(tmp_path, ndjson([exported(2)]).replace(b"{", numbers[:-1].encode() + b",", 1)))
    assert query(warehouse, f"select _unknown_fields from {TABLE} where _unknown_fields is not null") == [(numbers,)]


def test_a_key_that_an_answer_says_back_is_not_kept(again: bool, warehouse: NativeFile, tmp_path: Path) -> None:
    key = "sk_live_Qm7v/R2+xY{[,]}:pL9=="
    said: Row = {"token": key, "note": f"used {key}", key: [key, {"sk_": 'sk_a_"b'}]}
    load(warehouse, arrival(tmp_path, [exported(2, country_code="DE", **said)], pulled=NOON))
    assert kept(warehouse)["DE"] == {"token": "[key]", "note": "used [key]", "[key]": ["[key]", {"sk_": 'sk_a_"b'}]}


def test_they_follow_their_row_and_make_no_version_of_it(warehouse: NativeFile, tmp_path: Path) -> None:
    load(warehouse, arrival(tmp_path, [exported(2, saves=1)]))
    load(warehouse, arrival(tmp_path, [exported(2, saves=2)], pulled=NOON + HOUR))
    assert kept(warehouse) == {"US": {"saves": 2}}  # the newest delivery's
    load(warehouse, arrival(tmp_path, [exported(1, saves=3)], pulled=NOON + 2 * HOUR))
    assert kept(warehouse) == {"US": {"saves": 2}}  # an older version changes nothing
    load(warehouse, arrival(tmp_path, [exported(3)], pulled=NOON + 3 * HOUR))
    assert kept(warehouse) == {"US": None}
    load(warehouse, arrival(tmp_path, [exported(4, saves=4)], pulled=NOON + 4 * HOUR))
    assert query(warehouse, f"from {HISTORY}") == []
    assert query(warehouse, f"select _valid_from, _pulled_at from {TABLE}") == [
        (NOON.replace(tzinfo=None), (NOON + 4 * HOUR).replace(tzinfo=None))
    ]
    load(warehouse, arrival(tmp_path, [exported(5, streams=9, saves=5)], pulled=NOON + 5 * HOUR))
    assert (kept(warehouse), kept(warehouse, HISTORY)) == ({"US": {"saves": 5}}, {"US": {"saves": 4}})


def test_a_row_that_vanishes_and_returns_has_them_all_the_while(warehouse: NativeFile, tmp_path: Path) -> None:
    load(warehouse, arrival(tmp_path, [exported(2, saves=1), exported(2, country_code="DE")]))
    load(warehouse, arrival(tmp_path, [exported(2, country_code="DE")], pulled=NOON + HOUR))
    assert query(warehouse, "select row ->> '_unknown_fields' from vanished_rows") == [('{"saves":1}',)]
    assert kept(warehouse) == {"DE": None}
    # It returns in an older version: its values are those of the greatest, and so are these.
    both = [exported(1, saves=7), exported(2, country_code="DE")]
    load(warehouse, arrival(tmp_path, both, pulled=NOON + 2 * HOUR))
    assert kept(warehouse) == {"US": {"saves": 1}, "DE": None}


def test_in_whatever_order_and_batches_they_come_the_rows_keep_the_same(tmp_path: Path) -> None:
    hours: dict[int, Row] = {1: {"saves": 1}, 3: {"saves": 2, "note": "x"}, 2: {}, 4: {"note": None}}
    whose = (["US", "DE"], ["US", "DE"], ["US", "DE"], ["US"])  # DE vanishes
    items = [
        arrival(
            tmp_path,
            [exported(hour, streams=at, country_code=country, **fields) for country in countries],
            pulled=NOON + at * HOUR,
        )
        for at, ((hour, fields), countries) in enumerate(zip(hours.items(), whose, strict=True))
    ]
    found = []
    for place, batches in enumerate(([items], [[item] for item in reversed(items)], [items[2:], items[:2]])):
        warehouse = NativeFile(tmp_path / str(place))
        for own in batches:
            load(warehouse, *own)
        with warehouse.read() as connection:
            found.append(snapshot(connection))
    assert kept(warehouse) == {"US": {"note": None}}
    assert query(warehouse, "select row ->> '_unknown_fields' from vanished_rows") == [('{"saves":2,"note":"x"}',)]
    assert found[1:] == found[:1] * 2


def test_a_hit_keeps_them_for_the_whole_batch(again: bool, warehouse: NativeFile, tmp_path: Path) -> None:
    """A large delivery is looked at where it begins and ends; what only its middle has is kept if another has a hit."""
    many = codes(26 * 26) + [code[0] + str(digit) for code in codes(26) for digit in range(10)] * 2
    rows = [exported(2, campaign_id="c2", country_code=code, campaign_name="x" * 900) for code in many]
    rows[300] |= {"middle": 1}
    large = arrival(tmp_path, rows, campaign="camp_2")
    assert large.size > 1 << 20
    alone = load(NativeFile(tmp_path / "alone"), large)
    assert alone.loaded[0].unknown == ()
    result = load(warehouse, large, arrival(tmp_path, [exported(2, saves=1)]))
    assert [item.unknown for item in result.loaded] == [
        (UnknownField("middle", ("integer",), 1),),
        (UnknownField("saves", ("integer",), 1),),
    ]
    assert kept(warehouse)[many[300]] == {"middle": 1}


def test_a_refused_delivery_costs_the_others_no_field(warehouse: NativeFile, tmp_path: Path) -> None:
    bad = arrival(tmp_path, b'{"new":NaN,' + ndjson([row(country_code="DE")])[1:], campaign="camp_2")
    result = load(warehouse, arrival(tmp_path, [row(saves=1)]), bad)
    assert "NaN is not JSON" in refusal(result)
    assert kept(warehouse) == {"US": {"saves": 1}}


def test_fields_are_described_with_types_and_share() -> None:
    fields = summed(
        [UnknownField("b", ("integer",), 3), UnknownField("a", ("text",), 1), UnknownField("b", ("null",), 9)]
    )
    assert [field.describe(12) for field in fields] == [
        "a (text, 8 % of the rows)",
        "b (integer or null, all rows)",
    ]
    assert UnknownField("c", ("list",), 1).describe(1000) == "c (list, under 1 % of the rows)"


def test_fields_of_the_newest_documentation_have_columns(tmp_path: Path) -> None:
    """A server may send them or not."""
    for newest in (False, True):
        world = World(campaigns=1, newest_fields=newest)
        day = world.campaigns[0].start + timedelta(days=3)
        rows = world.rows(TABLE, world.campaigns[0].uuid, day, day, datetime(2027, 1, 1, tzinfo=UTC))
        warehouse = NativeFile(tmp_path / str(newest))
        lines = b"".join(json.dumps(line, default=float).encode() + b"\n" for line in rows)
        load(warehouse, arrival(tmp_path, lines, dates=DateRange(day, day)))
        found = query(warehouse, f"select count(*), count(new_listeners), count(returning_listeners) from {TABLE}")
        assert found == [(len(rows), len(rows) * newest, len(rows) * newest)]
        assert not any(kept(warehouse).values())


# A typed column


def column(kind: str, name: str = "saves", **attributes: Any) -> ExportColumn:
    return ExportColumn(name=name, type=kind, meaning="Told later.", nullable=True, **attributes)  # type: ignore[arg-type]


def with_columns(*columns: ExportColumn) -> Export:
    return replace(EXPORT, columns=(*EXPORT.columns, *columns))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """US with saves 2, 1 before; DE with a text in their place; FR, which has vanished, with saves 4."""
    folder = tmp_path_factory.mktemp("loaded")
    warehouse = NativeFile(folder / "data", exports=[EXPORT])
    france, germany = exported(1, country_code="FR", saves=4), exported(1, country_code="DE", saves="2", mood="süß")
    load(warehouse, arrival(folder / "in", [exported(1, streams=1, saves=1), germany, france]))
    load(warehouse, arrival(folder / "in", [exported(2, saves=2, note=None), germany], pulled=NOON + HOUR))
    return folder / "data"


@pytest.fixture
def data(loaded: Path, tmp_path: Path) -> Path:
    return shutil.copytree(loaded, tmp_path / "data")


def filled(warehouse: NativeFile, columns: str) -> list[tuple[Any, ...]]:
    """In DE and US, of US before, and of FR, which has vanished."""
    texts = ", ".join(f"row ->> '{name}'" for name in columns.split(", "))
    casts = ", ".join(f"{name}::varchar" for name in columns.split(", "))
    found = [query(warehouse, f"select {casts} from {table} order by country_code") for table in (TABLE, HISTORY)]
    return [line for lines in found for line in lines if True] + query(warehouse, f"select {texts} from vanished_rows")


def test_a_new_column_takes_its_past_from_the_rows(data: Path, tmp_path: Path) -> None:
    warehouse = NativeFile(data, exports=[with_columns(column("BIGINT"), column("VARCHAR", "note"))])
    assert warehouse.prepare() == [
        f"{TABLE}: saves is added, note is added",
        f"{HISTORY}: saves is added, note is added",
    ]
    assert filled(warehouse, "saves, note, _unknown_fields") == [
        (None, None, '{"saves":"2","mood":"süß"}'),  # a text is no count: it stays where it was
        ("2", None, None),
        ("4", None, None),  # the versions that were overwritten, or have vanished
        ("1", None, None),
        ("4", None, None),
    ]
    load(warehouse, arrival(tmp_path, [exported(3, saves=5)], pulled=NOON + 2 * HOUR))
    assert query(warehouse, f"select saves, _unknown_fields from {TABLE}") == [(5, None)]


VALUES: dict[str, tuple[ExportColumn, dict[str, str | None]]] = {
    "integer": (column("BIGINT"), {"3": "3", "3.0": "3", "3.5": None, '"3"': None, "true": None, "1e300": None}),
    "least": (column("BIGINT", minimum=2), {"1": None, "2": "2"}),
    "number": (column("DOUBLE"), {"0.25": "0.25", "3": "3.0", '"3"': None, "[3]": None}),
    "money": (column("DECIMAL(18,6)"), {"0.07": "0.070000", "12345678901.25": "12345678901.250000", '"1"': None}),
    "text": (column("VARCHAR"), {'"x"': "x", '"3"': "3", "3": None, "{}": None}),
    "word": (column("VARCHAR", allowed=("a", "b")), {'"a"': "a", '"c"': None}),
    "country": (column("VARCHAR", country=True), {'"US"': "US", '"us"': None}),
    "date": (
        column("DATE"),
        {'"2026-04-01"': "2026-04-01", '"2026/04/01"': None, '"infinity"': None, "20260401": None},
    ),
    "moment": (column("TIMESTAMP"), {'"2026-04-01T02:00:00+02:00"': "2026-04-01 00:00:00", '"soon"': None}),
    "another name": (column("BIGINT", "keeps", renamed_from=("saves", "stars")), {"3": "3", "null": None}),
}


@pytest.mark.parametrize(("new", "values"), VALUES.values(), ids=VALUES)
def test_only_what_the_column_may_hold_is_taken(
    tmp_path: Path, new: ExportColumn, values: dict[str, str | None]
) -> None:
    earlier = NativeFile(tmp_path / "data", exports=[EXPORT])
    lines = [
        ndjson([row(country_code=code)]).replace(b"{", f'{{"saves":{value},'.encode(), 1)
        for code, value in zip(codes(len(values)), values, strict=True)
    ]
    load(earlier, arrival(tmp_path, b"".join(lines)))
    later = NativeFile(tmp_path / "data", exports=[with_columns(new)])
    later.prepare()
    found = query(later, f"select {new.name}::varchar, _unknown_fields is null from {TABLE} order by country_code")
    gone = [taken is not None or value == "null" for value, taken in values.items()]
    assert found == list(zip(values.values(), gone, strict=True))
