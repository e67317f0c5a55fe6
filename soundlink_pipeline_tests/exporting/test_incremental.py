"""An export writes what has changed since the target's last one, and nothing else, however that came about."""

from pathlib import Path

import pytest

from soundlink_pipeline_tests.exporting.shared import (
    EXPORT,
    Source,
    by_manifest,
    by_pattern,
    exported,
    fixed_files,
    manifest,
    with_rows,
)
from soundlink_pipeline_tests.support.report_database import build


def _changed(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]], below: str) -> list[str]:
    return sorted(name.split("/")[2] for name in after if name.startswith(below) and after[name] != before.get(name))


def test_an_export_of_the_same_file_writes_nothing(small: Source, target: Path) -> None:
    small.export(target)
    content, files = (target / "manifest.json").read_bytes(), fixed_files(target)
    again = small.export(target)
    assert (again.files, again.rows, again.days, again.gone) == (0, 0, [], 0)
    assert ((target / "manifest.json").read_bytes(), fixed_files(target)) == (content, files)


def test_only_the_days_that_a_pull_has_changed_are_written(source: Source, target: Path) -> None:
    source.export(target)
    before = fixed_files(target)
    source.pull("2026-04-19", "2026-04-20", streams=90)
    done = source.export(target)
    after = fixed_files(target)
    changed = ["report_date=2026-04-19", "report_date=2026-04-20"]
    assert _changed(before, after, f"raw/{EXPORT}/") == changed
    assert _changed(before, after, f"raw/{EXPORT}_history/") == changed
    assert _changed(before, after, "raw/campaign_engagement_daily/") == []
    assert set(changed) <= set(_changed(before, after, "marts/campaign_daily/"))
    assert _changed(before, after, "raw/countries/") == []
    assert by_manifest(target) == exported(source)
    assert by_pattern(target) == with_rows(by_manifest(target))
    assert done.all_rows == manifest(target)["rows"]


def test_what_days_inherit_of_others_is_written_too(source: Source, target: Path) -> None:
    """A campaign's new name is in every day of a model, and costs over seven days change for a week."""
    source.export(target)
    before = fixed_files(target)
    source.change("update marts.campaign_daily set campaign_name = 'new' where report_date < date '2026-04-04'")
    source.export(target)
    assert _changed(before, fixed_files(target), "marts/campaign_daily/") == [
        f"report_date=2026-04-0{day}" for day in (1, 2, 3)
    ]


def test_a_month_without_the_target_is_made_up_for_at_once(small: Source, target: Path) -> None:
    small.export(target)
    for day in ("2026-04-03", "2026-04-04", "2026-04-05"):
        small.pull(day, streams=7, models=False)  # published, and not exported
    assert small.export(target).days == ["2026-04-03", "2026-04-04", "2026-04-05"]
    assert by_manifest(target) == exported(small)


def test_a_rebuild_that_gives_the_same_rows_changes_no_day(small: Source, target: Path) -> None:
    small.export(target)
    before = fixed_files(target)
    # The rows in another order, and the ledger's places renumbered: what a rebuild may differ in.
    small.change(
        f"create temp table kept as from {EXPORT} order by report_date desc",
        f"delete from {EXPORT}",
        f"insert into {EXPORT} from kept order by report_date desc",
        "update deliveries set load_order = load_order + 100",
    )
    assert small.export(target).days == []
    assert _changed(before, fixed_files(target), f"raw/{EXPORT}/") == []


def test_a_day_and_a_table_that_are_gone_go_from_the_target(small: Source, target: Path) -> None:
    small.change("create schema if not exists marts; create table marts.extra as select 1 as x")
    small.export(target)
    small.change(f"delete from {EXPORT} where report_date = date '2026-04-01'", "drop table marts.extra")
    assert small.export(target).gone == 2
    assert {path.name for path in (target / f"raw/{EXPORT}").iterdir()} == {"report_date=2026-04-02"}
    assert not (target / "marts").exists()
    assert by_manifest(target) == exported(small)


