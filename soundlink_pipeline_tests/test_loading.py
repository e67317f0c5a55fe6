"""Loading: what is accepted and exactly as what, what is refused and why, and that nothing is ever half-loaded."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from soundlink_pipeline import first_load
from soundlink_pipeline.checking import Staging
from soundlink_pipeline.exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY, EXPORTS, Column, Export
from soundlink_pipeline.landing import Landing
from soundlink_pipeline.loading import Arrival, load_batch
from soundlink_pipeline.partitions import DateRange
from soundlink_pipeline.warehouse import Warehouse
from soundlink_pipeline_tests.deliveries import (
    NOON,
    arrival,
    load,
    ndjson,
    query,
    refusal,
    row,
    sample_line,
)

BREAKDOWN, ENGAGEMENT = CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
TABLE = "campaign_country_daily"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "data")


@pytest.fixture(scope="module")
def kept_open(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with Warehouse(tmp_path_factory.mktemp("open")).write() as connection:
        yield connection


@pytest.fixture
def connection(kept_open: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A warehouse's connection, its tables empty: for the many cases that need no file of their own."""
    empty(kept_open)
    return kept_open


def empty(connection: duckdb.DuckDBPyConnection) -> None:
    for table in ("deliveries", CAMPAIGN_COUNTRY_DAILY.name, CAMPAIGN_ENGAGEMENT_DAILY.name):
        connection.execute(f"truncate {table}")


def utc(text: str) -> datetime:
    """A moment as the tables hold it: in UTC, naive."""
    return datetime.fromisoformat(text)


def countries(warehouse: Warehouse) -> list[str]:
    return [code for (code,) in query(warehouse, f"select country_code from {TABLE} order by 1")]


# Accepted


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.name)
def test_documented_line_is_loaded_to_the_letter(warehouse: Warehouse, tmp_path: Path, export: Export) -> None:
    load(warehouse, arrival(tmp_path, sample_line(export), export=export))
    loaded = query(warehouse, f"select {', '.join(export.column_names)} from {export.name}")
    documented = json.loads(sample_line(export), parse_float=Decimal)
    assert loaded == [tuple(expected(column, documented[column.name]) for column in export.columns)]


def expected(column: Column, value: Any) -> Any:
    """What a value that Python's json has read (floats as Decimal) must be in the table."""
    if value is None:
        return None
    if column.type == "date":
        return date.fromisoformat(value)
    if column.type == "timestamp":
        moment = datetime.fromisoformat(value)
        return (moment.astimezone(UTC) if moment.tzinfo else moment).replace(tzinfo=None)
    if column.type == "money":
        # JSON numbers with a fraction pass through a double, as they do in Python and JavaScript.
        return round(Decimal(value) if isinstance(value, int) else Decimal(repr(float(value))), 6)
    if column.type == "number":
        return float(value)
    return int(value) if column.type == "integer" else value


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
    assert not result.refused
    assert connection.execute(f"select {next(iter(given_value))} from {TABLE}").fetchall() == [(stored,)]


LINE = sample_line(BREAKDOWN).strip()


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
def test_oddity_of_writing_is_accepted(warehouse: Warehouse, tmp_path: Path, data: bytes) -> None:
    result = load(warehouse, arrival(tmp_path, data, declared=1))
    assert (result.loaded[0].rows, result.loaded[0].inserted) == (1, 1)
    assert query(warehouse, f"select streams, country_code from {TABLE}") == [(203, "US")]


def test_unknown_fields_are_loaded_and_reported_by_name(warehouse: Warehouse, tmp_path: Path) -> None:
    rows = [row(), row(country_code="DE", zeta=[1], IMPRESSIONS=7)]
    result = load(warehouse, arrival(tmp_path, rows))
    assert result.loaded[0].unknown_fields == ("IMPRESSIONS", "zeta")
    assert query(warehouse, "select unknown_fields from deliveries") == [(["IMPRESSIONS", "zeta"],)]
    assert query(warehouse, f"select distinct impressions from {TABLE}") == [(4821,)]


