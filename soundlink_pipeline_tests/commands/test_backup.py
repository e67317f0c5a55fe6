"""`soundlink backup`: what a restored copy holds, also of a project at work; and that a half copy is none."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from soundlink_pipeline.commands import backup
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.publishing.file_copy import read_published
from soundlink_pipeline.simulator import KeyInfo, SimClock, running_simulator
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.commands.conftest import Folder, make_folder
from soundlink_pipeline_tests.support.project import KEY, TABLES, small_world, utc


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """A project that has pulled three days; each test works on a copy of it."""
    world, clock = small_world(4), SimClock(utc("2026-03-02T06:00"))
    with running_simulator(world, clock, keys={KEY: KeyInfo()}, per_minute=None, per_hour=None) as sim:
        here = make_folder(tmp_path_factory.mktemp("pulled") / "project", sim)
        assert here.soundlink("pull", "--from", "2026-02-10", "--to", "2026-02-12").code == 0
        yield here


@pytest.fixture
def here(pulled: Folder, tmp_path: Path) -> Folder:
    shutil.copytree(pulled.path, tmp_path / "project")
    return Folder(tmp_path / "project", pulled.sim)


def everything(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    with NativeFile(folder / "data").read() as connection:
        return {name: connection.execute(f"select * from {name} order by all").fetchall() for name in TABLES}


def landed(folder: Path) -> dict[Path, bytes]:
    root = folder / "data" / "landing"
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_copy_put_elsewhere_and_rebuilt_is_the_project(here: Folder, tmp_path: Path) -> None:
    plan = here.path / "data" / "own" / "plan.csv"
    plan.parent.mkdir()
    plan.write_text("budget\n100\n")
    os.utime(plan, (0, 0))  # just written, it would wait for another publication
    copied = here.soundlink("backup", str(tmp_path / "copy"))
    assert (copied.code, copied.err) == (0, "")
    assert "Every copy was read back." in copied.out
    elsewhere = tmp_path / "another machine"
    shutil.copytree(tmp_path / "copy", elsewhere)
    assert landed(elsewhere) == landed(here.path)
    assert not (elsewhere / "data" / "warehouse.duckdb").exists()
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o700  # it has the key
    restored = Folder(elsewhere, here.sim)
    requests = here.sim.stats.count()
    rebuilt = restored.soundlink("rebuild")
    assert (rebuilt.code, rebuilt.err) == (0, "")
    assert here.sim.stats.count() == requests
    assert everything(elsewhere) == everything(here.path)
    with read_published(elsewhere / "data" / "soundlink.duckdb") as connection:
        assert connection.execute("from own.plan").fetchall() == [(100,)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(elsewhere)
        with dg.DagsterInstance.from_config(str(elsewhere)) as instance:
            assert [run.job_name for run in instance.get_runs()] == ["rebuild_from_landing", "daily_refresh"]


def test_what_changes_while_it_is_copied_is_whole_in_the_copy(
    here: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = Landing(here.path / "data")
    delivery = landing.deliveries()[0]
    plain = delivery.path.with_name(delivery.path.name.removesuffix(".zst").replace("_loaded-00000001", ""))
    with delivery.open() as content:
        plain.write_bytes(content.read())
    delivery.path.unlink()  # as before it was compressed
    (database,) = (here.path / ".dagster").rglob("runs.db")
    copy = shutil.copy2

    def at_work(source: Path, target: Path) -> object:
        if source == plain:
            landing.archive(landing.not_archived()[0], 1)  # a run compresses it just now
        return copy(source, target)

    monkeypatch.setattr(shutil, "copy2", at_work)
    with closing(sqlite3.connect(database)) as writer:
        writer.execute("pragma journal_mode = wal")
        writer.execute("create table mine (n)")
        writer.execute("insert into mine values (1)")
        writer.commit()  # in the log, not in the file
        writer.execute("insert into mine values (2)")
        copied = here.soundlink("backup", str(tmp_path / "copy"))
        assert (copied.code, copied.err) == (0, "")
        writer.rollback()
    assert not plain.exists()
    assert landed(tmp_path / "copy") == landed(here.path)
    (copied_database,) = (tmp_path / "copy" / ".dagster").rglob("runs.db")
    with closing(sqlite3.connect(copied_database)) as found:
        assert found.execute("select n from mine").fetchall() == [(1,)]


def test_a_link_among_own_files_is_not_copied_as_what_it_leads_to(here: Folder, tmp_path: Path) -> None:
    own = here.path / "data" / "own"
    own.mkdir()
    (own / "plan.csv").write_text("budget\n100\n")
    (own / "link.csv").symlink_to(here.path / ".env")
    assert here.soundlink("backup", str(tmp_path / "copy")).code == 0
    assert [path.name for path in (tmp_path / "copy" / "data" / "own").iterdir()] == ["plan.csv"]


def test_what_the_landing_no_longer_holds_comes_with_the_warehouse(here: Folder, tmp_path: Path) -> None:
    Landing(here.path / "data").deliveries()[0].path.unlink()
    copied = here.soundlink("backup", str(tmp_path / "copy"))
    assert copied.code == 0
    assert "its rows of 1 delivery are no longer in the landing" in copied.out
    assert everything(tmp_path / "copy") == everything(here.path)


def test_a_damaged_landed_file_is_named_and_everything_else_is_copied(here: Folder, tmp_path: Path) -> None:
    damaged = Landing(here.path / "data").deliveries()[0].path
    damaged.write_bytes(damaged.read_bytes()[:-5])
    copied = here.soundlink("backup", str(tmp_path / "copy"))
    assert copied.code == 1
    assert copied.err.startswith("1 landed file damaged before the copy:\n")
    assert str(damaged) in copied.err
    assert landed(tmp_path / "copy") == landed(here.path)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_backup_that_is_not_whole_is_none(
    here: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    def stopped(*_: object) -> None:
        raise stop

    monkeypatch.setattr(backup, "_copy_warehouse", stopped)
    before = sorted(path.name for path in tmp_path.iterdir())
    copied = here.soundlink("backup", str(tmp_path / "copy"))
    assert copied.code == (130 if isinstance(stop, KeyboardInterrupt) else 1)
    assert "nothing was backed up" in copied.err
    assert len(copied.err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_backup_goes_only_into_a_folder_of_its_own(here: Folder, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    full = here.soundlink("backup", str(tmp_path / "mine"))
    assert (full.code, full.out) == (1, "")
    assert full.err.strip().endswith("is not an empty folder: name a new one for each backup")
    within = here.soundlink("backup", "data/backup")
    assert within.code == 1
    assert "which is copied: name a folder elsewhere" in within.err
    assert (tmp_path / "mine" / "file").read_text() == "mine"


def test_settings_that_are_not_in_the_file_are_named_without_their_values(here: Folder, tmp_path: Path) -> None:
    copied = here.soundlink("backup", str(tmp_path / "copy"), SOUNDLINK_ALERT_URL="https://hooks.example/hidden-part")
    assert "SOUNDLINK_ALERT_URL" in copied.out
    assert "hidden-part" not in copied.out


@pytest.mark.parametrize("where", ["accounts.toml", "settings/accounts.toml", "../accounts.toml"])
def test_the_accounts_file_goes_along_and_what_lies_outside_is_named(here: Folder, tmp_path: Path, where: str) -> None:
    (here.path / "settings").mkdir()
    (here.path / where).write_text("[accounts.default]\nkey_env = 'LABEL_A_KEY'\n")
    settings = (here.path / ".env").read_text().replace("SOUNDLINK_API_KEY=", "UNUSED=")
    (here.path / ".env").write_text(f"{settings}SOUNDLINK_ACCOUNTS={'' if where == 'accounts.toml' else where}\n")
    copied = here.soundlink("backup", str(tmp_path / "copy"), SOUNDLINK_API_KEY="")
    assert copied.code == 0, copied.err
    assert "Not copied, since they are not in .env: LABEL_A_KEY" in copied.out
    assert ("which SOUNDLINK_ACCOUNTS names" in copied.out) == where.startswith("..")
    if not where.startswith(".."):
        assert (tmp_path / "copy" / where).read_text() == (here.path / where).read_text()