def test_a_table_of_another_shape_is_written_anew_whole(small: Source, target: Path) -> None:
    small.export(target)
    before = fixed_files(target)
    small.change(f"alter table {EXPORT} add column saves bigint")
    small.export(target)
    assert len(_changed(before, fixed_files(target), f"raw/{EXPORT}/")) == 2
    assert by_manifest(target) == exported(small)
    small.export(target, "naive")
    assert by_manifest(target) == exported(small, "naive")


def test_what_somebody_has_deleted_or_cut_in_the_target_is_mended(small: Source, target: Path) -> None:
    small.export(target)
    expected = by_manifest(target)
    (table,) = (table for table in manifest(target)["tables"] if table["name"] == f"raw.{EXPORT}")
    one, other = table["files"]
    (target / one["file"]).unlink()
    (target / one["copy"]).unlink()
    (target / other["copy"]).write_bytes(b"PAR1")
    small.export(target)
    assert by_manifest(target) == expected
    assert by_pattern(target) == with_rows(expected)


def test_a_reader_of_the_manifest_before_finds_its_files_until_the_next_export(small: Source, target: Path) -> None:
    small.export(target)
    named = [{file["file"] for table in manifest(target)["tables"] for file in table["files"]}]
    for streams in (6, 7):
        small.pull("2026-04-02", streams=streams, models=False)
        small.export(target)
        named.append({file["file"] for table in manifest(target)["tables"] for file in table["files"]})
    there = {str(path.relative_to(target)) for path in (target / "_versions").rglob("*.parquet")}
    assert there == named[1] | named[2]
    assert not named[0] <= there


def test_a_copy_takes_no_room_where_the_disk_has_links(small: Source, target: Path) -> None:
    small.export(target)
    for table in manifest(target)["tables"]:
        for file in table["files"]:
            assert (target / file["file"]).samefile(target / file["copy"])


def test_models_that_are_built_anew_with_the_same_rows_are_not_written(source: Source, target: Path) -> None:
    source.export(target)
    before = fixed_files(target)
    build(source.warehouse)
    source.publish()
    assert source.export(target).days == []
    assert _changed(before, fixed_files(target), "marts/campaign_daily/") == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("'a'::enum('a', 'b') as k", "'x'::enum('x', 'y') as k"),
        ("['a'::enum('a', 'b')] as k", "['z'::enum('z', 'b')] as k"),
        ("[['a'::enum('a', 'b')]] as k", "[['z'::enum('z', 'b')]] as k"),
        ("make_timestamp(1767225600) as k", "epoch_ms(1767225600000)::timestamp_s as k"),
        ("epoch_ms(1767225600)::timestamp_ms as k", "to_timestamp(1767225600)::timestamp_s as k"),
        ("timestamp_ns '1970-01-01 00:00:01' as k", "to_timestamp(1000000000)::timestamp_s as k"),
        ("'b'::enum('b') as k", "null::enum('b') as k"),
        ("1::decimal(9,6) as m, 2::decimal(9,6) as n", "2::decimal(9,6) as m, 1::decimal(9,6) as n"),
        ("'00000000-0000-0000-0000-000000000001'::uuid as k", "'00000000-0000-0000-0000-000000000002'::uuid as k"),
    ],
)
def test_a_change_is_found_whatever_the_type_keeps_it_as(small: Source, target: Path, old: str, new: str) -> None:
    small.change("create schema marts", f"create table marts.odd as select {old}")
    small.export(target)
    before = by_manifest(target)["marts.odd"]
    small.change(f"create or replace table marts.odd as select {new}")
    small.export(target)
    fresh = target.parent / "fresh"
    small.export(fresh)
    assert by_manifest(target)["marts.odd"] == by_manifest(fresh)["marts.odd"] != before
    assert by_pattern(target)["marts.odd"] == by_manifest(fresh)["marts.odd"]
    assert small.export(target).files == 0
