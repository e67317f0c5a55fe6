"""What the doctor says of the data folder, the disk and the warehouse file."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.doctor import project_state, storage
from soundlink_pipeline.doctor.finding import Finding
from soundlink_pipeline.doctor.installation import check_settings
from soundlink_pipeline.doctor.project_state import ProjectState
from soundlink_pipeline.doctor.storage import check_data_folder, check_warehouse
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.examined import NOW, Examined, empty_project, pulled_project
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS
from soundlink_pipeline_tests.support.project import Project


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Project]:
    with empty_project(tmp_path) as made:
        yield made


@pytest.fixture
def pulled(tmp_path: Path) -> Iterator[Project]:
    with pulled_project(tmp_path) as made:
        yield made


@contextmanager
def somebody() -> Iterator[None]:
    """Not root, whom no mode keeps from writing."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that everybody may look into: pytest's own are closed to others altogether."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def faults(check: Callable[[ProjectState], Iterator[Finding]], data: Path) -> list[Finding]:
    """What one check finds for somebody who is not root."""
    examined, _ = check_settings({}, {"SOUNDLINK_DATA_DIR": str(data)}, lambda: NOW)
    assert examined is not None
    with somebody():
        return [finding for finding in check(examined) if finding.level == "FAULT"]


@pytest.mark.parametrize("data", ["", "data"])
def test_folder_that_cannot_be_written_to_or_made_is_a_fault(open_to_all: Path, data: str) -> None:
    open_to_all.chmod(0o555)
    (fault,) = faults(check_data_folder, open_to_all / data)
    assert fault.what == "folder"
    assert "Permission denied" in fault.message
    assert "SOUNDLINK_DATA_DIR" in fault.fix
    assert list(open_to_all.iterdir()) == []


def test_warehouse_that_can_be_read_but_not_written_to_is_a_fault(open_to_all: Path) -> None:
    with NativeFile(open_to_all).write():
        pass
    (open_to_all / "warehouse.duckdb").chmod(0o444)
    (fault,) = faults(check_warehouse, open_to_all)
    assert "cannot be written to" in fault.message
    assert "the right to write" in fault.fix


def test_file_in_the_place_of_the_folder_is_a_fault(here: Project) -> None:
    here.data.write_text("a file")
    examined = Examined(here)
    assert examined.one("Data folder", "folder").level == "FAULT"
    assert here.data.read_text() == "a file"


@pytest.mark.parametrize(("free", "level"), [(255e6, "FAULT"), (300e6, "warn"), (600e6, "ok")])
def test_disk_that_is_full_or_nearly_is_told(
    here: Project, monkeypatch: pytest.MonkeyPatch, free: float, level: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert Examined(here).one("Data folder", "disk space").level == level


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_disk_that_is_full_to_the_last_byte_is_not_told_as_a_missing_right(
    here: Project, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    finding = Examined(here).one("Data folder", "folder")
    assert finding.level == "FAULT"
    assert os.strerror(code) in finding.message
    assert finding.fix.startswith("free space there")


def test_room_needed_grows_with_the_warehouse(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    here.data.mkdir()
    with (here.data / "warehouse.duckdb").open("wb") as file:
        file.truncate(2_000_000_000)  # a hole, of no size on the disk
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2_200_000_000))
    finding = Examined(here).one("Data folder", "disk space")
    assert finding.level == "FAULT"
    assert finding.fix.startswith("free 56 MB or more")


@contextmanager
def open_elsewhere(path: Path, *, read_only: bool) -> Iterator[int]:
    """A real other process that has a database open."""
    code = f"import duckdb,sys; c=duckdb.connect({str(path)!r}, read_only={read_only}); print(1,flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        try:
            yield process.pid
        finally:
            process.communicate("\n")


@pytest.mark.parametrize("read_only", [True, False])
def test_warehouse_open_in_another_program_is_a_fault_that_says_to_close_it_there(
    pulled: Project, monkeypatch: pytest.MonkeyPatch, read_only: bool
) -> None:
    monkeypatch.setattr(project_state, "_WAREHOUSE_WAIT_SECONDS", 0.2)
    monkeypatch.setattr(storage, "_READERS_SECONDS", 0.2)
    with open_elsewhere(pulled.data / "warehouse.duckdb", read_only=read_only) as process:
        examined = Examined(pulled)
        assert examined.bad("Warehouse") == [("FAULT", "warehouse.duckdb")]
    fault = next(finding for finding in examined.group("Warehouse") if finding.level == "FAULT")
    assert ("is open for reading" if read_only else f"is open in process {process}") in fault.message
    assert "close it there (a notebook, a DuckDB shell, a BI tool?" in fault.message + fault.fix
    assert Examined(pulled).bad("Warehouse") == []


def test_run_that_is_writing_is_no_fault(pulled: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_state, "_WAREHOUSE_WAIT_SECONDS", 0.2)
    path = pulled.data / "warehouse.duckdb"
    with FileLock(path.with_suffix(".lock")), open_elsewhere(path, read_only=False):
        examined = Examined(pulled)
        assert examined.bad("Warehouse", "Data") == []
    assert "a pipeline run is writing" in examined.one("Warehouse", "warehouse.duckdb").message


def test_somebody_who_reads_for_a_moment_only_is_no_fault(pulled: Project) -> None:
    with open_elsewhere(pulled.data / "warehouse.duckdb", read_only=True) as process:
        threading.Timer(0.5, os.kill, (process, signal.SIGKILL)).start()
        assert Examined(pulled).bad("Warehouse") == []


@pytest.mark.parametrize("left", [0.0, 0.5])
def test_damaged_or_cut_warehouse_is_a_fault_that_says_what_to_do(pulled: Project, left: float) -> None:
    path = pulled.data / "warehouse.duckdb"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * left)] or b"not a database at all" * 1000)
    examined = Examined(pulled)
    assert examined.bad("Warehouse") == [("FAULT", "warehouse.duckdb")]
    assert "is damaged" in examined.one("Warehouse", "warehouse.duckdb").message
    assert "run make rebuild (in the UI" in examined.one("Warehouse", "warehouse.duckdb").message
    assert examined.one("Data", "warehouse").level == "warn"
    landed = examined.one("Data", "landed files")
    assert (landed.level, landed.message) == ("warn", "whether all are loaded is not known: 6 deliveries")


def test_contract_that_the_next_run_changes_is_told_and_one_that_it_cannot_is_a_fault(here: Project) -> None:
    export, other = CAMPAIGN_EXPORTS
    fewer = replace(export, columns=export.columns[:-1])
    with NativeFile(here.data, exports=[fewer, other, *EXPORTS[2:]]).write():
        pass
    examined = Examined(here)
    assert examined.bad("Warehouse") == []
    finding = examined.one("Warehouse", "contract")
    assert finding.message.endswith(f"campaign_country_daily_history: {export.columns[-1].name} is added")
    (here.data / "warehouse.duckdb").unlink()
    with NativeFile(
        here.data, exports=[replace(export, primary_key=export.primary_key[1:]), other, *EXPORTS[2:]]
    ).write():
        pass
    assert Examined(here).bad("Warehouse") == [("FAULT", "warehouse.duckdb")]
    fault = Examined(here).one("Warehouse", "warehouse.duckdb")
    assert "the primary key of campaign_country_daily was account_id" in fault.message
    assert "run make rebuild (in the UI: the job rebuild_from_landing)" in fault.message
