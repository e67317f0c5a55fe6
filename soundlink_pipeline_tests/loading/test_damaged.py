"""Loading of damaged lines: whatever the bytes, the values that Python's json reads, or a refusal."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export, ExportColumn
from soundlink_pipeline.loading.validation import Staging
from soundlink_pipeline_tests.loading.shared import BREAKDOWN, ENGAGEMENT, expected
from soundlink_pipeline_tests.support.deliveries import arrival, sample_line

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
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, pytestconfig: pytest.Config, kind: str
) -> None:
    seen = {"accepted": 0, "refused": 0}

    @settings(max_examples=pytestconfig.getoption("--inputs") // 25, deadline=None, database=None)
    @given(mutated() if kind == "bytes" else exchanged_values())
    @example((BREAKDOWN, sample_line(BREAKDOWN)))
    @example((ENGAGEMENT, sample_line(ENGAGEMENT)[:-3]))
    @example((BREAKDOWN, sample_line(BREAKDOWN).replace(b'"spend_media":42.50', b'"spend_media":0.1234565')))
    def check(what: tuple[Export, bytes]) -> None:
        export, data = what
        item = arrival(tmp_path, data, export=export, dates=DateRange(date(2000, 1, 1), date(2029, 12, 31)))
        staging = Staging(connection, export, [item])
        accepted = staging.validate()
        if accepted:
            seen["accepted"] += 1
            staged = connection.execute(f"select {', '.join(export.column_names)} from {staging.table} order by rowid")
            assert staged.fetchall() == as_python_reads(export, data)
        else:
            seen["refused"] += 1
            assert staging.rejected[0].reason
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


def checked_type(column: ExportColumn, value: Any) -> Any:
    """The value, of which nothing has been coerced."""
    if value is None:
        assert column.nullable, column.name
        return None
    kinds = dict.fromkeys(("BIGINT", "DOUBLE", "DECIMAL(18,6)"), (int, float))
    assert isinstance(value, kinds.get(column.type, str)), (column.name, value)
    assert not isinstance(value, bool), column.name
    if column.type == "BIGINT":
        assert isinstance(value, int | float)
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
    free = [c.name for c in export.columns if not c.allowed and not c.country and c.type != "TIMESTAMP"]
    for name in draw(st.lists(st.sampled_from(free), min_size=1, max_size=2)):
        texts[name] = draw(JSON_TEXTS)
    return export, ("{" + ",".join(f'"{name}":{text}' for name, text in texts.items()) + "}\n").encode()
