"""A file becomes a table whose types every row has, or is told of with line and reason."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pytest

from soundlink_pipeline.own_data.loading import OwnFile
from soundlink_pipeline_tests.own_data.conftest import Own


def types(own: Own, table: str) -> dict[str, str]:
    return {name: kind for name, kind, *_ in own.rows(f"describe own.{table}")}


def test_a_column_has_the_type_of_all_its_values(own: Own) -> None:
    own.put(
        "plan.csv",
        "code,whole,money,day,at,good,country,late,long,Name with space\n"
        "007,-5,1.50,2026-02-28,2026-02-28 10:00,true,NA,1,123456789012345678901,\n"
        '010,0,-0.125,2024-02-29,2026-02-28T10:00:01.5,FALSE,,x,1,"a, ""b""\nc"\n',
    )
    assert own.load() == [OwnFile("plan.csv", "plan", 2, None)]
    assert list(types(own, "plan").values()) == [
        *("VARCHAR", "BIGINT", "DECIMAL(18,3)", "DATE", "TIMESTAMP", "BOOLEAN"),
        *("VARCHAR", "VARCHAR", "VARCHAR", "VARCHAR"),
    ]
    first, second = own.rows("from own.plan")
    assert first[:4] == ("007", -5, Decimal("1.500"), date(2026, 2, 28))
    assert first[6:] == ("NA", "1", "123456789012345678901", None)
    assert second[4:7] == (datetime.fromisoformat("2026-02-28T10:00:01.500"), False, None)
    assert second[9] == 'a, "b"\nc'
    assert own.rows("select problem, rows, bytes > 0 from own_files") == [(None, 2, True)]


def test_empty_values_say_nothing_of_a_type(own: Own) -> None:
    values = "1,1.5,2026-02-28,2026-02-28 10:00,true,"
    own.put("a.csv", f"whole,money,day,at,good,none\n{',' * 5}\n{values}\n{',' * 5}\n")
    own.put("late.csv", f"whole,money,day,at,good,none\n{(',' * 5 + chr(10)) * 2000}{values}\n")
    own.load()
    for table in ("a", "late"):
        assert list(types(own, table).values()) == [
            *("BIGINT", "DECIMAL(18,1)", "DATE", "TIMESTAMP", "BOOLEAN", "VARCHAR")
        ], table


def test_a_type_that_changes_in_the_last_of_many_rows_is_seen(own: Own) -> None:
    own.put("many.csv", "x\n" + "1\n" * 50_000 + "1.25\n")
    own.load()
    assert types(own, "many") == {"x": "DECIMAL(18,2)"}
    assert own.rows("select sum(x) from own.many") == [(Decimal("50001.25"),)]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_and_a_byte_order_mark_are_read(own: Own, separator: str) -> None:
    own.put("a.csv", "\ufeff" + "x|y\r\n1|#2\r\n".replace("|", separator))
    own.load()
    assert types(own, "a") == {"x": "BIGINT", "y": "VARCHAR"}
    assert own.rows("from own.a") == [(1, "#2")]


def test_parquet_keeps_its_types_and_a_header_alone_is_a_table_without_rows(own: Own) -> None:
    own.folder.mkdir()
    own.connection.execute(
        f"copy (select 7::tinyint as x, [1] as list) to '{own.folder / 'p.PARQUET'}' (format parquet)"
    )
    own.put("none.csv", "x,y")
    own.load()
    assert types(own, "p") == {"x": "TINYINT", "list": "INTEGER[]"}
    assert own.rows("select count(*) from own.none") == [(0,)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"x,y\n1,2\n1,2,3\n", "line 3: it has 3 columns, and the first line names 2"),
        (b"x,y\n1,2\n1", "line 3: it has 1 columns, and the first line names 2"),
        (b'x,y\n"1,2\n', "line 2: a quote is not closed, or text follows it"),
        (b"x\nM\xfcller\n", "line 2: it is not UTF-8: save it as CSV UTF-8"),
        (b"\xff\xfex\x00\n\x00", "line 1: it is not UTF-8: save it as CSV UTF-8"),
        (b"x,X\n1,2\n", "line 1: two columns have the name X"),
        (b"x,,y\n1,2,3\n", "line 1: a column has no name"),
        (b"\n\n", "line 1: a column has no name"),
        (b"x,rowid\n1,2\n", "line 1: no column can have the name rowid, which is DuckDB's own"),
        (b"x,y\r\n1,2\n3,4\r\n", "its lines end in different ways (CRLF and LF), or it is no CSV"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_of_with_line_and_reason(own: Own, content: bytes, reason: str) -> None:
    own.put("bad.csv", content)
    assert own.load() == [OwnFile("bad.csv", None, None, reason)]
    assert own.rows("select count(*) from duckdb_tables() where schema_name = 'own'") == [(0,)]


def test_damaged_parquet_is_told_of(own: Own) -> None:
    own.put("bad.parquet", b"PAR1" + bytes(100) + b"PAR1")
    assert own.problem().startswith("it cannot be read as Parquet: ")


def test_columns_that_are_asked_about_in_turns_each_have_their_own_type(own: Own) -> None:
    values = ["1", "1.5", "x"] * 9
    own.put("a.csv", ",".join(f"c{number}" for number in range(27)) + "\n" + ",".join(values) + "\n")
    own.load()
    assert list(types(own, "a").values()) == ["BIGINT", "DECIMAL(18,1)", "VARCHAR"] * 9


def test_what_would_be_shown_as_another_day_stays_a_text(own: Own) -> None:
    own.put("a.csv", "year,day,hour\n0000-01-01,2026-02-28 24:00,2026-02-28T23:59:59\n")
    own.load()
    assert own.rows("from own.a") == [("0000-01-01", "2026-02-28 24:00", datetime.fromisoformat("2026-02-28T23:59:59"))]


@pytest.mark.parametrize("name", ["a", "distributor_statements"])
def test_a_name_that_duckdb_has_taken_is_told_of_in_parquet_too(own: Own, name: str) -> None:
    own.folder.mkdir()
    own.connection.execute(f"copy (select 1 as rowid) to '{own.folder}/{name}.parquet' (format parquet)")
    assert own.problem() == "no column can have the name rowid, which is DuckDB's own"


def test_a_problem_names_no_folder_of_the_machine(own: Own) -> None:
    own.put("a.parquet", b"PAR1" * 10)
    assert "a.parquet" in own.problem()
    assert str(own.data) not in own.problem()
    (own.data / "tmp").rmdir()
    (own.data / "tmp").write_text("a file in the place of a folder")
    assert own.problem() == "File exists: tmp"
