"""`soundlink sql`: one query in each form, and the shell in a real terminal."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import duckdb
import pytest

from soundlink_pipeline.commands import cli
from soundlink_pipeline_tests.support.terminal import Said, in_terminal, soundlink

ROWS = """
create table numbers as
    select * from (values
        (1, 12.340000::decimal(18,6), date '2026-01-31', 'a,"b"' || chr(10) || 'c', null),
        (2, 0.000001::decimal(18,6), date '2026-02-01', 'ü', 'x')
    ) as t (id, spend, day, name, nothing)
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A project folder with a published file."""
    (tmp_path / "data").mkdir()
    with duckdb.connect(tmp_path / "data" / "soundlink.duckdb") as connection:
        connection.execute(ROWS)
    return tmp_path


def asked(here: Path, *arguments: str) -> Said:
    return soundlink("sql", *arguments, cwd=here)


def test_a_query_is_a_table_that_shows_every_row_and_every_value(here: Path) -> None:
    said = asked(here, "select id, repeat('x', 200) as long from numbers, range(100)")
    assert (said.code, said.err) == (0, "")
    assert said.out.count("x" * 200) == 200


def test_a_query_is_csv_that_loses_nothing(here: Path) -> None:
    said = asked(here, "from numbers order by id", "--format", "csv")
    assert list(csv.reader(io.StringIO(said.out))) == [
        ["id", "spend", "day", "name", "nothing"],
        ["1", "12.340000", "2026-01-31", 'a,"b"\nc', ""],
        ["2", "0.000001", "2026-02-01", "ü", "x"],
    ]


def test_a_query_is_json_with_every_digit(here: Path) -> None:
    said = asked(here, "from numbers order by id", "--format", "json")
    assert '"spend":12.340000' in said.out
    assert json.loads(said.out) == [
        {"id": 1, "spend": 12.34, "day": "2026-01-31", "name": 'a,"b"\nc', "nothing": None},
        {"id": 2, "spend": 0.000001, "day": "2026-02-01", "name": "ü", "nothing": "x"},
    ]
    assert json.loads(asked(here, "from numbers where false", "--format", "json").out) == []


def test_json_holds_no_number_that_json_does_not_know(here: Path) -> None:
    columns = "'nan'::double as a, '-inf'::float as b, 'NaN' as c, {'d': ['inf'::double, 1.5]} as d"
    said = asked(here, f"select {columns}", "--format", "json")
    found = json.loads(said.out, parse_constant=pytest.fail)
    assert found == [{"a": None, "b": None, "c": "NaN", "d": {"d": [None, 1.5]}}]


def test_several_statements_are_answered_one_after_another(here: Path) -> None:
    said = asked(here, "set threads = 1; select 1 as a; -- no more\nselect ';' as b;", "--format", "csv")
    assert said.out.splitlines() == ["a", "1", "b", ";"]


def test_a_query_may_come_from_a_pipe(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("select count(*) as n from numbers"))
    assert asked(here, "--format", "csv").out.splitlines() == ["n", "2"]


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_pipe_that_brings_no_text_is_one_sentence(here: Path, monkeypatch: pytest.MonkeyPatch, errors: str) -> None:
    piped = io.TextIOWrapper(io.BytesIO(b"select '\xff';"), encoding="utf-8", errors=errors)
    monkeypatch.setattr(sys, "stdin", piped)
    said = asked(here)
    assert (said.code, said.out) == (1, "")
    assert said.err == "what comes from the pipe is not text in UTF-8\n"


@pytest.mark.parametrize(("style", "shown"), [("csv", "ü".encode()), ("json", "ü".encode()), ("line", b"\\xfc")])
def test_an_output_of_another_encoding_fails_no_query_and_files_are_utf_8(
    here: Path, monkeypatch: pytest.MonkeyPatch, style: str, shown: bytes
) -> None:
    output = io.BytesIO()
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding="ascii"))
    assert cli.main(["sql", "select name from numbers", "--format", style]) == 0
    assert shown in output.getvalue()


def test_commands_of_the_shell_work_in_a_pipe_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        ".format csv",
        "select 1 as a;",
        "select",
        "2 as b",
        ".format json",
        "select 3",
        "as c;",
        ".exit",
        "select 4",
    )
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))
    said = asked(here)
    assert (said.code, said.err) == (0, "")
    assert said.out == 'a\n1\nb\n2\n[\n{"c":3}\n]\n'
    monkeypatch.setattr(sys, "stdin", io.StringIO("select 1 as a\n.tables\n"))
    assert "main.numbers" in asked(here).out


def test_a_row_may_be_shown_a_line_for_each_value(here: Path) -> None:
    said = asked(here, "select id, name, nothing from numbers order by id", "--format", "line")
    assert said.out.splitlines()[-5:] == ["id       2", "name     ü", "nothing  x", "", "2 rows"]
    assert "nothing  NULL" in said.out


def test_in_a_terminal_no_column_is_left_out_however_many_there_are(here: Path) -> None:
    uuid, many = "repeat('x', 36)", ", ".join(f"{number} as column_{number}" for number in range(30))
    with in_terminal("sql", cwd=here, env={}) as terminal:
        terminal.until("soundlink> ")
        terminal.press(f"select {uuid} as one, {uuid} as two, {uuid} as three;\n")
        terminal.until("three")
        terminal.until("soundlink> ")
        terminal.press(f"select {many} from range(50);\n")
        terminal.until("column_0   0")
        terminal.until("50 rows, the first 40 of them shown")
        terminal.until("soundlink> ")
        # Within a statement a command works, and the statement goes on after it.
        terminal.press("select 7 *\n")
        terminal.until("...> ")
        terminal.press(".format csv\n")
        terminal.until("...> ")
        terminal.press("6 as answer;\n")
        terminal.until("answer\n42\n")
        terminal.until("soundlink> ")
        terminal.press("select 1 +\n")
        terminal.until("...> ")
        terminal.press(".exit\n")
        assert terminal.end() == 0
    assert "column_29  29" in terminal.text


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("selec 1", "syntax error"),
        ("from nowhere", "nowhere does not exist"),
        ("insert into numbers (id) values (3)", "read-only"),
        ("create table x as select 1", "read-only"),
    ],
)
def test_a_query_that_cannot_be_answered_is_1_with_the_reason(here: Path, query: str, said: str) -> None:
    answer = asked(here, query)
    assert (answer.code, answer.out) == (1, "")
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert asked(here, "select count(*) as n from numbers", "--format", "csv").out.splitlines() == ["n", "2"]


def test_where_nothing_is_published_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / ".env").touch()
    said = asked(tmp_path, "select 1")
    assert (said.code, said.out) == (1, "")
    (line,) = said.err.splitlines()
    assert "soundlink.duckdb is not there yet: make backfill FROM=DAY TO=DAY" in line
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_the_demo_is_asked_where_there_is_no_other_project(here: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (here / ".env").write_text("SOUNDLINK_API_KEY=\n")
    (outside / "demo").symlink_to(here)
    assert asked(outside, "select count(*) as n from numbers", "--format", "csv").out.splitlines() == ["n", "2"]


def test_the_shell_answers_until_ctrl_d_and_ctrl_c_ends_a_query_alone(here: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with in_terminal("sql", cwd=here, env={"XDG_STATE_HOME": str(state)}) as terminal:
        terminal.until("soundlink> ")
        terminal.press("select 1 as first; select sum(a.range * b.range) from range(10000000) a,\n")
        terminal.until("...> ")
        terminal.press("range(10000000) b;\n")
        terminal.until("│ first │")  # the line was read, and the second statement is next
        terminal.press("^C")
        terminal.until("Interrupted.")
        terminal.until("soundlink> ")
        terminal.press(".format csv\n")
        terminal.until("soundlink> ")
        terminal.press("selec 1;\n")
        terminal.until("syntax error")
        terminal.until("soundlink> ")
        terminal.press("select 40 + 2 as answer;\n")
        terminal.until("answer\n42\n")
        terminal.until("soundlink> ")
        terminal.press(".tables\n")
        terminal.until("main.numbers")
        terminal.until("soundlink> ")
        terminal.press("^D")
        assert terminal.end() == 0
    assert "Traceback" not in terminal.text
    history = (state / "soundlink" / "sql_history").read_text()
    assert "select 40 + 2 as answer;" in history
    assert {path.name for path in here.iterdir()} == {"data", "state"}  # none of it in the project
