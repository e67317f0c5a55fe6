"""What stops a publication is told, and the last file stays."""

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from filelock import FileLock

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.publishing import file_copy
from soundlink_pipeline.publishing.file_copy import NotPublished, publish
from soundlink_pipeline.warehouse.home import WarehouseLocked
from soundlink_pipeline.warehouse.native_file import ClosedFile, NativeFile
from soundlink_pipeline_tests.publishing.processes import CLIENT, ask, child, files, published
from soundlink_pipeline_tests.support.deliveries import NOON

TABLE = CAMPAIGN_COUNTRY_DAILY.name


@pytest.fixture
def earlier(warehouse: NativeFile, target: Path) -> Iterator[None]:
    """A publication that must survive the failure of the next, which leaves nothing behind."""
    published(warehouse, "earlier")
    yield
    assert ask(target, "select run_id from publication") == [("earlier",)]
    assert not {name for name in files(target.parent) if ".part" in name}


@pytest.mark.usefixtures("earlier")
def test_too_little_free_disk_is_told_before_anything_is_written(
    warehouse: NativeFile, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = warehouse.path.stat().st_size
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - free, free))
    monkeypatch.setattr(ClosedFile, "copy_to", pytest.fail)
    with pytest.raises(NotPublished, match=r"needs \d+ MB, and .* has \d+ MB free. Free 17 MB or more and run again"):
        published(warehouse)


@pytest.mark.usefixtures("earlier")
@pytest.mark.parametrize("room", [-50_000, 0], ids=["while copying", "while finishing"])
def test_disk_that_fills_up_on_the_way_is_told(warehouse: NativeFile, tmp_path: Path, room: int) -> None:
    code = f"""
        import resource, sys
        from datetime import UTC, datetime
        from pathlib import Path
        from soundlink_pipeline.publishing.file_copy import NotPublished, publish
        from soundlink_pipeline.warehouse.native_file import NativeFile
        warehouse = NativeFile(Path({str(tmp_path)!r}))
        with warehouse.write() as connection:
            connection.execute("checkpoint")
        limit = warehouse.path.stat().st_size + {room}
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            publish(warehouse, warehouse.path.with_name("soundlink.duckdb"), run_id="next", now=datetime.now(UTC))
        except NotPublished as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "was not published: " in done.stdout, done
    assert "Check whether the disk is full" in done.stdout
    assert "the file that was published last is unchanged" in done.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into any folder")
@pytest.mark.usefixtures("earlier")
def test_folder_that_cannot_be_written_is_told(warehouse: NativeFile, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(NotPublished, match="or the folder not writable"):
            published(warehouse)
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.usefixtures("earlier")
def test_another_publication_or_load_has_its_turn_first(warehouse: NativeFile, tmp_path: Path) -> None:
    of_the_other = tmp_path / ".soundlink.duckdb.part"
    of_the_other.touch()
    with (
        FileLock(warehouse.path.with_suffix(".lock")),
        pytest.raises(WarehouseLocked, match="being written by another run"),
    ):
        published(warehouse)
    assert of_the_other.exists(), "swept while a living process writes it"
    of_the_other.unlink()


@pytest.mark.usefixtures("earlier")
def test_warehouse_open_elsewhere_is_told(warehouse: NativeFile) -> None:
    with (
        child(CLIENT, warehouse.path, False, "select 1") as client,
        pytest.raises(WarehouseLocked, match=f"process {client.pid}"),
    ):
        published(warehouse)


@pytest.mark.usefixtures("earlier")
@pytest.mark.parametrize("killed", [False, True], ids=["still there", "left a log"])
def test_writer_that_slips_in_before_the_copy_is_noticed(
    warehouse: NativeFile, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    with ExitStack() as stack:

        def slip_in(*_: Path) -> None:
            client = stack.enter_context(child(CLIENT, warehouse.path, False, f"update {TABLE} set streams = 3"))
            if killed:
                client.kill()
                client.wait()

        monkeypatch.setattr(file_copy, "_check_room", slip_in)
        with pytest.raises(WarehouseLocked, match="just as it was to be published"):
            published(warehouse)


def test_nobody_can_write_while_the_file_is_copied_but_read(
    warehouse: NativeFile, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copyfile = shutil.copyfile

    def copy(source: Path, copy: Path) -> None:
        for read_only in (True, False):
            code = f"import duckdb; duckdb.connect({str(source)!r}, read_only={read_only})"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
            assert (done.returncode == 0) is read_only, done
            assert ("Could not set lock" in done.stderr) is not read_only
        copyfile(source, copy)

    monkeypatch.setattr(shutil, "copyfile", copy)
    published(warehouse)
    assert ask(target, f"select streams from {TABLE}") == [(9,)]


def test_target_must_lie_beside_the_warehouse(warehouse: NativeFile, tmp_path: Path) -> None:
    for path in (tmp_path / "elsewhere" / "soundlink.duckdb", warehouse.path):
        with pytest.raises(ValueError, match="must lie beside"):
            publish(warehouse, path, run_id="run-1", now=NOON)
