"""Dagster's storage stays bounded, and what the UI says of partitions and checks stays as it is."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from soundlink_pipeline.orchestration import retention
from soundlink_pipeline.orchestration.retention import keep_bounded
from soundlink_pipeline.orchestration.run_context import daily_partitions
from soundlink_pipeline.simulator import BREAKDOWN, ENGAGEMENT, Fault
from soundlink_pipeline_tests.support.project import Project, job_of, project
from soundlink_pipeline_tests.support.sql_folder import sql_folder

NOW = datetime.now(UTC)
A_YEAR_AGO, THREE_WEEKS_AGO = NOW - timedelta(days=365), NOW - timedelta(days=21)
EARLIER_FIRST_DAY = date(2025, 12, 25)


@dataclass
class Aged(Project):
    """A project whose runs can be made older."""

    @property
    def history(self) -> Path:
        return self.folder / "instance" / "storage" / "history"

    def age(self, run_id: str, moment: datetime) -> None:
        text = moment.replace(tzinfo=None).isoformat(" ")
        for database, table in (("runs.db", "runs"), ("runs/index.db", "asset_check_executions")):
            with closing(sqlite3.connect(self.history / database)) as connection, connection:
                connection.execute(f"update {table} set create_timestamp = ? where run_id = ?", [text, run_id])

    def size(self, database: str) -> int:
        with closing(sqlite3.connect(self.history / "runs" / f"{database}.db")) as connection:
            connection.execute("pragma wal_checkpoint(truncate)")
        return (self.history / "runs" / f"{database}.db").stat().st_size

    def state(self, first_day: date = date(2026, 1, 1)) -> dict[str, Any]:
        """What the UI shows of each asset: its partitions, its last materialization, and the status of its checks."""
        graph, partitions = job_of("daily_refresh", self.settings).asset_layer.asset_graph, daily_partitions(first_day)
        log, shown = self.instance.event_log_storage, dict[str, Any]()
        for name in (BREAKDOWN, ENGAGEMENT):
            found = get_and_update_asset_status_cache_value(self.instance, dg.AssetKey(name), partitions)
            assert found is not None
            shown[name] = (
                list(found.deserialize_materialized_partition_subsets(partitions).get_partition_keys()),
                list(found.deserialize_failed_partition_subsets(partitions).get_partition_keys()),
            )
            days = self.instance.fetch_materializations(dg.AssetKey(name), limit=100).records
            newest = {record.partition_key: record for record in reversed(days)}
            shown[f"each day of {name}"] = {
                day: (record.storage_id, record.timestamp, record.asset_materialization)
                for day, record in sorted(newest.items(), key=str)
            }
        for key in graph.executable_asset_keys:
            event = self.instance.get_latest_materialization_event(key)
            shown[f"last of {key.to_user_string()}"] = event and (event.run_id, event.timestamp)
        checks = list(graph.asset_check_keys)
        for check, record in log.get_latest_asset_check_execution_by_key(checks).items():
            context = LoadingContextForTest(self.instance)
            targets_last = asyncio.run(record.targets_latest_materialization(context))
            status = asyncio.run(record.resolve_status(context))
            shown[f"check {check.to_user_string()}"] = (status.value, record.evaluation, targets_last)
        return shown

    def check_histories(self) -> dict[str, Any]:
        """Every result that the UI lists of each check, the newest first."""
        log = self.instance.event_log_storage
        return {
            check.to_user_string(): [
                (record.id, record.run_id, record.status, record.evaluation, record.create_timestamp)
                for record in log.get_asset_check_execution_history(check, limit=100)
            ]
            for check in job_of("daily_refresh", self.settings).asset_layer.asset_graph.asset_check_keys
        }


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Aged]:
    with project(tmp_path) as made:
        yield Aged(**{field.name: getattr(made, field.name) for field in fields(Project)})


@pytest.fixture(autouse=True)
def one_run_is_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "NEWEST_RUNS_OF_A_JOB", 1)


def test_old_runs_are_deleted_and_the_ui_shows_what_it_did(here: Aged) -> None:
    ids = [
        here.refresh(start, end).run_id for start, end in (("2026-01-01", "2026-01-03"), ("2026-01-03", "2026-01-05"))
    ]
    here.sim.faults.add(Fault("status", export=BREAKDOWN, times=None, status=404, code="campaign_not_found"))
    failed = here.refresh("2026-01-05", "2026-01-06").run_id  # of which days tell that they failed
    here.sim.faults.clear()
    going_on = "00000000-0000-4000-8000-000000000000"
    here.instance.add_run(dg.DagsterRun("daily_refresh", going_on, status=dg.DagsterRunStatus.STARTED))
    newest = here.refresh("2026-01-07", "2026-01-07").run_id
    for run_id in (*ids, failed, going_on, newest):
        here.age(run_id, A_YEAR_AGO)
    before = {first_day: here.state(first_day) for first_day in (date(2026, 1, 1), EARLIER_FIRST_DAY)}
    materialized, of_failed = before[EARLIER_FIRST_DAY][BREAKDOWN]
    assert materialized == [f"2026-01-0{day}" for day in (1, 2, 3, 4, 5, 7)]
    assert of_failed == ["2026-01-05", "2026-01-06"]

    kept = keep_bounded(here.instance, NOW, 90)

    assert (kept.deleted, kept.finished) == (2, True)
    assert {run.run_id for run in here.instance.get_runs()} == {failed, going_on, newest}
    for run_id in ids:
        assert not list(here.history.rglob(f"{run_id}*"))
        assert here.instance.all_logs(run_id) == []
    # In this order: another first day makes Dagster read all partitions anew, instead of remembering them.
    for first_day in (EARLIER_FIRST_DAY, date(2026, 1, 1)):
        assert here.state(first_day) == before[first_day]
    assert keep_bounded(here.instance, NOW, 90).deleted == 0


def test_a_run_after_the_deletion_pulls_nothing_anew(here: Aged) -> None:
    old = here.refresh("2026-01-01", "2026-01-03").run_id
    newest = here.refresh("2026-01-04", "2026-01-04").run_id
    here.age(old, A_YEAR_AGO)
    assert keep_bounded(here.instance, NOW, 90).deleted == 1
    here.settings["SOUNDLINK_START_DATE"] = "2025-12-30"
    missing = set(daily_partitions(date(2025, 12, 30)).get_partition_keys()) - set(
        here.state(date(2025, 12, 30))[BREAKDOWN][0]
    )
    assert {day for day in missing if day < "2026-01-05"} == {"2025-12-30", "2025-12-31"}
    assert here.instance.get_run_by_id(newest) is not None


def test_successful_runs_are_thinned_and_the_ui_shows_what_it_did(here: Aged) -> None:
    first = here.refresh("2026-01-01", "2026-01-04").run_id
    here.refresh("2026-01-02", "2026-01-04")
    here.age(first, THREE_WEEKS_AGO)
    before, histories, size = here.state(), here.check_histories(), here.size(first)
    messages = [entry.user_message for entry in here.instance.all_logs(first) if not entry.is_dagster_event]

    kept = keep_bounded(here.instance, NOW, 90)

    assert (kept.deleted, kept.thinned) == (0, 1)
    assert here.state() == before
    assert here.check_histories() == histories
    assert {len(history) for name, history in histories.items() if name.startswith(f"{BREAKDOWN}:")} >= {2}
    assert size > 200_000
    assert here.size(first) < 60_000
    entries = here.instance.all_logs(first)
    assert [entry.user_message for entry in entries if not entry.is_dagster_event] == messages
    kinds = {entry.dagster_event.event_type_value for entry in entries if entry.dagster_event}
    assert kinds == {
        "PIPELINE_START",
        "PIPELINE_SUCCESS",
        "ENGINE_EVENT",
        "LOGS_CAPTURED",
        "STEP_START",
        "STEP_SUCCESS",
    }
    # Of the days that were pulled again only the last time is known, of the first day the only one.
    days = here.instance.fetch_materializations(dg.AssetKey(BREAKDOWN), limit=100).records
    assert sorted(str(record.partition_key) for record in days) == [f"2026-01-0{day}" for day in (1, 2, 3, 4)]
    # The next pass begins where this one has ended.
    assert keep_bounded(here.instance, NOW, 90, thinned_until=kept.thinned_until).thinned == 0


def test_charts_and_tables_of_former_materializations_are_dropped_and_their_numbers_stay(
    here: Aged, tmp_path: Path
) -> None:
    here.settings["SOUNDLINK_SQL_DIR"] = str(sql_folder(tmp_path / "sql"))
    former, last = (here.refresh("2026-01-01", "2026-01-04").run_id for _ in range(2))

    def metadata() -> dict[str, list[dict[str, str]]]:
        """By run, each materialized model's figures and what kind they are."""
        records = [
            record
            for key in here.instance.all_asset_keys()
            for record in here.instance.fetch_materializations(key, limit=100).records
            if record.partition_key is None
        ]
        return {
            run_id: [
                {name: type(value).__name__ for name, value in record.asset_materialization.metadata.items()}
                for record in records
                if record.run_id == run_id and record.asset_materialization
            ]
            for run_id in (former, last)
        }

    before = metadata()
    assert "MarkdownMetadataValue" in {kind for figures in before[former] for kind in figures.values()}
    for run_id in (former, last):
        here.age(run_id, THREE_WEEKS_AGO)
    assert keep_bounded(here.instance, NOW, 90).thinned == 2
    after = metadata()
    assert after[last] == before[last]
    assert after[former] == [
        {name: kind for name, kind in figures.items() if kind != "MarkdownMetadataValue"} for figures in before[former]
    ]


