"""Whatever others have put into a target, an export touches nothing outside it, and says so in one sentence."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.exporting.local_folder import LocalFolder
from soundlink_pipeline.exporting.object_store import open_bucket
from soundlink_pipeline.exporting.store import ExportFailed
from soundlink_pipeline_tests.exporting.shared import Source, by_manifest, exported, manifest, refusal
from soundlink_pipeline_tests.support.bucket_server import ACCESS_KEY, SECRET_KEY, running_bucket

Change = Callable[[dict[str, Any], str], None]
VERSION = "_versions/raw/accounts/0.parquet"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of somebody else, beside the target."""
    (tmp_path / "victim").mkdir()
    file = tmp_path / "victim/data.parquet"
    file.write_text("precious")
    return file


def first_file(found: dict[str, Any]) -> dict[str, Any]:
    file: dict[str, Any] = found["tables"][0]["files"][0]
    return file


def _delete(*names: Any) -> Change:
    return lambda found, victim: found.update(to_delete=[victim if name is None else name for name in names])


def _name(field: str, name: str | None = None) -> Change:
    return lambda found, victim: first_file(found).update({field: name or victim})


@pytest.mark.parametrize(
    "change",
    [
        _delete(None),
        _delete("../victim/data.parquet"),
        _delete("raw/../../victim/data.parquet"),
        _delete("raw/accounts/data.parquet/../../../../victim/data.parquet"),
        _delete("raw//data.parquet"),
        _delete("raw/./data.parquet"),
        _delete("raw\\..\\data.parquet"),
        _delete("raw/a\0b/data.parquet"),
        _delete("raw/a\ud800/data.parquet"),
        _delete("manifest.json"),
        _delete("data.parquet"),
        _delete("raw/notes.txt"),
        _delete(""),
        _delete(VERSION),
        _delete("../target"),
        _name("copy"),
        _name("copy", "../victim/data.parquet"),
        _name("copy", VERSION),
        _name("file"),
        _name("file", "_versions/../../victim/data.parquet"),
        _name("file", "raw/accounts/data.parquet"),
        lambda found, victim: found.update(to_copy=[victim]),
        lambda found, _: found.update(to_copy=["../victim/data.parquet"]),
    ],
)
def test_a_manifest_cannot_have_an_export_touch_another_file(
    small: Source, target: Path, victim: Path, change: Change
) -> None:
    small.export(target)
    found = manifest(target)
    change(found, str(victim))
    (target / "manifest.json").write_text(json.dumps(found))
    before = sorted(target.rglob("*"))
    small.pull("2026-04-02", streams=9, models=False)
    said = refusal(small, target)
    assert f"{target}/manifest.json" in said
    assert "name another place, or empty this one" in said
    assert victim.read_text() == "precious"
    assert sorted(target.rglob("*")) == before


def test_a_manifest_in_a_bucket_is_looked_at_as_well(small: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_bucket() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        small.export("s3://exports/team")
        found = json.loads(server.objects["team/manifest.json"])
        for name in ("../other/data.parquet", "/data.parquet", 1):
            server.objects["team/manifest.json"] = json.dumps(found | {"to_delete": [name]}).encode()
            with pytest.raises(ExportFailed, match="name another place, or empty this one"):
                small.export(
                    "s3://exports/team",
                    opened=lambda target: open_bucket(
                        target, {"max_retries": 0, "retry_timeout": timedelta(seconds=5)}
                    ),
                )


@pytest.mark.parametrize("name", ["../victim/data.parquet", "/etc/x", "raw/../../x", "", "raw//x", "a\0b", "link/x"])
def test_a_folder_writes_links_and_deletes_nothing_outside_it(target: Path, victim: Path, name: str) -> None:
    target.mkdir()
    (target / "whole").write_text("whole")
    (target / "link").symlink_to(victim.parent)
    store = LocalFolder(target)
    file = target.parent / "new"
    file.write_text("new")
    calls: tuple[Callable[[], object], ...] = (
        lambda: store.put(file, name),
        lambda: store.put_bytes(b"new", name),
        lambda: store.copy("whole", name),
        lambda: store.copy(name, "other"),
        lambda: store.delete([name]),
        lambda: store.read(name),
    )
    for call in calls:
        with pytest.raises(ExportFailed, match=r"leads out of|is a symbolic link"):
            call()
    assert [path.name for path in victim.parent.iterdir()] == ["data.parquet"]
    assert victim.read_text() == "precious"


def _columns(found: dict[str, Any], _: str) -> None:
    found["tables"][0]["columns"] = []


def _no_files(found: dict[str, Any], _: str) -> None:
    found["tables"][0]["files"] = None


@pytest.mark.parametrize(
    "change",
    [
        _columns,
        _no_files,
        _delete(1),
        _name("file", ""),
        lambda found, _: found.update(to_copy=5),
        lambda found, _: found.update(organizations=5),
        lambda found, _: found.update(organizations=[5]),
        lambda found, _: found.update(tables=5),
        lambda found, _: found.update(tables=[5]),
        lambda found, _: found.update(format=0),
        lambda found, _: found.update(format="2"),
        lambda found, _: found.update(format=True),
        lambda found, _: found.update(more=1),
        lambda found, _: first_file(found).update(copy=7),
        lambda found, _: first_file(found).update(rows="x"),
        lambda found, _: first_file(found).update(bytes=-1),
        lambda found, _: first_file(found).update(sums=[]),
        lambda found, _: first_file(found).update(sha256="\ud800"),
        lambda found, _: found.update(run_id=None),
    ],
)
def test_a_manifest_that_is_damaged_is_told_with_a_way_out(small: Source, target: Path, change: Change) -> None:
    small.export(target)
    found = manifest(target)
    change(found, "")
    (target / "manifest.json").write_text(json.dumps(found))
    assert "name another place, or empty this one" in refusal(small, target)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b"", b"1" * 5000, b'{"a":' * 100_000])