def test_unknown_field_of_a_large_delivery_is_seen_at_both_ends(warehouse: Warehouse, tmp_path: Path) -> None:
    rows = [row(country_code=code) for code in codes(26 * 26)] * 2
    rows[0] = rows[0] | {"first": 1}
    rows[-1] = rows[-1] | {"last": 1}
    result = load(warehouse, arrival(tmp_path, rows))
    assert result.loaded[0].bytes > 1 << 20
    assert result.loaded[0].unknown_fields == ("first", "last")


def codes(count: int) -> Iterator[str]:
    return (chr(65 + n // 26) + chr(65 + n % 26) for n in range(count))


def test_empty_delivery_is_a_result_in_the_ledger(warehouse: Warehouse, tmp_path: Path) -> None:
    result = load(warehouse, arrival(tmp_path, b"", declared=0), arrival(tmp_path, b"\n", campaign="other"))
    assert [(item.rows, item.unknown_fields) for item in result.loaded] == [(0, ()), (0, ())]
    assert query(warehouse, "select rows, row_campaign_id from deliveries") == [(0, None), (0, None)]


def test_of_a_key_delivered_twice_the_greatest_exported_at_wins_then_the_last_line(
    warehouse: Warehouse, tmp_path: Path
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


def test_compressed_delivery_loads_as_the_plain_one(warehouse: Warehouse, tmp_path: Path) -> None:
    rows = [row(country_code=code) for code in codes(26 * 26)] * 2
    plain = arrival(tmp_path, rows).delivery
    archived = Landing(tmp_path).archive(plain, 41)
    loaded = load(warehouse, Arrival.of(archived)).loaded[0]
    assert (loaded.inserted, loaded.bytes) == (676, len(ndjson(rows)))
    assert loaded.load_order == 41


def test_folder_that_looks_like_a_pattern_or_a_partition_is_just_a_folder(warehouse: Warehouse, tmp_path: Path) -> None:
    folder = tmp_path / "country_code=XX" / "[a]*'?"
    assert not load(warehouse, arrival(folder, [row()])).refused
    assert countries(warehouse) == ["US"]


# Refused

INTEGER = "must be an integer of at least 0 or null"
COUNT = "must be an integer of at least 0"
NUMBER = "must be a finite number"
MONEY = "must be a finite number below 10^12"
TIMESTAMP = "must be an ISO 8601 timestamp"
KEY = 'provider "soundlink", account_id "a7ac3173-2f71-4e79-921f-d15d7112dd11", report_date "2026-04-01"'
BROKEN: list[tuple[Export, str, str, str, str]] = [
    # export, field, its JSON text ("" = left out), the rule, what was got
    *[
        (BREAKDOWN, name, text, "must be ", got)
        for name in BREAKDOWN.column_names
        if name not in {c.name for c in BREAKDOWN.columns if c.nullable}
        for text, got in (("", "nothing: the field is missing"), ("null", "null"))
    ],
    (BREAKDOWN, "impressions", "1.5", INTEGER, "1.5"),
    (BREAKDOWN, "impressions", "true", INTEGER, "true"),
    (BREAKDOWN, "impressions", '"12"', INTEGER, '"12"'),
    (BREAKDOWN, "impressions", "[1]", INTEGER, "[1]"),
    (BREAKDOWN, "impressions", "{}", INTEGER, "{}"),
    (BREAKDOWN, "impressions", "NaN", INTEGER, "NaN"),
    (BREAKDOWN, "impressions", "-1", INTEGER, "-1"),
    (BREAKDOWN, "impressions", "9223372036854775808", INTEGER, "9223372036854775808"),
    (BREAKDOWN, "impressions", "36028797018963968.0", INTEGER, "3.602879701896397e+16"),
    (BREAKDOWN, "streams", "-3", COUNT, "-3"),
    (BREAKDOWN, "streams", "1e400", COUNT, "Infinity"),
    (BREAKDOWN, "cpl", "NaN", NUMBER, "NaN"),
    (BREAKDOWN, "cpl", "-Infinity", NUMBER, "-Infinity"),
    (BREAKDOWN, "cpl", "1e400", NUMBER, "Infinity"),
    (BREAKDOWN, "cpl", '"0.3"', NUMBER, '"0.3"'),
    (BREAKDOWN, "ctr_adclick", "NaN", "must be a finite number or null", "NaN"),
    (BREAKDOWN, "spend_media", '"42.50"', MONEY, '"42.50"'),
    (BREAKDOWN, "spend_media", "true", MONEY, "true"),
    (BREAKDOWN, "spend_media", "Infinity", MONEY, "Infinity"),
    (BREAKDOWN, "spend_media", "1000000000000", MONEY, "1000000000000"),
    (BREAKDOWN, "campaign_name", "1984", "must be text", "1984"),
    (BREAKDOWN, "campaign_name", "-1.5e-7", "must be text", "-1.5e-07"),
    (BREAKDOWN, "campaign_name", "true", "must be text", "true"),
    (BREAKDOWN, "campaign_name", '{"en":"x"}', "must be text", '{"en": "x"}'),
    (BREAKDOWN, "campaign_name", "[]", "must be text", "[]"),
    (BREAKDOWN, "campaign_target_isrc", "12", "must be text or null", "12"),
    (BREAKDOWN, "campaign_target_isrc", "NaN", "must be text or null", "NaN"),
    (BREAKDOWN, "campaign_target_isrc", "-Infinity", "must be text or null", "-Infinity"),
    (BREAKDOWN, "schema_version", '"2.0"', 'must be "1.0"', '"2.0"'),
    (BREAKDOWN, "schema_version", "1.0", 'must be "1.0"', "1.0"),
    (BREAKDOWN, "provider", '"spotify"', 'must be "soundlink"', '"spotify"'),
    (BREAKDOWN, "report_date_timezone", '"CET"', 'must be "UTC"', '"CET"'),
    *[
        (BREAKDOWN, "report_date", text, "must be a date written YYYY-MM-DD", text)
        for text in (
            '"2026-02-30"',
            '"2026-4-1"',
            '"2026/04/01"',
            '"2026 04 01"',
            '"infinity  "',
            '"2026-04-01T00:00:00Z"',
            '"today"',
            "20260401",
        )
    ],
    *[
        (BREAKDOWN, "exported_at", text, TIMESTAMP, text)
        for text in (
            '"yesterday"',
            '"2026-05-20"',
            '"         2026-05-20"',
            '"infinity           "',
            '"2026/05/20 03:00:00"',
            '"-2026-05-20T03:00:00Z"',
            '"2026-05-20 03:00:00 America/New_York"',
            '"2026-05-20T03:00:00+99:00"',
            '"2026-05-20T25:00:00Z"',
            '"2026-02-30T03:00:00Z"',
            "1779246000",
        )
    ],
    *[
        (BREAKDOWN, "country_code", text, "must be two capital letters", text)
        for text in ('"us"', '"USA"', '"U1"', '""', '"ÄÖ"', '"US\\n"', "12")
    ],
    (BREAKDOWN, "result_type", '"click"', 'must be one of "lp_click", "stream", "follow" or null', '"click"'),
    (BREAKDOWN, "campaign_target_type", '"album"', 'must be one of "track", "playlist" or null', '"album"'),
    (ENGAGEMENT, "status", '"paused"', 'must be one of "active", "ended", "scheduled"', '"paused"'),
    (ENGAGEMENT, "engagement_context", '"radio"', 'must be one of "catalog", "playlist"', '"radio"'),
    (ENGAGEMENT, "playlist_position", "0", "must be an integer of at least 1 or null", "0"),
    (ENGAGEMENT, "new_listeners", "-1", COUNT, "-1"),
    (ENGAGEMENT, "spl", "true", NUMBER, "true"),
]


def with_text(line: bytes, name: str, text: str) -> bytes:
    """The line with the JSON text of one field exchanged, or the field left out."""
    parts = [
        f"{json.dumps(field)}:{text if field == name else json.dumps(value)}"
        for field, value in json.loads(line).items()
        if field != name or text
    ]
    return ("{" + ",".join(parts) + "}\n").encode()


FIELDS = sorted({(export.name, name) for export, name, *_ in BROKEN})


@pytest.mark.parametrize(("table", "name"), FIELDS)
def test_value_that_breaks_a_rule_is_refused_with_line_field_rule_and_value(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, table: str, name: str
) -> None:
    cases = [case for case in BROKEN if (case[0].name, case[1]) == (table, name)]
    export = cases[0][0]
    line = sample_line(export)
    other = arrival(tmp_path, line, export=export, campaign="other")
    batch = [
        arrival(tmp_path, b"\n" + line + with_text(line, name, text), export=export, campaign=f"broken {number}")
        for number, (_, _, text, _, _) in enumerate(cases)
    ]
    result = load_batch(connection, EXPORTS, [*batch, other])
    reasons = {refused.delivery.campaign_id: refused.reason for refused in result.refused}
    assert len(reasons) == len(cases), result.loaded
    for number, (_, _, text, rule, got) in enumerate(cases):
        reason = reasons[f"broken {number}"]
        shown = json.dumps(json.loads(got), ensure_ascii=False) if got == text else got
        assert reason.startswith(f"line 3: {name} {rule}"), reason
        assert f", got {shown} (provider " in reason, reason
        assert name == "country_code" or 'country_code "US"' in reason, reason
    # The other delivery of the batch is loaded, of these nothing.
    assert connection.execute(f"select _delivery_id from {table}").fetchall() == [(other.delivery.delivery_id,)]
    assert connection.execute("select campaign_id from deliveries").fetchall() == [("other",)]


NOT_JSON: list[tuple[bytes, str]] = [
    (LINE[:-20], "line 2: not valid JSON: "),
    (LINE + LINE, "line 2: not valid JSON: Extra data"),
    (LINE + b",", "line 2: not valid JSON: Extra data"),
    (b"<html>", "line 2: not valid JSON: "),
    (b"null", "line 2: not a JSON object"),
    (b"7", "line 2: not a JSON object"),
    (b"[" + LINE + b"]", "line 2: not a JSON object"),
    (LINE.replace(b"Sleep", b"\xff"), "line 2: not UTF-8 at byte "),
    (LINE.replace(b"{", b'{"new":"\xed\xa0\x80",'), "line 2: not UTF-8 at byte 9"),
    (LINE.replace(b"Sleep", b"\x01"), "line 2: not valid JSON: Invalid control character"),
    (LINE.replace(b"Sleep", b"\\ud800"), "surrogate"),
    (LINE.replace(b"{", b'{"streams":1,'), "line 2: not valid JSON: a field is there twice: streams"),
    (LINE.replace(b"}", b",}"), "line 2: not valid JSON: "),
    (LINE.replace(b"{", b'{"new":[1,],'), "line 2: not valid JSON: "),
    (LINE.replace(b"{", b'{"new":NaN,'), "line 2: not valid JSON: NaN is not JSON"),
    (LINE.replace(b"{", b'{"new":inf,'), "line 2: not valid JSON: "),
    (LINE + b"\v", "line 2: not valid JSON: "),
    (b"\f" + LINE, "line 2: not valid JSON: "),
    (b"\x00", "line 2: not valid JSON: "),
    (LINE.replace(b"{", b'{"new":' + b"[" * 90_000 + b"]" * 90_000 + b","), "line 2: not readable: nested too deeply"),
    (LINE.replace(b'"Sleep Playlist"', b"[" * 200 + b"]" * 200), "line 2: campaign_name must be text, got [[["),
    (LINE.replace(b'"streams":203', b'"streams":' + b"9" * 5000), "line 2: "),
]


def test_line_that_is_not_json_refuses_its_delivery_and_no_other(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    good = sample_line(BREAKDOWN)
    broken = [
        arrival(tmp_path, good + line + b"\n" + good, campaign=f"broken {number}")
        for number, (line, _) in enumerate(NOT_JSON)
    ]
    others = [arrival(tmp_path, [row(country_code=code, campaign_id=code)], campaign=code) for code in ("DE", "NA")]
    result = load_batch(connection, EXPORTS, [others[0], *broken, others[1]])
    reasons = {refused.delivery.campaign_id: refused.reason for refused in result.refused}
    assert {item.delivery.campaign_id for item in result.loaded} == {"DE", "NA"}
    for number, (line, said) in enumerate(NOT_JSON):
        assert said in reasons[f"broken {number}"], line[:200]
    assert connection.execute(f"select country_code from {TABLE} order by 1").fetchall() == [("DE",), ("NA",)]
    assert connection.execute("select campaign_id from deliveries order by 1").fetchall() == [("DE",), ("NA",)]


def test_line_of_more_than_four_mebibytes_does_no_harm(warehouse: Warehouse, tmp_path: Path) -> None:
    long = arrival(tmp_path, [row(country_code=code) for code in codes(600)] + [row(campaign_name="x" * 40_000_000)])
    result = load(warehouse, long, arrival(tmp_path, [row(country_code="NA")], campaign="other"))
    assert refusal(result) == "line 601: longer than 4194304 bytes"
    assert countries(warehouse) == ["NA"]


@pytest.mark.parametrize(("declared", "said"), [(3, "fewer than X-Row-Count's 3"), (1, "more than X-Row-Count's 1")])
def test_other_number_of_rows_than_declared_is_refused(
    warehouse: Warehouse, tmp_path: Path, declared: int, said: str
) -> None:
    result = load(warehouse, arrival(tmp_path, [row(), row(country_code="DE")], declared=declared))
    assert refusal(result) == f"the file holds 2 rows, {said}"
    assert countries(warehouse) == []


def test_empty_delivery_that_should_have_rows_is_refused(warehouse: Warehouse, tmp_path: Path) -> None:
    blank = b"\n".join([sample_line(ENGAGEMENT), b"", b""])  # blank lines do not make up for missing rows
    assert "holds 1 rows, fewer than X-Row-Count's 2" in refusal(
        load(warehouse, arrival(tmp_path, blank, export=ENGAGEMENT, declared=2))
    )
    assert refusal(load(warehouse, arrival(tmp_path, b"", declared=5))) == (
        "the file holds 0 rows, fewer than X-Row-Count's 5"
    )
    assert query(warehouse, "select * from deliveries") == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"report_date": "2026-03-31"}, "report_date must be within the range asked for, 2026-04-01 to 2026-04-30 ("),
        ({"report_date": "2026-05-01"}, "report_date must be within the range asked for, 2026-04-01 to 2026-04-30 ("),
        ({"campaign_id": "zzz"}, 'all rows must be of one campaign_id, here are "f1e28d31-'),
        ({"account_id": "zzz"}, 'all rows must be of one account_id, here are "a7ac3173-'),
    ],
)
def test_row_that_does_not_belong_into_the_delivery_is_refused(
    warehouse: Warehouse, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    rows = [row(), row(country_code="DE", **changes)]
    other = arrival(tmp_path, [row(country_code="NA")], campaign="other")
    reason = refusal(load(warehouse, other, arrival(tmp_path, rows)))
    assert reason.startswith(f"line 2: {said}")
    assert 'country_code "DE"' in reason
    assert next(iter(changes.values())) in reason
    assert countries(warehouse) == ["NA"]


def test_edges_of_the_range_are_within_it(warehouse: Warehouse, tmp_path: Path) -> None:
    rows = [row(report_date="2026-04-01"), row(report_date="2026-04-30")]
    assert load(warehouse, arrival(tmp_path, rows)).loaded[0].inserted == 2


def test_first_broken_line_is_named_and_the_others_are_counted(warehouse: Warehouse, tmp_path: Path) -> None:
    rows = [row(country_code=code) for code in codes(20)] + [row(streams=-1), row(streams=-2), row(provider="x")]
    reason = refusal(load(warehouse, arrival(tmp_path, rows)))
    assert reason.startswith("line 21: streams must be an integer of at least 0, got -1 (")
    assert reason.endswith("; 2 rows break this rule")


# The ledger and the transaction


def test_ledger_tells_everything_about_a_delivery(warehouse: Warehouse, tmp_path: Path) -> None:
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
        "campaign_id": "camp_1",
        "row_campaign_id": "f1e28d31-c358-4284-9bef-00a2334625fd",
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
    }
    assert query(warehouse, "select declared_rows, server_date from deliveries where load_order = 1") == [
        (4, NOON.replace(tzinfo=None))
    ]


