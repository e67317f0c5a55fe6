"""What lies in the folder: what becomes a table, what stays of one, and what is left alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from soundlink_pipeline.own_data import folder, loading
from soundlink_pipeline.own_data.folder import FoundFile, Version
from soundlink_pipeline.own_data.loading import OwnFile
from soundlink_pipeline.own_data.reading import read_into
from soundlink_pipeline_tests.own_data.conftest import Own


def test_without_a_folder_there_is_nothing_to_say(own: Own) -> None:
    assert own.load() == []


def test_a_file_that_cannot_be_read_leaves_what_was_read_before_and_costs_no_other(own: Own) -> None:
    own.put("a.csv", "x\n1\n")
    own.load()
    own.put("a.csv", 'x\n"2\n')
    own.put("b.csv", "x\n3\n")
    assert own.load() == [
        OwnFile("a.csv", "a", 1, "line 2: a quote is not closed, or text follows it"),
        OwnFile("b.csv", "b", 1, None),
    ]
    assert own.rows("from own.a union all from own.b order by all") == [(1,), (3,)]
    own.put("a.csv", "x\n2\n")
    assert own.load()[0] == OwnFile("a.csv", "a", 1, None)
    assert own.rows("from own.a") == [(2,)]


def test_a_file_that_is_no_more_takes_its_table_with_it(own: Own) -> None:
    own.put("a.csv", "x\n1\n").unlink()
    own.put("a.parquet", b"no").unlink()
    own.put("b.csv", "x\n1\n")
    own.load()
    (own.folder / "b.csv").unlink()
    assert own.load() == []
    assert own.rows("select table_name from duckdb_tables() where schema_name = 'own'") == []


def test_a_file_that_goes_while_the_folder_is_looked_through_hides_no_other(
    own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.put("a.csv", "x\n1\n")
    own.put("b.csv", "x\n1\n")

    def counted(names: Iterable[str]) -> Counter[str]:
        found = Counter(names)
        (own.folder / "a.csv").unlink()
        return found

    monkeypatch.setattr(folder, "Counter", counted)
    assert own.load() == [OwnFile("b.csv", "b", 1, None)]


def test_a_file_that_did_not_change_is_not_read_again(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    own.put("a.csv", "x\n1\n")
    own.load()
    monkeypatch.setattr(loading, "read_into", lambda *_: pytest.fail("read again"))
    assert own.load() == [OwnFile("a.csv", "a", 1, None)]


@pytest.mark.parametrize("name", ["2026.csv", "a b.csv", "a-b.csv", "ü.csv", "a.b.csv", "a'.csv", f"{'x' * 64}.csv"])
def test_a_name_that_can_be_no_tables_is_told_of(own: Own, name: str) -> None:
    own.put(name, "x\n1\n")
    assert own.problem().startswith("its name cannot be a table's")


def test_a_name_that_is_no_utf_8_and_a_time_after_all_calendars_are_told_of(own: Own) -> None:
    own.folder.mkdir()
    Path(os.fsdecode(os.fsencode(own.folder) + b"/\xff.csv")).write_text("x\n1\n")
    own.put("a.csv", "x\n1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "_version", lambda status: Version(status.st_ino, status.st_size, 10**21, 0))
        assert [(file.file, file.problem is None) for file in own.load()] == [("\\udcff.csv", False), ("a.csv", False)]


def test_a_name_that_would_steer_a_terminal_is_spelt_out(own: Own) -> None:
    own.put("a\x1b[2J\n\u202e.csv", "x\n1\n")
    assert [file.file for file in own.load()] == [r"a\x1b[2J\n\u202e.csv"]
    assert own.rows("select file from own_files") == [(r"a\x1b[2J\n\u202e.csv",)]


def test_a_word_of_sql_can_be_a_name(own: Own) -> None:
    own.put("Select.csv", "from,a b\n1,2\n")
    assert own.load() == [OwnFile("Select.csv", "select", 1, None)]
    assert own.rows('select "from", "a b" from own."select"') == [(1, 2)]


@pytest.mark.parametrize("other", ["a.parquet", "A.csv"])
def test_two_files_of_one_name_are_both_left_out_and_the_table_stays(own: Own, other: str) -> None:
    own.put("a.csv", "x\n1\n")
    own.load()
    own.put(other, "x\n2\n")
    own.put("a.csv", "x\n3\n")
    problems = {file.file: file.problem or "" for file in own.load()}
    assert "rename one" in problems["a.csv"]
    assert problems[other]
    assert own.rows("from own.a") == [(1,)]


@pytest.mark.parametrize("other", ["a.xlsx", "a.csv~", "a.csv.bak", "a"])
def test_a_file_beside_that_can_be_no_table_stands_in_no_ones_way(own: Own, other: str) -> None:
    own.put(other, "x\n2\n")
    own.put("a.csv", "x\n1\n")
    (own.folder / "A.csv").mkdir()
    assert {file.file: file.problem is None for file in own.load()} == {other: False, "a.csv": True, "A.csv": False}
    assert own.rows("from own.a") == [(1,)]


def test_a_file_that_was_taken_away_and_put_back_while_it_was_read_is_not_taken(
    own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("key\nsk_1\n")
    path = own.put("a.csv", "x\n1\n")

    def read(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
        aside = path.rename(tmp_path / "aside.csv")
        path.symlink_to(secret)
        read_into(connection, file)
        aside.rename(path)

    monkeypatch.setattr(loading, "read_into", read)
    assert "written to while it was read" in own.problem()
    assert own.rows("select table_name from duckdb_tables() where schema_name = 'own'") == []


def test_a_folder_that_cannot_be_read_takes_no_table_with_it(own: Own) -> None:
    own.put("a.csv", "x\n1\n")
    own.load()
    own.folder.rename(own.data / "elsewhere")
    own.folder.symlink_to(own.data / "not-mounted")
    assert [file.problem for file in own.load()] == ["the folder cannot be read: No such file or directory"]
    assert own.rows("from own.a") == [(1,)]


def test_what_is_no_regular_file_of_a_known_kind_is_told_of_and_not_followed(own: Own, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("key\nx\n")
    own.put("sheet.xlsx", b"PK")
    own.put(".half.csv", "x\n1\n")
    own.put("README.md", "what these files are")
    (own.folder / "link.csv").symlink_to(secret)
    (own.folder / "folder.csv").mkdir()
    os.mkfifo(own.folder / "pipe.csv")
    assert {file.file: (file.problem or "")[:30] for file in own.load()} == {
        "sheet.xlsx": "only .csv and .parquet are rea",
        "link.csv": "it is a symbolic link, which m",
        "folder.csv": "it is a folder, which is not l",
        "pipe.csv": "it is no regular file",
    }


def test_a_file_that_has_just_been_written_to_waits_for_the_next_publication(own: Own) -> None:
    path = own.put("a.csv", "x\n1\n")
    own.now = datetime.fromtimestamp(path.stat().st_mtime, UTC) + timedelta(seconds=4)
    assert "only just been written to" in own.problem()
    own.now += timedelta(seconds=2)
    assert own.load() == [OwnFile("a.csv", "a", 1, None)]


def test_a_file_that_changes_while_it_is_read_is_not_taken(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    def and_written_to(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        read_into(connection, path)
        with path.open("a") as file:
            file.write("2\n")

    own.put("a.csv", "x\n1\n")
    monkeypatch.setattr(loading, "read_into", and_written_to)
    assert "while it was read" in own.problem()
    monkeypatch.undo()
    own.load()
    assert own.rows("from own.a") == [(1,), (2,)]


def test_what_is_too_large_is_not_read(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    own.put("a.csv", "x\n1\n")
    monkeypatch.setattr(folder, "LARGEST_BYTES", 2)
    assert "are the most: attach it instead" in own.problem()


def test_a_table_that_somebody_else_made_is_not_touched(own: Own) -> None:
    own.connection.execute("create schema own; create table own.a as select 'mine' as x")
    own.put("a.csv", "x\n1\n")
    assert "already that was not made of a file" in own.problem()
    assert own.rows("from own.a") == [("mine",)]


def test_a_folder_that_cannot_be_listed_drops_nothing(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    own.put("a.csv", "x\n1\n")
    own.load()

    def refuse(*_: object) -> list[FoundFile]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(loading, "found_files", refuse)
    assert own.problem() == "the folder cannot be read: Permission denied"
    assert own.rows("from own.a") == [(1,)]


def test_nothing_is_left_in_the_temporary_folder(own: Own) -> None:
    own.put("a.csv", "x\n1\n")
    own.put("bad.csv", 'x\n"2\n')
    (own.data / "tmp").mkdir()
    (own.data / "tmp" / "own-0123abcd.duckdb.wal").write_text("of a process that was killed")
    own.load()
    assert [path for path in (own.data / "tmp").rglob("*") if path.is_file()] == []
    assert own.rows("select count(*) from duckdb_databases() where database_name like 'own%'") == [(0,)]


def test_a_path_with_signs_of_a_pattern_is_read(own: Own, tmp_path: Path) -> None:
    own.data = tmp_path / "a[b]*"
    own.data.mkdir()
    own.put("a.csv", "x\n1\n")
    assert own.load() == [OwnFile("a.csv", "a", 1, None)]
