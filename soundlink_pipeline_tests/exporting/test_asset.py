"""The asset `parquet_export`: off unless set, a run of its own, and a failing target is its own affair."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.exporting.asset import JOB, PARQUET_EXPORT, SENSOR, ParquetExport, build_parquet_export
from soundlink_pipeline.orchestration.jobs import REBUILD
from soundlink_pipeline.settings.settings import Settings, settings_from
from soundlink_pipeline_tests.exporting.shared import Source, by_manifest, exported, fixed_files, manifest
from soundlink_pipeline_tests.support.project import project
from soundlink_pipeline_tests.support.sql_folder import no_models


def settings_of(source: Source, target: Path | str) -> Settings:
    return Settings(data_dir=source.folder, export_to=str(target))


def run(source: Source, target: Path | str) -> dg.ExecuteInProcessResult:
    parts = build_parquet_export(settings_of(source, target), "published_database")
    definitions = dg.Definitions(assets=[*parts.assets, dg.AssetSpec("published_database")], jobs=parts.jobs)
    return definitions.resolve_job_def(JOB).execute_in_process(raise_on_error=False)


def told(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(PARQUET_EXPORT)
    return {name: value.value for name, value in event.metadata.items()}


def test_it_is_off_unless_a_target_is_set(tmp_path: Path) -> None:
    sql = no_models(tmp_path)
    assert build_parquet_export(Settings(sql_dir=sql), "published_database") == ParquetExport()
    off = build_definitions(Settings(sql_dir=sql), lambda _: None).resolve_asset_graph().get_all_asset_keys()
    assert dg.AssetKey(PARQUET_EXPORT) not in off


def test_it_follows_the_publication_in_a_run_of_its_own(tmp_path: Path) -> None:
    settings = Settings(sql_dir=no_models(tmp_path), data_dir=tmp_path, export_to=str(tmp_path / "parquet"))
    definitions = build_definitions(settings, lambda _: None)
    graph = definitions.resolve_asset_graph()
    assert graph.get(dg.AssetKey(PARQUET_EXPORT)).parent_keys == {dg.AssetKey("published_database")}
    for job in ("daily_refresh", "models_and_publication"):
        assert dg.AssetKey(PARQUET_EXPORT) not in definitions.resolve_job_def(job).asset_layer.executable_asset_keys
    only = definitions.resolve_job_def(JOB)
    assert only.asset_layer.executable_asset_keys == {dg.AssetKey(PARQUET_EXPORT)}
    # It takes no turn in the data folder, for which other runs would have to wait.
    (asset,) = build_parquet_export(settings, "published_database").assets
    assert asset.required_resource_keys <= {"io_manager"}


def test_its_page_says_what_was_exported(small: Source, target: Path) -> None:
    first = told(run(small, target))
    assert (first["target"], first["days"], first["changed days"]) == (str(target), 2, "2026-04-01 to 2026-04-02")
    assert first["files"] == first["files in all"] == sum(len(table["files"]) for table in manifest(target)["tables"])
    assert first["rows"] == manifest(target)["rows"]
    again = told(run(small, target))
    assert (again["files"], again["days"], again["changed days"]) == (0, 0, "none")
    assert by_manifest(target) == exported(small)


def test_a_failing_target_fails_it_with_one_sentence(small: Source, target: Path) -> None:
    target.write_text("mine")
    result = run(small, target)
    [failure] = [event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_FAILURE]
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    assert data.description == f"Not exported: {target} is a file: name a folder to export to"


def test_a_model_that_no_reader_can_take_fails_it_with_one_sentence_that_names_it(small: Source, target: Path) -> None:
    small.change("create schema marts", "create table marts.far as select date '10000-01-01' as report_date")
    events = run(small, target).all_events
    [failure] = [event for event in events if event.event_type is dg.DagsterEventType.STEP_FAILURE]
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    assert (data.description or "").startswith("Not exported: marts.far has rows of the report_date 10000-01-01")


def test_each_published_file_is_asked_for_once(small: Source, target: Path) -> None:
    (sensor,) = build_parquet_export(settings_of(small, target), "published_database").sensors
    assert (sensor.name, sensor.default_status) == (SENSOR, dg.DefaultSensorStatus.RUNNING)

    def tick(cursor: str | None) -> tuple[int, str | None]:
        with dg.build_sensor_context(cursor=cursor) as context:
            done = sensor.evaluate_tick(context)
        return len(done.run_requests or ()), done.cursor or cursor

    asked, cursor = tick(None)
    assert (asked, tick(cursor)[0]) == (1, 0)
    small.publish()
    asked, cursor = tick(cursor)
    assert (asked, tick(cursor)[0]) == (1, 0)
    os.remove(small.published)  # noqa: PTH107
    assert tick(cursor)[0] == 0


def test_a_refresh_publishes_whatever_the_target_does(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("mine")
    (tmp_path / "project").mkdir()
    with project(tmp_path / "project") as made:
        made.settings["SOUNDLINK_EXPORT_TO"] = str(tmp_path / "target")
        assert made.refresh("2026-02-20", "2026-02-21").success
        assert not made.execute(JOB, raise_on_error=False).success
        assert (made.data / "soundlink.duckdb").exists()
        (tmp_path / "target").unlink()
        assert made.execute(JOB).success
        assert by_manifest(tmp_path / "target") == exported(Source(made.data))
        before = fixed_files(tmp_path / "target")
        # A warehouse made anew from what has landed: by the same rows the same days.
        for path in made.data.glob("warehouse.duckdb*"):
            path.unlink()
        assert made.execute(REBUILD).success
        assert made.execute(JOB).success
        assert by_manifest(tmp_path / "target") == exported(Source(made.data))
        after = fixed_files(tmp_path / "target")
        assert [name for name in after if "report_date=" in name and after[name] != before.get(name)] == []


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("https://host/x", "must be a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"),
        ("s3://", "the name of a bucket has"),
        ("s3://My_Bucket", "the name of a bucket has"),
        ("s3://bucket/a//b", "with single slashes between"),
        ("s3://bucket/../b", "with single slashes between"),
        ("s3://bucket/a?x=1", "a prefix has letters"),
        ("gs://bucket/a b", "a prefix has letters"),
        ("s3://AKIA:hidden@bucket/x", "looks like a secret"),
        ("s3:/bucket/x", "must be a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"),
        ("s3:bucket", "must be a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"),
        ("https:/host/x", "a folder with a colon in its name is given as ./NAME"),
        ("AKIA:hidden@bucket/x", "looks like a secret"),
        ("AKIA:hidden@bucket", "looks like a secret"),
    ],
)
def test_a_target_that_cannot_be_one_is_a_bad_setting(target: str, why: str) -> None:
    with pytest.raises(ValueError, match="SOUNDLINK_EXPORT_TO cannot be read") as caught:
        settings_from({"SOUNDLINK_EXPORT_TO": target})
    assert why in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_targets_and_timestamps_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text, read in (
        ("parquet/", str(tmp_path / "parquet")),
        ("./a:b", str(tmp_path / "a:b")),
        ("gs://bucket/", "gs://bucket"),
        ("/", "/"),
        ("//", "/"),
        ("", None),
    ):
        assert settings_from({"SOUNDLINK_EXPORT_TO": text}).export_to == read
    assert settings_from({"SOUNDLINK_EXPORT_TIMESTAMPS": "naive"}).export_timestamps == "naive"
    with pytest.raises(ValueError, match="must be utc or naive"):
        settings_from({"SOUNDLINK_EXPORT_TIMESTAMPS": "local"})