def test_overwritten_values_go_to_the_history_with_from_when_until_when(warehouse: Warehouse, tmp_path: Path) -> None:
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
    warehouse: Warehouse, tmp_path: Path
) -> None:
    replayed = [arrival(tmp_path, [row()], campaign=f"c{n}", loaded=n) for n in (7, 3)]
    new = [arrival(tmp_path, b"", campaign=f"c{n}") for n in (1, 2)]
    result = load(warehouse, *new, *replayed)
    assert [item.load_order for item in result.loaded] == [8, 9, 7, 3]


def test_delivery_that_is_loaded_already_is_passed_over(warehouse: Warehouse, tmp_path: Path) -> None:
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
        warehouse = Warehouse(tmp_path / way)
        with monkeypatch.context() as patch:
            if way == "direct":
                patch.setattr(Staging, "check", lambda _: pytest.fail("a first load was staged"))
            else:
                patch.setattr(first_load, "is_first", lambda *_: False)
            assert load(warehouse, *batch).refused == []
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
    warehouse: Warehouse, tmp_path: Path, second: dict[str, Any]
) -> None:
    good = arrival(tmp_path, [row(campaign_id="a")], campaign="first")
    odd = arrival(tmp_path, [row(**{"campaign_id": "b", "streams": 999, **second})], campaign="second")
    result = load(warehouse, good, odd)
    same_key = second.get("campaign_id") == "a"
    assert [len(result.loaded), len(result.refused)] == ([2, 0] if same_key else [1, 1])
    assert query(warehouse, f"select campaign_id, streams from {TABLE}") == [("a", 999 if same_key else 203)]
    assert query(warehouse, f"select count(*) from {TABLE}_history") == [(int(same_key),)]


