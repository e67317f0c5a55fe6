"""Models with odd names, types and values: exported as they are, or refused by a sentence that names them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from soundlink_pipeline.exporting.store import ExportFailed
from soundlink_pipeline_tests.exporting.shared import (
    Source,
    by_manifest,
    by_pattern,
    exported,
    manifest,
    refusal,
    with_rows,
)


@pytest.mark.parametrize("name", ["..", ".", "...", ".hidden", "..a", "%2E", "a.b", "~", "data.parquet", "_versions"])
def test_a_model_of_any_name_stays_below_its_folder(small: Source, target: Path, name: str) -> None:
    small.change("create schema marts", f"create table marts.\"{name}\" as select date '2026-01-01' as report_date")
    small.export(target)
    assert {path.name for path in target.iterdir()} == {"raw", "marts", "_versions", "manifest.json"}
    assert not [path for path in target.rglob("*") if path.name.startswith(".")]
    assert len(list((target / "marts").iterdir())) == 1
    assert by_manifest(target) == exported(small)
    assert by_pattern(target) == with_rows(exported(small))
    assert small.export(target).files == 0
    small.change(f'drop table marts."{name}"')
    assert small.export(target).gone == 1
    small.change("create table marts.other as select 1 as x")
    small.export(target)
    small.change("drop table marts.other")
    small.export(target)
    small.export(target)
    assert not (target / "marts").exists()


def test_names_that_are_too_long_for_a_disk_are_shortened_and_kept_apart(small: Source, target: Path) -> None:
    names = ["x" * 300, "x" * 301, "é" * 120, "a" + "é" * 120, "y" * 200]
    small.change("create schema marts", *(f'create table marts."{name}" as select 1 as n' for name in names))
    small.export(target)
    assert by_manifest(target) == exported(small)
    folders = sorted(path.name for path in (target / "marts").iterdir())
    assert len(folders) == 5
    assert all(len(name) <= 200 for name in folders)
    assert "y" * 200 in folders
    assert {table["folder"] for table in manifest(target)["tables"]} >= {f"marts/{name}" for name in folders}
    assert small.export(target).files == 0


def test_what_an_earlier_version_has_put_into_a_hidden_folder_goes(small: Source, target: Path) -> None:
    small.change("create schema marts", "create table marts.hidden as select 1 as n")
    small.export(target)
    for part in ("marts", "_versions/marts"):
        (target / part / "hidden").rename(target / part / ".hidden")
    content = (target / "manifest.json").read_text().replace("marts/hidden/", "marts/.hidden/")
    (target / "manifest.json").write_text(content)
    (target / ".snapshot").mkdir()
    (target / "raw/.DS_Store").write_text("of the system")
    small.change("create table marts.other as select 1 as n")
    small.export(target)
    small.change("drop table marts.other")
    small.export(target)
    assert by_manifest(target) == exported(small)
    assert not [path for path in target.rglob(".hidden*") if path.is_file()]
    assert (target / "raw/.DS_Store").exists()


@pytest.mark.parametrize(
    ("select", "told"),
    [
        ("date '10000-01-01' as report_date", "marts.odd has rows of the report_date 10000-01-01"),
        ("date '0044-03-15 (BC)' as report_date", "marts.odd has rows of the report_date 0044-03-15 (BC)"),
        ("date 'infinity' as report_date", "marts.odd has rows of the report_date infinity"),
        ("1e30::hugeint as n", "marts.odd cannot be exported: Conversion Error"),
        ("1e20::decimal(38, 6) as n", "marts.odd cannot be exported: Conversion Error"),
        ("{'a': 1} as n", "marts.odd.n is of type STRUCT"),
    ],
)
def test_values_that_readers_cannot_take_are_told_with_their_table(
    small: Source, target: Path, select: str, told: str
) -> None:
    small.export(target)
    before = by_manifest(target)
    small.change("create schema marts", f"create table marts.odd as select {select}")
    said = refusal(small, target)
    assert told in said
    assert "in the model" in said
    assert by_manifest(target) == before


def test_columns_of_a_view_that_are_null_are_texts(small: Source, target: Path) -> None:
    small.change("create schema marts", "create view marts.odd as select null as x, [null] as l, [] as e, 1 as y")
    small.export(target)
    (table,) = (table for table in manifest(target)["tables"] if table["name"] == "marts.odd")
    assert (table["columns"]["x"], table["columns"]["y"]) == ("VARCHAR", "INTEGER")
    assert by_manifest(target)["marts.odd"] == [(None, "[NULL]", "[]", "1")]


@pytest.mark.parametrize("stale", ["drop table marts.base", "alter table marts.base rename n to other"])
def test_a_view_that_no_longer_fits_what_it_reads_is_named(small: Source, target: Path, stale: str) -> None:
    small.change(
        "create schema marts",
        "create table marts.base as select 1 as n",
        "create view marts.odd as select n from marts.base",
        stale,
    )
    said = refusal(small, target)
    assert "the view marts.odd does not fit what it reads" in said
    assert "build the models again" in said


def test_a_sum_that_fits_no_type_is_left_out_and_the_rows_are_exported(small: Source, target: Path) -> None:
    small.change(
        "create schema marts", f"create table marts.odd as select {'9' * 38}::decimal(38, 0) as n, 2 as m from range(3)"
    )
    small.export(target)
    assert by_manifest(target) == exported(small)
    (file,) = next(table for table in manifest(target)["tables"] if table["name"] == "marts.odd")["files"]
    assert file["sums"] == {"n": None, "m": "6"}
    assert small.export(target).files == 0


def test_what_nobody_has_thought_of_is_one_sentence_too(small: Source, target: Path) -> None:
    from soundlink_pipeline.exporting.local_folder import LocalFolder  # noqa: PLC0415

    class Odd(LocalFolder):
        def put_bytes(self, content: bytes, name: str) -> None:
            raise LookupError(f"a secret: {json.loads(content)['run_id']} {name}")

    with pytest.raises(ExportFailed, match=r"does not know \(LookupError at test_odd_models.py:\d+\)") as caught:
        small.export(target, opened=lambda _: Odd(target))
    assert "secret" not in str(caught.value)
