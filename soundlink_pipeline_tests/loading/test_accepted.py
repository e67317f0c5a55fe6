"""Loading: what is accepted, and exactly as what."""

import itertools
import json
import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import duckdb
import pytest

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.landing.deliveries import HashedDelivery
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.loading.batch import load_batch
from soundlink_pipeline.loading.json_lines import suspects
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.loading.shared import BREAKDOWN, LINE, TABLE, codes, countries, expected, utc
from soundlink_pipeline_tests.support.deliveries import NOON, arrival, load, ndjson, query, row, sample_line


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.name)
def test_documented_line_is_loaded_to_the_letter(warehouse: NativeFile, tmp_path: Path, export: Export) -> None:
    load(warehouse, arrival(tmp_path, sample_line(export), export=export))
    loaded = query(warehouse, f"select {', '.join(export.column_names)} from {export.name}")
    documented = json.loads(sample_line(export), parse_float=Decimal)
    assert loaded == [tuple(expected(column, documented.get(column.name)) for column in export.columns)]


def test_every_amount_is_stored_digit_by_digit(warehouse: NativeFile, tmp_path: Path) -> None:
    """Up to the largest that DECIMAL(18,6) holds; a double would change the last digits of those from 2^33 on."""
    rng = random.Random(7)
    amounts = [f"{rng.randrange(10 ** rng.randint(1, 12))}.{rng.randrange(10**6):06d}" for _ in range(295)]
    amounts += ["999999999999.990001", "-999999999999.990001", "8589934592.000001", "8589934591.999999", "1.25e10"]
    pairs = ["".join(letters) for letters in itertools.product(ascii_uppercase, repeat=2)]
    lines = [
        json.dumps(row(spend_media="?", campaign_id=f"{n // 150}", country_code=pairs[n])).replace('"?"', amount)
        for n, amount in enumerate(amounts)
    ]
    # Of two files, with blank lines between: an amount is found again by its place.
    files = ["\n\n".join(lines[:150]), "\n".join([*lines[150:], ""])]
    small = arrival(tmp_path, [row(campaign_id="other")], campaign="other")
    batch = [arrival(tmp_path, file.encode(), campaign=f"{n}") for n, file in enumerate(files)]
    assert load(warehouse, batch[0], small, batch[1]).rejected == []
    found = query(warehouse, f"select spend_media from {TABLE} where campaign_id <> 'other' order by spend_media")
    assert [amount for (amount,) in found] == sorted(map(Decimal, amounts))


@pytest.mark.parametrize(
    ("given_value", "stored"),
    [
        ({"impressions": 9007199254740993}, 9007199254740993),
        ({"impressions": 2**63 - 1}, 2**63 - 1),
        ({"spend_media": 53}, Decimal("53.000000")),
        ({"spend_media": 123456789.123456}, Decimal("123456789.123456")),
        ({"spend_media": 0.1}, Decimal("0.100000")),
        ({"spend_media": -0.000001}, Decimal("-0.000001")),
        ({"cpl": 7}, 7.0),
        ({"exported_at": "2026-05-20T03:00:00+02:00"}, utc("2026-05-20T01:00:00")),
        ({"exported_at": "2026-05-20T03:00:00.123456Z"}, utc("2026-05-20T03:00:00.123456")),
        ({"exported_at": "2026-05-20T03:00:00-0230"}, utc("2026-05-20T05:30:00")),
        ({"country_code": "NA"}, "NA"),
        ({"country_code": "T1"}, "T1"),  # a network without a country
        ({"country_code": "A1"}, "A1"),
        ({"country_code": "XK"}, "XK"),
        ({"campaign_name": "1984"}, "1984"),
        ({"campaign_name": "true"}, "true"),
        ({"campaign_name": "NaN"}, "NaN"),
        ({"campaign_name": "null"}, "null"),
        ({"campaign_name": "[Remix]"}, "[Remix]"),
        ({"campaign_name": '{"a": 1}'}, '{"a": 1}'),
        ({"campaign_name": ""}, ""),
        ({"campaign_name": " a\u2028b\u0085c\nd\u2029\U0001f3b6\u0000 "}, " a\u2028b\u0085c\nd\u2029\U0001f3b6\u0000 "),
        ({"impressions": None}, None),
        ({"impressions": ...}, None),
        ({"result_type": None}, None),
    ],
)
def test_value_is_stored_exactly(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, given_value: dict[str, Any], stored: object
) -> None:
    result = load_batch(connection, EXPORTS, [arrival(tmp_path, [row(**given_value)])])
    assert not result.rejected
    assert connection.execute(f"select {next(iter(given_value))} from {TABLE}").fetchall() == [(stored,)]


@pytest.mark.parametrize(
    "data",
    [
        LINE,
        LINE + b"\r\n",
        b"\n\n" + LINE + b"\n \t\r\n\n",
        b"  " + LINE + b"  \n",
        LINE.replace(b'"streams"', b'"\\u0073treams"') + b"\n",
    ],
    ids=["no final newline", "CRLF", "blank lines", "spaces around", "escaped name"],
)
def test_oddity_of_writing_is_accepted(warehouse: NativeFile, tmp_path: Path, data: bytes) -> None:
    result = load(warehouse, arrival(tmp_path, data, declared=1))
    assert (result.loaded[0].rows, result.loaded[0].inserted) == (1, 1)
    assert query(warehouse, f"select streams, country_code from {TABLE}") == [(203, "US")]


def test_unknown_fields_are_loaded_and_reported_by_name(warehouse: NativeFile, tmp_path: Path) -> None:
    rows = [row(), row(country_code="DE", zeta=[1], IMPRESSIONS=7)]
    result = load(warehouse, arrival(tmp_path, rows))
    assert result.loaded[0].unknown_fields == ("IMPRESSIONS", "zeta")
    assert query(warehouse, "select unknown_fields from deliveries") == [(["IMPRESSIONS", "zeta"],)]
    assert query(warehouse, f"select distinct impressions from {TABLE}") == [(4821,)]