def test_crash_before_the_commit_leaves_nothing_of_the_batch(warehouse: Warehouse, tmp_path: Path) -> None:
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


def test_failure_in_the_last_export_takes_the_first_back_with_it(warehouse: Warehouse, tmp_path: Path) -> None:
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


# Fuzz: whatever the bytes, the values that Python's json reads, or a refusal

FRAGMENTS = [
    b"NaN", b"null", b"true", b"-", b"1e5", b"1e400", b".5", b"0", b"00", b'"', b"{", b"}", b"[", b"]", b",", b":",
    b"\n", b"\r", b"\v", b"\x00", b"\\", b"\\u0000", b"\\ud83c", b"\xc3", b"\xc3\xa9", b"\xe2\x80\xa8", b"-Infinity",
    b"inf", b" ", b"\xef\xbb\xbf", b"1", b"T", b"Z", b"+02:00", b"/", b'"x":1,', b'"streams":1,', b"''", b"1.5", b"e",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> tuple[Export, bytes]:
    export = draw(st.sampled_from(EXPORTS))
    data = sample_line(export) + sample_line(export).replace(b'"country_code":"US"', b'"country_code":"NA"')
    for _ in range(draw(st.integers(1, 2))):
        # Mostly at the ends of the tokens, where damage is most likely to stay JSON; else anywhere.
        places = [i for i, byte in enumerate(data) if byte in b'",:{}'] or [0]
        at = draw(st.one_of(st.sampled_from(places), st.integers(0, len(data)))) + draw(st.integers(0, 2))
        until = at + draw(st.sampled_from([0, 0, 1, 1, 1, 2, 5, 12]))
        piece = draw(st.one_of(st.sampled_from(FRAGMENTS), st.sampled_from([b"1", b"7", b"x"]), st.binary(max_size=2)))
        data = data[:at] + piece + data[until:]
    return export, data


@pytest.mark.parametrize("kind", ["bytes", "values"])
def test_damaged_bytes_are_refused_or_read_as_python_reads_them(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, kind: str
) -> None:
    seen = {"accepted": 0, "refused": 0}

    @settings(max_examples=120, deadline=None, database=None)
    @given(mutated() if kind == "bytes" else exchanged_values())
    @example((BREAKDOWN, sample_line(BREAKDOWN)))
    @example((ENGAGEMENT, sample_line(ENGAGEMENT)[:-3]))
    def check(what: tuple[Export, bytes]) -> None:
        export, data = what
        item = arrival(tmp_path, data, export=export, dates=DateRange(date(2000, 1, 1), date(2029, 12, 31)))
        staging = Staging(connection, export, [item])
        accepted = staging.check()
        if accepted:
            seen["accepted"] += 1
            staged = connection.execute(f"select {', '.join(export.column_names)} from {staging.table} order by rowid")
            assert staged.fetchall() == as_python_reads(export, data)
        else:
            seen["refused"] += 1
            assert staging.refused[0].reason
        staging.clear()
        item.delivery.path.unlink()

    check()
    assert min(seen.values()) > 0, seen  # the two examples see to that


def as_python_reads(export: Export, data: bytes) -> list[tuple[Any, ...]]:
    """The rows that these bytes must become."""
    rows = []
    for line in data.decode("utf-8").split("\n"):
        if line.strip():
            values = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} was loaded"))
            rows.append(tuple(checked_type(column, values.get(column.name)) for column in export.columns))
    return rows


