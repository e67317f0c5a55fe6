"""Whatever ends an export, at whatever step: readers have a whole state, and the next export heals the target."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from soundlink_pipeline.exporting.local_folder import LocalFolder
from soundlink_pipeline.exporting.store import ExportFailed, Store
from soundlink_pipeline_tests.exporting.shared import EXPORT, Rows, Source, by_manifest, by_pattern, exported, with_rows


class Failing:
    """A folder that fails at its `fail_at`-th request, before it or once it is done; all later ones fail too."""

    workers = 1

    def __init__(self, store: Store, fail_at: int, *, done: bool) -> None:
        self.where = store.where
        self._store, self._fail_at, self._done = store, fail_at, done
        self.requests = 0

    def read(self, name: str) -> bytes | None:
        self._request()
        return self._store.read(name)

    def sizes(self) -> Iterable[tuple[str, int]]:
        self._request()
        return self._store.sizes()

    def put(self, file: Path, name: str) -> None:
        self._request(lambda: self._store.put(file, name))

    def put_bytes(self, content: bytes, name: str) -> None:
        self._request(lambda: self._store.put_bytes(content, name))

    def copy(self, name: str, to: str) -> None:
        self._request(lambda: self._store.copy(name, to))

    def delete(self, names: Iterable[str]) -> None:
        every = list(names)
        self._request(lambda: self._store.delete(every))

    def _request(self, call: object = None) -> None:
        self.requests += 1
        fails = self.requests >= self._fail_at
        if callable(call) and (not fails or (self._done and self.requests == self._fail_at)):
            call()
        if fails:
            raise ExportFailed("the store is down")


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_store_that_fails_at_any_request_leaves_a_whole_state(small: Source, tmp_path: Path, done: bool) -> None:
    old = exported(small)
    first = tmp_path / "first"
    small.export(first)
    small.pull("2026-04-02", "2026-04-03", streams=9, models=False)
    new = exported(small)
    assert old != new
    states = set()
    for fail_at in range(1, 1000, 3 if done else 1):
        target = tmp_path / f"target-{fail_at}"
        subprocess.run(["cp", "-a", str(first), str(target)], check=True)  # links and all
        failing = Failing(LocalFolder(target), fail_at, done=done)
        if not _fails(small, target, failing):
            break
        found = by_manifest(target)
        assert found in (old, new)
        states.add(found == new)
        _check_days_are_old_or_new(target, old, new)
        small.export(target)
        assert by_manifest(target) == new
        assert by_pattern(target) == with_rows(new)
    else:
        pytest.fail("an export makes no thousand requests")
    assert fail_at > 15
    assert states == {False, True}


def _fails(source: Source, target: Path, store: Store) -> bool:
    try:
        source.export(target, opened=lambda _: store)
    except ExportFailed:
        return True
    return False


def _check_days_are_old_or_new(target: Path, old: Rows, new: Rows) -> None:
    """What a reader by pattern sees: each partition as it was, or as it is."""
    for folder in (target / f"raw/{EXPORT}").iterdir():
        assert [path.name for path in folder.iterdir()] == ["data.parquet"]
    name = f"raw.{EXPORT}"
    assert {*by_pattern(target)[name]} <= {*old[name], *new[name]}


def test_a_first_export_that_ended_early_is_taken_up(small: Source, target: Path) -> None:
    with pytest.raises(ExportFailed):
        small.export(target, opened=lambda _: Failing(LocalFolder(target), 8, done=True))
    assert not (target / "manifest.json").exists()
    assert not (target / "raw").exists()
    put = {path: path.stat().st_ino for path in (target / "_versions").rglob("*.parquet")}
    assert len(put) == 6  # after the manifest's and the list's request
    small.export(target)
    assert {path: path.stat().st_ino for path in put} == put  # put once
    assert by_manifest(target) == exported(small)


def test_an_export_that_takes_too_long_ends_and_the_next_goes_on(small: Source, target: Path) -> None:
    with pytest.raises(ExportFailed, match=r"was not reached within 0 minutes; the next export goes on"):
        small.export(target, longest=0)
    small.export(target)
    assert by_manifest(target) == exported(small)


_KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from soundlink_pipeline.exporting import export, local_folder

published, target, moment, number = sys.argv[1:]
where = local_folder.LocalFolder if hasattr(local_folder.LocalFolder, moment) else export
real, count = getattr(where, moment), 0

def counting(*arguments):
    global count
    count += 1
    found = real(*arguments)
    if count == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return found

setattr(where, moment, counting)
export.export(Path(published), target, timestamps="utc", now=datetime(2026, 4, 23, tzinfo=UTC))
"""


@pytest.mark.parametrize(
    ("moment", "number"),
    [("write_parts", 3), ("put", 2), ("put_bytes", 1), ("copy", 1), ("copy", 3), ("put_bytes", 2)],
)
def test_a_killed_export_is_healed_by_the_next(small: Source, target: Path, moment: str, number: int) -> None:
    old = exported(small)
    small.export(target)
    small.pull("2026-04-02", "2026-04-03", streams=9, models=False)
    new = exported(small)
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, str(small.published), str(target), moment, str(number)],
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert killed.returncode == -signal.SIGKILL
    assert by_manifest(target) == (old if moment in ("write_parts", "put") else new)
    _check_days_are_old_or_new(target, old, new)
    small.export(target)
    assert by_manifest(target) == new
    assert by_pattern(target) == with_rows(new)
    assert not list(target.rglob("*.part"))
    assert not (small.folder / "exporting").exists()