def test_a_manifest_that_is_no_json_is_told_with_a_way_out(small: Source, target: Path, content: bytes) -> None:
    target.mkdir()
    (target / "manifest.json").write_bytes(content)
    assert "is damaged" in refusal(small, target)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another disk where the machine has one, for what cannot be renamed."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder) / "target"


def test_links_in_the_place_of_what_is_written_are_not_followed(small: Source, target: Path, victim: Path) -> None:
    small.export(target)
    old = {file["file"] for table in manifest(target)["tables"] for file in table["files"]}
    small.pull("2026-04-02", streams=9, models=False)
    probe = target.parent / "probe"
    small.export(probe)
    new = [file["file"] for table in manifest(probe)["tables"] for file in table["files"] if file["file"] not in old]
    places = ["manifest.json.part", *(f"{name}.part" for name in new), "raw/accounts/data.parquet.part"]
    for name in places:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).symlink_to(victim)
    small.export(target)
    assert victim.read_text() == "precious"
    assert by_manifest(target) == exported(small)
    assert not (target / "manifest.json").is_symlink()


@pytest.mark.parametrize("leads_to", ["file", "folder"])
def test_nor_where_the_target_is_on_another_disk(
    small: Source, target: Path, elsewhere: Path, victim: Path, leads_to: str
) -> None:
    small.export(target)
    names = [file["file"] for table in manifest(target)["tables"] for file in table["files"]]
    for name in names:
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / f"{name}.part").symlink_to(victim if leads_to == "file" else victim.parent)
    if leads_to == "folder":
        assert "is a symbolic link" in refusal(small, elsewhere)
    else:
        small.export(elsewhere)
        assert by_manifest(elsewhere) == exported(small)
    assert [path.name for path in victim.parent.iterdir()] == ["data.parquet"]
    assert victim.read_text() == "precious"


def test_a_link_in_the_place_of_a_file_is_replaced(small: Source, target: Path, victim: Path) -> None:
    small.export(target)
    files = [
        target / file[name] for t in manifest(target)["tables"] for file in t["files"] for name in ("file", "copy")
    ]
    for file in files:
        victim.write_bytes(b"x" * file.stat().st_size)
        file.unlink()
        file.symlink_to(victim)
    before = victim.read_bytes()
    small.export(target)
    assert by_manifest(target) == exported(small)
    assert not any(file.is_symlink() for file in files)
    assert victim.read_bytes() == before


@pytest.mark.parametrize("folder", ["raw", "_versions", "raw/accounts", "marts"])
def test_a_folder_below_the_target_that_leads_elsewhere_is_refused(small: Source, target: Path, folder: str) -> None:
    small.export(target)
    outside = target.parent / "outside"
    if (target / folder).exists():
        (target / folder).rename(outside)
    else:
        outside.mkdir()
    (target / folder).symlink_to(outside)
    before = sorted(outside.rglob("*"))
    small.pull("2026-04-02", streams=9, models=False)
    assert f"{target / folder} is a symbolic link" in refusal(small, target)
    assert sorted(outside.rglob("*")) == before


def test_the_target_itself_may_be_a_link(small: Source, target: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target.symlink_to(tmp_path / "disk")
    small.export(target)
    assert by_manifest(tmp_path / "disk") == exported(small)
