"""Loading: what is refused, and why."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.loading.batch import load_batch
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.loading.shared import BREAKDOWN, ENGAGEMENT, LINE, TABLE, codes, countries
from soundlink_pipeline_tests.support.deliveries import arrival, load, query, refusal, row, sample_line

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
        (
            BREAKDOWN,
            "country_code",
            text,
            "must be two characters, a capital letter and a capital letter or digit",
            text,
        )
        for text in ('"us"', '"USA"', '"1U"', '"11"', '"u1"', '"U_"', '"U"', '""', '"ÄÖ"', '"US\\n"', "12")
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
    reasons = {refused.delivery.subject_id: refused.reason for refused in result.rejected}
    assert len(reasons) == len(cases), result.loaded
    for number, (_, _, text, rule, got) in enumerate(cases):
        reason = reasons[f"broken {number}"]
        shown = json.dumps(json.loads(got), ensure_ascii=False) if got == text else got
        assert reason.startswith(f"line 3: {name} {rule}"), reason
        assert f", got {shown} (provider " in reason, reason
        assert name == "country_code" or 'country_code "US"' in reason, reason
    # The other delivery of the batch is loaded, of these nothing.
    assert connection.execute(f"select _delivery_id from {table}").fetchall() == [(other.delivery.delivery_id,)]
    assert connection.execute("select subject_id from deliveries").fetchall() == [("other",)]


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
    reasons = {refused.delivery.subject_id: refused.reason for refused in result.rejected}
    assert {item.delivery.subject_id for item in result.loaded} == {"DE", "NA"}
    for number, (line, said) in enumerate(NOT_JSON):
        assert said in reasons[f"broken {number}"], line[:200]
    assert connection.execute(f"select country_code from {TABLE} order by 1").fetchall() == [("DE",), ("NA",)]
    assert connection.execute("select subject_id from deliveries order by 1").fetchall() == [("DE",), ("NA",)]


def test_line_of_more_than_four_mebibytes_does_no_harm(warehouse: NativeFile, tmp_path: Path) -> None:
    long = arrival(tmp_path, [row(country_code=code) for code in codes(600)] + [row(campaign_name="x" * 40_000_000)])
    result = load(warehouse, long, arrival(tmp_path, [row(country_code="NA")], campaign="other"))
    assert refusal(result) == "line 601: longer than 4194304 bytes"
    assert countries(warehouse) == ["NA"]


@pytest.mark.parametrize(("declared", "said"), [(3, "fewer than X-Row-Count's 3"), (1, "more than X-Row-Count's 1")])
def test_other_number_of_rows_than_declared_is_refused(
    warehouse: NativeFile, tmp_path: Path, declared: int, said: str
) -> None:
    result = load(warehouse, arrival(tmp_path, [row(), row(country_code="DE")], declared=declared))
    assert refusal(result) == f"the file holds 2 rows, {said}"
    assert countries(warehouse) == []


def test_empty_delivery_that_should_have_rows_is_refused(warehouse: NativeFile, tmp_path: Path) -> None:
    blank = b"\n".join([sample_line(ENGAGEMENT), b"", b""])  # blank lines do not make up for missing rows
    assert "holds 1 row, fewer than X-Row-Count's 2" in refusal(
        load(warehouse, arrival(tmp_path, blank, export=ENGAGEMENT, declared=2))
    )
    assert refusal(load(warehouse, arrival(tmp_path, b"", declared=5))) == (
        "the file holds 0 rows, fewer than X-Row-Count's 5"
    )
    assert query(warehouse, "select * from deliveries") == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"report_date": "2026-03-31"}, "report_date must be within the range requested, 2026-04-01 to 2026-04-30 ("),
        ({"report_date": "2026-05-01"}, "report_date must be within the range requested, 2026-04-01 to 2026-04-30 ("),
        ({"campaign_id": "zzz"}, 'all rows must be of one campaign_id, here are "f1e28d31-'),
    ],
)
def test_row_that_does_not_belong_into_the_delivery_is_refused(
    warehouse: NativeFile, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    rows = [row(), row(country_code="DE", **changes)]
    other = arrival(tmp_path, [row(country_code="NA")], campaign="other")
    reason = refusal(load(warehouse, other, arrival(tmp_path, rows)))
    assert reason.startswith(f"line 2: {said}")
    assert 'country_code "DE"' in reason
    assert next(iter(changes.values())) in reason
    assert countries(warehouse) == ["NA"]


def test_row_under_two_accounts_is_refused_and_a_move_between_two_rows_is_not(
    warehouse: NativeFile, tmp_path: Path
) -> None:
    moved = [row(), row(country_code="DE", account_id="zzz"), row(country_code="NA")]
    both = [*moved, row(country_code="DE")]
    reason = refusal(load(warehouse, arrival(tmp_path, both)))
    assert reason.startswith("line 4: a row stands under two values of account_id")
    assert countries(warehouse) == []
    load(warehouse, arrival(tmp_path, moved))
    assert countries(warehouse) == ["DE", "NA", "US"]
    assert query(warehouse, f"select count(distinct account_id) from {TABLE}") == [(2,)]


def test_edges_of_the_range_are_within_it(warehouse: NativeFile, tmp_path: Path) -> None:
    rows = [row(report_date="2026-04-01"), row(report_date="2026-04-30")]
    assert load(warehouse, arrival(tmp_path, rows)).loaded[0].inserted == 2


def test_first_broken_line_is_named_and_the_others_are_counted(warehouse: NativeFile, tmp_path: Path) -> None:
    rows = [row(country_code=code) for code in codes(20)] + [row(streams=-1), row(streams=-2), row(provider="x")]
    reason = refusal(load(warehouse, arrival(tmp_path, rows)))
    assert reason.startswith("line 21: streams must be an integer of at least 0, got -1 (")
    assert reason.endswith("; 2 rows break this rule")