def test_unknown_field_of_a_large_delivery_is_seen_at_both_ends(warehouse: NativeFile, tmp_path: Path) -> None:
    rows = [row(country_code=code) for code in codes(26 * 26)] * 2
    rows[0] = rows[0] | {"first": 1}
    rows[-1] = rows[-1] | {"last": 1}
    result = load(warehouse, arrival(tmp_path, rows))
    assert result.loaded[0].bytes > 1 << 20
    assert result.loaded[0].unknown_fields == ("first", "last")


@pytest.mark.parametrize(
    ("data", "is_suspect"),
    [
        (LINE, False),
        (LINE + b"\r\n\n \n" + LINE, False),
        (b"", False),
        (LINE.replace(b"Sleep", '🎶\u2028\\u000b\\"x\\": {}'.encode()), False),
        (LINE.replace(b"Sleep", b"a,}"), True),  # looks like a trailing comma
        (LINE.replace(b"}", b",}"), True),
        (LINE.replace(b"}", b", \t\v }"), True),
        (LINE + b"\f", True),
        (b"\v" + LINE, True),
        (LINE + b"\n" + LINE.replace(b"{", b'{"new":1,'), True),
        (LINE.replace(b"{", b'{"new":NaN,'), True),
        (LINE.replace(b"{", b'{"Streams" : 1,'), True),
        (LINE.replace(b'"streams"', b'"\\u0073treams"'), False),
        ((LINE + b"\n") * 2000, True),  # large
    ],
    ids=str,
)
def test_python_reads_only_the_lines_of_suspects(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, data: bytes, is_suspect: bool
) -> None:
    plain, other = arrival(tmp_path / "a=b ü", LINE), arrival(tmp_path, data)
    expected_files = {str(other.delivery.path)} if is_suspect else set()
    assert suspects(connection, BREAKDOWN, [plain, other]) == expected_files


def test_empty_delivery_is_a_result_in_the_ledger(warehouse: NativeFile, tmp_path: Path) -> None:
    result = load(warehouse, arrival(tmp_path, b"", declared=0), arrival(tmp_path, b"\n", campaign="other"))
    assert [(item.rows, item.unknown_fields) for item in result.loaded] == [(0, ()), (0, ())]
    assert query(warehouse, "select rows, row_subject_id from deliveries") == [(0, None), (0, None)]


def test_of_a_key_delivered_twice_the_greatest_exported_at_wins_then_the_last_line(
    warehouse: NativeFile, tmp_path: Path
) -> None:
    late, early = "2026-05-20T03:00:00Z", "2026-05-19T03:00:00Z"
    rows = [
        row(exported_at=late, streams=1),
        row(exported_at=early, streams=2),
        row(country_code="DE", streams=3),
        row(country_code="DE", streams=4),
    ]
    loaded = load(warehouse, arrival(tmp_path, rows)).loaded[0]
    assert (loaded.rows, loaded.inserted, loaded.ignored_as_older) == (4, 2, 2)
    assert query(warehouse, f"select country_code, streams from {TABLE} order by 1") == [("DE", 4), ("US", 1)]


def test_compressed_delivery_loads_as_the_plain_one(warehouse: NativeFile, tmp_path: Path) -> None:
    rows = [row(country_code=code) for code in codes(26 * 26)] * 2
    plain = arrival(tmp_path, rows).delivery
    archived = Landing(tmp_path).archive(plain, 41)
    loaded = load(warehouse, HashedDelivery.of(archived)).loaded[0]
    assert (loaded.inserted, loaded.bytes) == (676, len(ndjson(rows)))
    assert loaded.load_order == 41


def test_folder_that_looks_like_a_pattern_or_partition_is_just_a_folder(warehouse: NativeFile, tmp_path: Path) -> None:
    folder = tmp_path / "country_code=XX" / "[a]*'?"
    assert not load(warehouse, arrival(folder, [row()])).rejected
    assert countries(warehouse) == ["US"]


@pytest.mark.parametrize("first", [True, False], ids=["directly", "staged"])
def test_delivery_from_before_a_renaming_is_read_under_the_earlier_name(tmp_path: Path, first: bool) -> None:
    columns = {column.name: column for column in BREAKDOWN.columns}
    columns["spend_media"] = replace(columns["spend_media"], name="spend_meta", renamed_from=("spend_media",))
    columns["streams"] = replace(columns["streams"], name="plays", renamed_from=("spins", "streams"))
    of_now: dict[str, Any] = {"measures": ("plays",), "charted": {}, "identities": (), "ratios": ()}
    renamed: Export = replace(BREAKDOWN, columns=tuple(columns.values()), **of_now)
    warehouse = NativeFile(tmp_path / "data", exports=[renamed])
    old = row(streams=12, spend_media=10**10)
    new = row(country_code="DE", campaign_id="other", streams=..., plays=13, spend_media=..., spend_meta=5)
    both = [arrival(tmp_path, [old]), arrival(tmp_path, [new], campaign="camp_2")]
    if not first:
        assert load(
            warehouse, arrival(tmp_path, [row(report_date="2026-04-02")], pulled=NOON - timedelta(days=1))
        ).loaded
    result = load(warehouse, *both)
    assert (len(result.loaded), result.rejected) == (2, [])
    assert {item.unknown_fields for item in result.loaded} == {()}
    held = query(warehouse, f"select country_code, plays, spend_meta from {TABLE} order by all")
    assert held == [("DE", 13, Decimal(5)), ("US", 12, Decimal(10**10))]
