"""What an operator can mend fails a run with one clear sentence: what is wrong, and what to do. Nothing is lost.

Whole runs; how the client and the warehouse find out is tested with them. `make doctor` finds the same beforehand.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.simulator import KeyInfo
from soundlink_pipeline.simulator.access import CAMPAIGNS_READ, METRICS_READ
from soundlink_pipeline.warehouse import native_file
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.project import KEY, Project, each_day, failures_of, project, pull, truth, utc

DAYS = ("2026-02-20", "2026-02-21")
NOW = utc("2026-03-02T06:00")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path) as made:
        yield made


def sentence_of(here: Project) -> str:
    """What the run's only failure says, in one line."""
    result = here.refresh(*DAYS)
    assert not result.success
    (said,) = failures_of(result)
    assert KEY not in said
    assert "Traceback" not in said
    return said


def assert_the_tables_are_true_once_mended(here: Project, since: str = DAYS[0]) -> None:
    assert here.refresh(*DAYS).success
    for export in EXPORTS:
        assert here.table(export) == truth(here.sim.world, export, each_day(since, DAYS[1], NOW))


def test_a_key_that_will_not_do_is_told_apart(here: Project) -> None:
    for key, said in (
        (KeyInfo(revoked=True), "this API key was revoked; create a new one and put it into SOUNDLINK_API_KEY"),
        (KeyInfo(expired=True), "this API key has expired; create a new one and put it into SOUNDLINK_API_KEY"),
        (KeyInfo(frozenset({METRICS_READ})), "the API key lacks the scope"),
        (KeyInfo(frozenset({CAMPAIGNS_READ})), "the API key lacks the scope"),
    ):
        here.sim.keys[KEY] = key
        assert said in sentence_of(here)
    here.sim.keys[KEY] = KeyInfo()
    assert_the_tables_are_true_once_mended(here)


def test_a_host_that_cannot_be_reached_is_named(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SoundlinkClient.__init__.__kwdefaults__ or {}, "backoff", 0.01)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        here.settings["SOUNDLINK_BASE_URL"] = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert "127.0.0.1 could not be reached: " in sentence_of(here)
    here.settings["SOUNDLINK_BASE_URL"] = here.sim.base_url
    assert_the_tables_are_true_once_mended(here)


@contextmanager
def _held_open(path: Path) -> Iterator[int]:
    program = "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "open\n"
            yield holder.pid
        finally:
            holder.kill()


def test_a_warehouse_that_somebody_has_open_is_told_with_the_process(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As long as a run waits, the constructor's default; here nobody closes it.
    monkeypatch.setattr(native_file.NativeFile.__init__, "__kwdefaults__", {"exports": EXPORTS, "wait_seconds": 0.2})
    with here.soundlink.warehouse.write():
        pass
    with _held_open(here.soundlink.warehouse.path) as pid:
        said = sentence_of(here)
    assert f"is open in process {pid}" in said or f"(PID {pid})" in said
    assert "close it there" in said
    assert_the_tables_are_true_once_mended(here)


def test_a_corrupt_warehouse_is_told_with_the_way_back(here: Project) -> None:
    assert pull(here.soundlink, "2026-02-18", "2026-02-19").failed == []
    path = here.soundlink.warehouse.path
    path.write_bytes(b"\0" * 10_000)
    said = sentence_of(here)
    assert f"{path} is damaged" in said
    assert "run make rebuild (in the UI: the job rebuild_from_landing)" in said
    path.unlink()
    assert here.execute("rebuild_from_landing").success
    assert here.table(EXPORTS[0]) == truth(here.sim.world, EXPORTS[0], each_day("2026-02-18", "2026-02-19", NOW))
    assert_the_tables_are_true_once_mended(here, since="2026-02-18")


def test_a_data_folder_that_cannot_be_written_to_is_told_with_its_setting(here: Project, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    there = here.settings["SOUNDLINK_DATA_DIR"]
    here.settings["SOUNDLINK_DATA_DIR"] = str(tmp_path / "file" / "data")
    said = sentence_of(here)
    assert said.startswith(f"the data folder cannot be written to ({tmp_path / 'file' / 'data'}: ")
    assert "Check SOUNDLINK_DATA_DIR" in said
    assert here.sim.stats.records == []
    here.settings["SOUNDLINK_DATA_DIR"] = there
    assert_the_tables_are_true_once_mended(here)


@contextmanager
def _small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or not shutil.which("mount") or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


_DISK_MEGABYTES = 48


# Full right away, while deliveries land, and when the transaction is committed.
@pytest.mark.parametrize("kilobytes_free", [60, 400, 2000])
def test_a_full_disk_is_told_and_costs_nothing_that_had_arrived(
    here: Project, tmp_path: Path, kilobytes_free: int
) -> None:
    folder = tmp_path / "disk"
    with _small_disk(folder, _DISK_MEGABYTES):
        here.settings["SOUNDLINK_DATA_DIR"] = str(folder / "data")
        filler = folder / "filler"
        filler.write_bytes(b"x" * (_DISK_MEGABYTES * 1024 - kilobytes_free) * 1024)
        said = sentence_of(here)
        assert "disk is full" in said or "is the disk full?" in said or "was not published" in said
        assert "Free " in said
        filler.unlink()
        here.sim.stats.reset()
        assert here.refresh(*DAYS).success
        for export in EXPORTS:
            assert here.table(export) == truth(here.sim.world, export, each_day(*DAYS, NOW))
        assert not list((folder / "data").rglob("*.part"))


@pytest.mark.parametrize(
    "steps", [None, [dg.AssetKey(export.name) for export in EXPORTS]], ids=["all", "exports alone"]
)
def test_contract_that_the_warehouse_cannot_be_brought_to_fails_before_any_request(
    here: Project, steps: list[dg.AssetKey] | None
) -> None:
    other = replace(EXPORTS[0], primary_key=EXPORTS[0].primary_key[1:])
    with NativeFile(here.data, exports=[other, *EXPORTS[1:]]).write():
        pass
    result = here.refresh(*DAYS, asset_selection=steps)
    (said,) = failures_of(result)
    assert "the primary key of campaign_country_daily was account_id" in said
    assert "run make rebuild (in the UI: the job rebuild_from_landing)" in said
    assert here.sim.stats.records == []
