"""Who may read the published file, and where it lies, is the operator's to say."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from soundlink_pipeline.publishing.file_copy import NotPublished
from soundlink_pipeline.publishing.place import Access
from soundlink_pipeline.warehouse.native_file import ClosedFile, NativeFile
from soundlink_pipeline_tests.publishing.processes import BOTH, ask, files, published

ANALYSTS = 4711


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):o}"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("640", "440"),
        ("644", "444"),
        ("440", "440"),
        ("400", "400"),
        ("666", "444"),
        ("777", "444"),
        ("004", "404"),  # the pipeline itself must read it
        ("000", "400"),
    ],
)
def test_read_bits_that_an_operator_gave_are_kept_and_write_bits_are_not(tmp_path: Path, given: str, kept: str) -> None:
    last, new, warehouse = (tmp_path / name for name in ("last", "new", "warehouse"))
    for path in (last, new, warehouse):
        path.touch()
    last.chmod(int(given, 8))
    with new.open("r+b") as file:
        assert Access.of_next(last, ClosedFile(warehouse).mode).give_to(file.fileno()) is None
    assert mode(new) == kept


def test_first_file_may_be_read_by_whom_the_warehouse_may_and_a_later_change_there_is_not_copied(
    warehouse: NativeFile, target: Path
) -> None:
    warehouse.path.chmod(0o600)
    published(warehouse)
    assert mode(target) == "400"
    warehouse.path.chmod(0o644)
    published(warehouse)
    assert mode(target) == "400"


def another_group() -> int | None:
    """A group that this process may give to a file and that its files do not have by themselves."""
    if os.geteuid() == 0:
        return ANALYSTS
    return next((group for group in os.getgroups() if group != os.getegid()), None)


@pytest.mark.skipif(another_group() is None, reason="this user is in one group only")
def test_group_that_an_operator_gave_is_kept(warehouse: NativeFile, target: Path) -> None:
    group = another_group()
    assert group is not None
    published(warehouse)
    os.chown(target, -1, group)
    target.chmod(0o640)
    for _ in range(2):
        result = published(warehouse)
        assert (target.stat().st_gid, mode(target), result.lost_group) == (group, "440", None)


@pytest.mark.parametrize(("given", "kept", "lost"), [("640", "400", ANALYSTS), ("644", "444", None)])
def test_group_that_cannot_be_given_again_opens_the_file_to_no_other_group(
    warehouse: NativeFile, target: Path, monkeypatch: pytest.MonkeyPatch, given: str, kept: str, lost: int | None
) -> None:
    published(warehouse)
    target.chmod(int(given, 8))
    seen = os.stat_result

    stat_of = Path.stat

    def of_another_group(path: Path, **options: bool) -> os.stat_result:
        found = stat_of(path, **options)
        return seen((*found[:5], ANALYSTS, *found[6:])) if path == target else found

    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", of_another_group)
        patch.setattr(os, "fchown", forbidden)
        result = published(warehouse)
    assert (mode(target), result.lost_group) == (kept, lost)


def test_nobody_else_can_read_the_copy_while_it_is_made(
    warehouse: NativeFile, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    copyfile = shutil.copyfile

    def copy(source: Path, copy: Path) -> None:
        modes.append(mode(copy))
        copyfile(source, copy)

    monkeypatch.setattr(shutil, "copyfile", copy)
    published(warehouse)
    assert modes == ["600"]


# A symbolic link


@pytest.fixture
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("share")


def test_symbolic_links_target_is_replaced_in_its_own_folder(
    warehouse: NativeFile, tmp_path: Path, target: Path, share: Path
) -> None:
    theirs = share / "for-analysts.duckdb"
    (share / "alias.duckdb").symlink_to("for-analysts.duckdb")
    theirs.touch()
    theirs.chmod(0o640)
    target.symlink_to(share / "alias.duckdb")
    for log in (f"{target}.wal", f"{theirs}.wal"):  # whatever name a client opened it by
        Path(log).write_bytes(b"of a file that is gone")
    inode = theirs.stat().st_ino
    result = published(warehouse)
    assert target.readlink() == share / "alias.duckdb"
    assert theirs.stat().st_ino != inode
    assert not theirs.is_symlink()
    assert mode(theirs) == "440"
    assert ask(target, "select run_id from publication") == [("run-7",)]
    assert ask(theirs, "select run_id from publication") == [("run-7",)]
    assert (result.path, result.differences) == (target, [])
    assert files(share) == {"for-analysts.duckdb", "alias.duckdb"}
    assert files(tmp_path) == BOTH


def test_link_to_a_file_that_is_not_there_yet_makes_it(warehouse: NativeFile, target: Path, share: Path) -> None:
    target.symlink_to(share / "new.duckdb")
    warehouse.path.chmod(0o640)
    published(warehouse)
    assert target.is_symlink()
    assert mode(share / "new.duckdb") == "440"
    assert files(share) == {"new.duckdb"}


@pytest.fixture
def other_disk() -> Iterator[Path]:
    folder = Path(f"/dev/shm/soundlink-test-{os.getpid()}")
    if not folder.parent.is_dir():
        pytest.skip("no second filesystem to write to")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_link_to_another_filesystem_is_followed(warehouse: NativeFile, target: Path, other_disk: Path) -> None:
    target.symlink_to(other_disk / "soundlink.duckdb")
    if other_disk.stat().st_dev == target.parent.stat().st_dev:
        pytest.skip("it is the same filesystem")
    for _ in range(2):
        published(warehouse)
    assert target.is_symlink()
    assert files(other_disk) == {"soundlink.duckdb"}
    assert ask(target, "select run_id from publication") == [("run-7",)]


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("soundlink.duckdb", "a symbolic link that leads in a circle"),
        ("warehouse.duckdb", "leads to the warehouse itself"),
        ("folder", "which is a folder"),
        ("what?/soundlink.duckdb", "where DuckDB can keep no file"),
        ("not-mounted/soundlink.duckdb", "there is no folder .*not-mounted .is a disk not mounted"),
    ],
)
def test_link_that_leads_nowhere_is_told_and_nothing_is_touched(
    warehouse: NativeFile, tmp_path: Path, target: Path, link: str, said: str
) -> None:
    (tmp_path / "folder").mkdir()
    target.symlink_to(link)
    before = warehouse.path.read_bytes()
    with pytest.raises(NotPublished, match=said):
        published(warehouse)
    assert target.readlink() == Path(link)
    assert warehouse.path.read_bytes() == before