def checked_type(column: Column, value: Any) -> Any:
    """The value, of which nothing has been coerced."""
    if value is None:
        assert column.nullable, column.name
        return None
    kinds = {"integer": (int, float), "number": (int, float), "money": (int, float)}
    assert isinstance(value, kinds.get(column.type, str)), (column.name, value)
    assert not isinstance(value, bool), column.name
    if column.type == "integer":
        assert value == int(value)
    if column.allowed:
        assert value in column.allowed
    if column.minimum is not None:
        assert value >= column.minimum
    return expected(column, value)


JSON_TEXTS = st.one_of(
    st.sampled_from(
        [
            *[
                "NaN",
                "-Infinity",
                "true",
                "null",
                "{}",
                "[1]",
                '"12"',
                '"NaN"',
                '"true"',
                '"[x]"',
                '"{}"',
                "-0",
                "-0.0",
            ],
            *["1E2", "12.0", "1e-7", "1e16", "1e17", "9007199254740993", "9007199254740993.0", "0.1234565"],
            *['"2026-04-02"', '"2026-04-02T01:02:03.5+05:45"', '"0001-01-01"', '"\\u0032026-04-02"', '"NA"', '"1.0"'],
        ]
    ),
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.decimals(-(10**6), 10**6, places=8).map(str),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(json.dumps),
    st.text("0123456789-+.eE{}[]naifty", max_size=6).map(json.dumps),
)


@st.composite
def exchanged_values(draw: st.DrawFn) -> tuple[Export, bytes]:
    export = draw(st.sampled_from(EXPORTS))
    line = sample_line(export)
    fields = json.loads(line)
    texts = {name: json.dumps(value) for name, value in fields.items()}
    free = [c.name for c in export.columns if not c.allowed and not c.country and c.type != "timestamp"]
    for name in draw(st.lists(st.sampled_from(free), min_size=1, max_size=2)):
        texts[name] = draw(JSON_TEXTS)
    return export, ("{" + ",".join(f'"{name}":{text}' for name, text in texts.items()) + "}\n").encode()
