"""What readers of a target find: every row of the published file, in types that all of them take."""

from pathlib import Path

import duckdb
import pytest

from soundlink_pipeline.settings.export_target import Timestamps
from soundlink_pipeline_tests.exporting.shared import (
    EXPORT,
    Source,
    by_manifest,
    by_pattern,
    exported,
    manifest,
    with_rows,
)


@pytest.mark.parametrize("timestamps", ["utc", "naive"])
def test_every_row_is_there_by_manifest_and_by_pattern(source: Source, target: Path, timestamps: Timestamps) -> None:
    done = source.export(target, timestamps)
    expected = exported(source, timestamps)
    assert by_manifest(target) == expected
    assert by_pattern(target) == with_rows(expected)
    assert done.rows == done.all_rows == manifest(target)["rows"] == sum(map(len, expected.values()))
    assert (done.days[0], done.days[-1]) == ("2026-04-01", "2026-04-20")


def test_a_day_is_a_partition_and_its_column_is_in_the_file_too(source: Source, target: Path) -> None:
    source.export(target)
    with duckdb.connect() as connection:
        partition = target / f"raw/{EXPORT}/report_date=2026-04-03/data.parquet"
        assert connection.execute(f"select distinct report_date::varchar from '{partition}'").fetchall() == [
            ("2026-04-03",)
        ]
        columns = dict(
            connection.execute(
                f"select name, coalesce(logical_type, type) from parquet_schema('{partition}')"
            ).fetchall()
        )
        codecs = connection.execute(f"select distinct compression from parquet_metadata('{partition}')").fetchall()
    assert codecs == [("ZSTD",)]
    assert columns["spend_total"] == "DecimalType(scale=6, precision=18)"
    assert columns["streams"] == "INT64"
    assert columns["report_date"] == "INT32"  # and its converted type is DATE
    assert "isAdjustedToUTC=1" in columns["exported_at"]


def test_a_moment_is_not_adjusted_where_that_is_asked_for(source: Source, target: Path) -> None:
    source.export(target, "naive")
    with duckdb.connect() as connection:
        partition = target / f"raw/{EXPORT}/report_date=2026-04-03/data.parquet"
        types = connection.execute(
            f"select logical_type from parquet_schema('{partition}') where name in ('exported_at', '_pulled_at')"
        ).fetchall()
    assert len(types) == 2
    assert all("isAdjustedToUTC=0" in type and "micros" in type.lower() for (type,) in types)


def test_the_manifest_says_what_when_how_many_and_sums(source: Source, target: Path) -> None:
    source.export(target)
    found = manifest(target)
    assert (found["format"], found["pipeline"], found["run_id"]) == (1, "soundlink-pipeline", "run-7")
    assert (found["published_at"], found["exported_at"]) == ("2026-04-22T08:00:00Z", "2026-04-23T08:00:00Z")
    assert (found["to_copy"], found["to_delete"]) == ([], [])
    (table,) = (table for table in found["tables"] if table["name"] == f"raw.{EXPORT}")
    assert table["partitioned_by"] == "report_date"
    for file in table["files"]:
        ((rows, streams, spend),) = source.query(
            f"select count(*), sum(streams)::varchar, sum(spend_total)::varchar from {EXPORT}"
            f" where report_date = '{file['report_date']}'"
        )
        assert (file["rows"], file["sums"]["streams"], file["sums"]["spend_total"]) == (rows, streams, spend)


def test_rows_without_a_day_names_with_signs_and_wide_sums_are_exported(source: Source, target: Path) -> None:
    source.change(
        'create table marts."a b/é" as select null::date as report_date, 1::hugeint as n, 2::ubigint as u, [1, 2] as l,'
        " uuid() as id, '{}'::json as j union all select date '2026-01-01', 3, null, null, null, null"
    )
    source.export(target)
    assert by_manifest(target)["marts.a b/é"] == exported(source)["marts.a b/é"]
    assert (target / "marts/a%20b%2F%C3%A9/report_date=__HIVE_DEFAULT_PARTITION__/data.parquet").exists()
    (table,) = (table for table in manifest(target)["tables"] if table["name"] == "marts.a b/é")
    assert table["columns"] == {
        "report_date": "DATE",
        "n": "BIGINT",
        "u": "BIGINT",
        "l": "INTEGER[]",
        "id": "VARCHAR",
        "j": "VARCHAR",
    }
