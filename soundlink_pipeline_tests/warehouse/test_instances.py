"""A database file that is opened in an instance that is kept: nothing of one opening is left to the next."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from soundlink_pipeline.warehouse import instances
from soundlink_pipeline.warehouse.instances import FileInUse, in_memory, opened

SETTINGS = "select current_setting('memory_limit'), current_setting('threads'), current_setting('temp_directory')"


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """The instances that the test has made; it begins without one."""
    found: list[object] = []
    real = instances._new_instance

    def new() -> duckdb.DuckDBPyConnection:
        found.append(real())
        return found[-1]  # type: ignore[return-value]

    instances._drop_idle()
    monkeypatch.setattr(instances, "_new_instance", new)
    yield found
    assert instances._open == {}
    instances._drop_idle()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one.duckdb"
    with opened(path) as connection:
        connection.execute("create table numbers as select range as number from range(3)")
    return path


def elsewhere(path: Path, *, read_only: bool = False) -> str:
    """What another process is told that opens the file; empty if it could."""
    code = f"import duckdb; duckdb.connect({str(path)!r}, read_only={read_only})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr


def test_files_one_after_the_other_share_an_instance_and_are_closed_for_others(
    file: Path, tmp_path: Path, made: list[object]
) -> None:
    with opened(file, read_only=True) as connection:
        assert connection.execute("select current_database(), count(*) from numbers").fetchall() == [("one", 3)]
    with opened(tmp_path / "o\"t'her.duckdb") as connection:
        assert connection.execute("select current_database()").fetchall() == [("o\"t'her",)]
        assert connection.execute("select table_name from duckdb_tables()").fetchall() == []
    with in_memory() as connection:
        connection.execute("create table numbers as select 1 as number")
    with in_memory() as connection:
        assert connection.execute("select table_name from duckdb_tables()").fetchall() == []
    assert len(made) == 1
    assert elsewhere(file) == ""
    assert not file.with_name("one.duckdb.wal").exists()


@pytest.mark.parametrize("stem", ["main", "MEMORY", "system", "temp"])
def test_a_file_may_bear_a_name_that_a_database_may_not(tmp_path: Path, stem: str) -> None:
    with opened(tmp_path / f"{stem}.duckdb") as connection:
        assert connection.execute("select current_database()").fetchall() == [(f"{stem}_",)]


def test_a_new_file_can_be_opened_by_clients_of_duckdb_1_5_and_one_that_is_there_keeps_its_version(
    file: Path, tmp_path: Path
) -> None:
    version = "select tags['storage_version'] from duckdb_databases() where database_name = current_database()"
    newer = tmp_path / "newer.duckdb"
    duckdb.connect(str(newer)).close()
    with opened(file) as connection:
        assert connection.execute(version).fetchall() == [("v1.5.0+",)]
    with opened(newer) as connection:
        assert connection.execute(version).fetchall() == [("v2.0.0+",)]


def test_settings_and_temporary_tables_end_with_the_opening(file: Path, tmp_path: Path, made: list[object]) -> None:
    with opened(file, temporary=tmp_path / "tmp") as connection:
        before = connection.execute(SETTINGS).fetchall()
        assert before[0][2] == str(tmp_path / "tmp")
        connection.execute("set memory_limit = '100MB'; set threads = 1; set TimeZone = 'Asia/Tokyo'")
        connection.execute("create temp table seen as select 1 as x")
    with opened(file, temporary=tmp_path / "other") as connection:
        assert connection.execute(SETTINGS).fetchall() == [(*before[0][:2], str(tmp_path / "other"))]
        assert connection.execute("select current_setting('TimeZone')").fetchall() != [("Asia/Tokyo",)]
        with pytest.raises(duckdb.CatalogException):
            connection.execute("from seen")
    assert len(made) == 1


def test_a_file_is_opened_with_the_threads_that_its_size_is_worth(
    file: Path, monkeypatch: pytest.MonkeyPatch, made: list[object]
) -> None:
    def threads() -> int:
        with opened(file) as connection:
            ((found,),) = connection.execute("select current_setting('threads')").fetchall()
            return int(found)

    monkeypatch.setattr(instances, "_default_threads", [3])
    assert threads() == 1
    for worth, expected in ((2, 2), (9, 3)):
        monkeypatch.setattr(instances, "_BYTES_PER_THREAD", file.stat().st_size // (worth - 1))
        assert threads() == expected
    monkeypatch.setattr(instances, "_BYTES_PER_THREAD", file.stat().st_size + 1)
    assert threads() == 1, "what an opening was given ends with it"
    assert len(made) == 1


def test_an_instance_that_has_written_to_its_temporary_folder_is_not_used_for_another(
    file: Path, tmp_path: Path, made: list[object]
) -> None:
    many = "select count(*) from (select distinct md5(range::varchar) from range(400_000))"
    with opened(file, temporary=tmp_path / "tmp") as connection:
        connection.execute("set memory_limit = '16MB'; set threads = 1")
        assert connection.execute(many).fetchall() == [(400_000,)]
        assert (tmp_path / "tmp").exists(), "it had room enough"
    assert not (tmp_path / "tmp").exists()
    with opened(file, temporary=tmp_path / "other"):
        assert len(made) == 2


def test_a_file_that_was_attached_beside_it_is_closed_too(file: Path, tmp_path: Path, made: list[object]) -> None:
    with opened(tmp_path / "first.duckdb") as connection:
        connection.execute(f"attach '{file}' as beside")
    assert elsewhere(file) == ""
    with opened(file) as connection:
        names = connection.execute("select database_name from duckdb_databases() where not internal").fetchall()
    assert sorted(names) == [("memory",), ("one",)]
    assert len(made) == 2


def test_an_instance_that_saw_an_error_is_ended_and_what_was_open_is_rolled_back(
    file: Path, made: list[object]
) -> None:
    def fail() -> None:
        with opened(file) as connection:
            connection.execute("begin")
            connection.execute("delete from numbers")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert elsewhere(file) == ""
    with opened(file) as connection:
        assert connection.execute("select count(*) from numbers").fetchall() == [(3,)]
    assert len(made) == 2


def test_a_file_that_is_open_here_is_shared_and_a_refused_opening_does_not_let_others_in(
    file: Path, made: list[object]
) -> None:
    with opened(file) as one, opened(file) as two:
        one.execute("insert into numbers values (3)")
        assert two.execute("select count(*) from numbers").fetchall() == [(4,)]
        with pytest.raises(FileInUse, match="open in this very process"), opened(file, read_only=True):
            pass
        assert "Could not set lock" in elsewhere(file, read_only=True)
    with opened(file, read_only=True) as one:
        with opened(file, read_only=True), pytest.raises(FileInUse), opened(file):
            pass
        # The second reader has gone; the lock of the first must not have gone with it.
        assert "Could not set lock" in elsewhere(file)
        assert one.execute("select count(*) from numbers").fetchall() == [(4,)]
    assert elsewhere(file) == ""
    assert len(made) == 1


def test_two_files_at_once_do_not_see_each_other(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    with opened(file, read_only=True) as one, opened(folder / file.name) as other:
        other.execute("create table letters as select 'a' as letter")
        assert one.execute("select table_name from duckdb_tables()").fetchall() == [("numbers",)]
        assert other.execute("select table_name from duckdb_tables()").fetchall() == [("letters",)]


def test_a_file_that_was_made_anew_is_read_as_it_is_now(file: Path, made: list[object]) -> None:
    file.unlink()
    with opened(file) as connection:
        assert connection.execute("select table_name from duckdb_tables()").fetchall() == []
    assert len(made) == 1


def test_a_file_that_another_process_holds_costs_no_instance_and_a_damaged_one_does(
    file: Path, tmp_path: Path, made: list[object]
) -> None:
    code = f"import duckdb; c = duckdb.connect({str(file)!r}); print('open', flush=True); input()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        for _ in range(3):
            with pytest.raises(duckdb.IOException, match="Could not set lock"), opened(file):
                pass
        holder.communicate("\n")
    assert len(made) == 1
    damaged = tmp_path / "damaged.duckdb"
    damaged.write_bytes(b"")
    with pytest.raises(duckdb.IOException, match="not a valid DuckDB"), opened(damaged):
        pass
    with opened(file) as connection:
        assert connection.execute("select count(*) from numbers").fetchall() == [(3,)]
    assert len(made) == 2


def test_a_forked_child_opens_files_in_an_instance_of_its_own(file: Path) -> None:
    with opened(file, read_only=True):
        child = os.fork()
        if not child:
            try:
                with opened(file, read_only=True) as connection:
                    found = connection.execute("select count(*) from numbers").fetchall()
                os._exit(0 if found == [(3,)] else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