def test_a_run_that_was_never_queued_does_not_keep_the_file_from_becoming_smaller(
    here: Aged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_FREE_SHARE", 0.0)
    here.instance.add_run(dg.DagsterRun("daily_refresh", status=dg.DagsterRunStatus.NOT_STARTED))
    for run_id in [here.execute("freshness").run_id for _ in range(3)]:
        here.age(run_id, A_YEAR_AGO)
    size = here.size("index")
    keep_bounded(here.instance, NOW, 90)
    assert here.size("index") < size


def test_a_pass_ends_when_its_time_is_over_and_the_next_goes_on(here: Aged) -> None:
    for _ in range(3):
        here.age(here.execute("freshness").run_id, A_YEAR_AGO)
    kept = keep_bounded(here.instance, NOW, 90, seconds=0)
    assert (kept.deleted, kept.finished) == (0, False)
    kept = keep_bounded(here.instance, NOW, 90)
    assert (kept.deleted, kept.finished) == (2, True)
    assert here.instance.get_runs_count() == 1


def test_the_newest_result_of_each_check_stays_and_the_file_becomes_smaller(
    here: Aged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_FREE_SHARE", 0.0)
    runs = [here.execute("freshness").run_id for _ in range(3)]
    for run_id in runs:
        here.age(run_id, A_YEAR_AGO)
    size = here.size("index")
    keep_bounded(here.instance, NOW, 90)
    key = dg.AssetCheckKey(dg.AssetKey(BREAKDOWN), "newest_day")
    results = here.instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    assert [result.run_id for result in results] == runs[-1:]
    assert here.size("index") < size
