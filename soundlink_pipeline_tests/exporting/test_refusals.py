"""What an export refuses: one sentence, and the target is as it was."""

import fcntl
import json
from pathlib import Path

import duckdb
import pytest

from soundlink_pipeline.exporting.store import ExportFailed
from soundlink_pipeline_tests.exporting.shared import Source, by_manifest, exported, manifest

_DAMAGED = "is damaged, or is not a manifest that an export has written whole"


def refusal(source: Source, target: Path | str) -> str:
    with pytest.raises(ExportFailed) as caught:
        source.export(target)
    said = str(caught.value)
    assert "\n" not in said
    return said


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(small: Source, target: Path) -> None:
    target.mkdir()
    (target / "budget.xlsx").write_text("mine")
    assert "holds budget.xlsx, which no export has put there" in refusal(small, target)
    assert [path.name for path in target.iterdir()] == ["budget.xlsx"]


def test_the_data_folder_itself_and_its_scratch_are_refused(small: Source) -> None:
    before = sorted(small.folder.rglob("*"))
    assert "which no export has put there" in refusal(small, small.folder)
    assert "what is temporary" in refusal(small, small.folder / "exporting" / "here")
    assert [path for path in sorted(small.folder.rglob("*")) if path in before] == before


def test_a_file_in_the_place_of_the_folder_is_refused(small: Source, target: Path) -> None:
    target.write_text("mine")
    assert refusal(small, target) == f"{target} is a file: name a folder to export to"
    assert "target/below" in refusal(small, target / "below")
    assert target.read_text() == "mine"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", _DAMAGED),
        (b"[]", _DAMAGED),
        (b'{"format": 1, "pipeline": "other"}', _DAMAGED),
        (
            b'{"format": 1, "pipeline": "soundlink-pipeline"}',
            _DAMAGED,
        ),
        (b'{"format": 2, "pipeline": "soundlink-pipeline"}', "was written by a newer version of the pipeline"),
    ],
)
def test_a_manifest_that_cannot_be_followed_is_refused(small: Source, target: Path, content: bytes, why: str) -> None:
    target.mkdir()
    (target / "manifest.json").write_bytes(content)
    assert why in refusal(small, target)
    assert (target / "manifest.json").read_bytes() == content


def test_the_export_of_another_organization_is_refused(small: Source, target: Path) -> None:
    small.export(target)
    found = manifest(target)
    assert len(found["organizations"]) == 1
    content = json.dumps(found | {"organizations": ["org-of-others"]})
    (target / "manifest.json").write_text(content)
    assert "holds the export of another organization (org-of-others)" in refusal(small, target)
    assert (target / "manifest.json").read_text() == content


@pytest.mark.parametrize(
    "change",
    [
        "drop view accounts",
        "create or replace view accounts as select ['x'] as organization_ids where false",
        "create or replace view accounts as select [null]::varchar[] as organization_ids",
    ],
)
def test_a_file_that_does_not_say_whose_it_is_replaces_no_export(small: Source, target: Path, change: str) -> None:
    small.export(target)
    before = by_manifest(target)
    (theirs,) = manifest(target)["organizations"]
    with duckdb.connect(str(writable(small))) as connection:
        connection.execute(change)
    said = refusal(small, target)
    assert f"holds the export of {theirs}, and the published file names no organization" in said
    assert by_manifest(target) == before
    small.export(target.parent / "elsewhere")


def writable(source: Source) -> Path:
    source.published.chmod(0o600)
    return source.published


def test_an_export_without_its_manifest_is_told_from_what_others_have_put(small: Source, target: Path) -> None:
    small.export(target)
    (target / "manifest.json").unlink()
    before = sorted(target.rglob("*"))
    assert "put the manifest back, empty the place, or name another one" in refusal(small, target)
    assert sorted(target.rglob("*")) == before


def test_a_type_that_readers_do_not_share_is_named_before_anything_is_put(small: Source, target: Path) -> None:
    small.change("create schema marts", "create table marts.odd as select interval 1 day as lasts")
    assert "marts.odd.lasts is of type INTERVAL" in refusal(small, target)
    assert not (target / "manifest.json").exists()


def test_a_number_that_fits_no_column_of_parquet_is_one_sentence(small: Source, target: Path) -> None:
    small.export(target)
    before = by_manifest(target)
    small.change(
        "create schema marts", "create table marts.wide as select 1e30::hugeint as n, 1e20::decimal(38,6) as m"
    )
    assert "cannot be exported: Conversion Error" in refusal(small, target)
    assert by_manifest(target) == before
    small.change("drop table marts.wide")
    small.export(target)
    assert by_manifest(target) == exported(small)


def test_nothing_published_and_a_damaged_file_are_told(small: Source, target: Path) -> None:
    small.published.unlink()
    assert "nothing is published yet" in refusal(small, target)
    small.published.write_bytes(b"no database")
    assert "cannot be exported" in refusal(small, target)


def test_two_exports_at_once_are_one_too_many(small: Source, target: Path) -> None:
    with (small.folder / "export.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another export of this data folder is at work" in refusal(small, target)
    small.export(target)


def test_an_export_from_elsewhere_meanwhile_is_noticed(small: Source, target: Path) -> None:
    from soundlink_pipeline.exporting.local_folder import LocalFolder  # noqa: PLC0415

    class Overtaken(LocalFolder):
        def put(self, file: Path, name: str) -> None:
            super().put(file, name)
            (target / "manifest.json").write_text("of another export")

    with pytest.raises(ExportFailed, match="let one pipeline alone export there"):
        small.export(target, opened=lambda _: Overtaken(target))
    assert (target / "manifest.json").read_text() == "of another export"
