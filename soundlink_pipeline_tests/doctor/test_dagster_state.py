"""What the doctor says of the Dagster instance: home, storage, daemon, schedules, sensors and runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_shared.error import SerializableErrorInfo

from soundlink_pipeline.alerts.tick import _ENDS, State, Undelivered
from soundlink_pipeline.orchestration.jobs import MODELS_AND_PUBLICATION
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.simulator import BREAKDOWN, Fault, KeyInfo
from soundlink_pipeline_tests.support.examined import NOW, Examined, beat, daemon_process, empty_project
from soundlink_pipeline_tests.support.instances import instance_settings
from soundlink_pipeline_tests.support.project import KEY, Project, utc


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Project]:
    with empty_project(tmp_path) as made:
        yield made


@pytest.mark.parametrize("home", ["not/absolute", "/nowhere/at/all"])
def test_home_that_dagster_refuses_is_a_fault(here: Project, home: str) -> None:
    assert Examined(here, home=Path(home)).bad("Dagster") == [("FAULT", "DAGSTER_HOME")]


def test_home_that_is_not_set_and_missing_configuration_are_warned_of(
    here: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").mkdir()
    monkeypatch.chdir(tmp_path / "plain")
    examined = Examined(here, DAGSTER_HOME="")
    assert examined.bad("Dagster") == [("warn", "DAGSTER_HOME"), ("warn", "dagster.yaml")]
    assert list((tmp_path / "plain").iterdir()) == []


def test_damaged_storage_is_a_fault(here: Project, tmp_path: Path) -> None:
    home = tmp_path / "damaged"
    shutil.copytree(here.folder / "instance" / "storage", home / "storage")
    (home / "dagster.yaml").write_text(yaml.safe_dump(instance_settings(home)))
    (home / "storage" / "history" / "runs.db").write_bytes(b"no database" * 500)
    assert Examined(here, home=home).bad("Dagster") == [("FAULT", "Dagster")]


def test_daemon_that_is_not_running_is_warned_of(here: Project) -> None:
    assert Examined(here).one("Dagster", "daemon").level == "warn"
    beat(here, NOW - timedelta(minutes=4))
    finding = Examined(here).one("Dagster", "daemon")
    assert finding.level == "warn"
    assert "last seen 2026-03-02 05:56 UTC" in finding.message
    beat(here, NOW - timedelta(minutes=1))
    with daemon_process(here.folder / "instance"):
        assert Examined(here).one("Dagster", "daemon").level == "ok"


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="the system does not show its processes")
def test_a_heartbeat_that_outlives_its_daemon_is_no_daemon(here: Project, tmp_path: Path) -> None:
    beat(here, NOW - timedelta(seconds=10))
    with daemon_process(tmp_path):  # another folder's
        finding = Examined(here).one("Dagster", "daemon")
    assert finding.level == "warn"
    assert finding.message == "not running: it has ended (last seen 2026-03-02 05:59 UTC)"


URL = "https://alerts.invalid/services/T0/B0/hidden-part"
SCHEDULES = ("daily_refresh_schedule", "freshness_schedule")


def switch(here: Project, name: str, status: InstigatorStatus) -> InstigatorState:
    """A schedule or sensor as a daemon or the UI has noted it."""
    repository = RemoteRepositoryOrigin(
        ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="soundlink_pipeline.definitions")),
        "__repository__",
    )
    kind = InstigatorType.SCHEDULE if name in SCHEDULES else InstigatorType.SENSOR
    data = ScheduleInstigatorData("0 7 * * *") if name in SCHEDULES else SensorInstigatorData(min_interval=30)
    state = InstigatorState(RemoteInstigatorOrigin(repository, name), kind, status, data)
    here.instance.add_instigator_state(state)
    return state


@pytest.mark.parametrize(("name", "tick"), [(SCHEDULES[0], "07:00"), (SCHEDULES[1], "12:05")])
def test_schedule_that_is_stopped_is_warned_of_and_one_that_runs_tells_its_next_tick(
    here: Project, name: str, tick: str
) -> None:
    unseen = f"is on by default, no daemon has seen it yet; next tick 2026-03-02 {tick} UTC"
    assert Examined(here).one("Dagster", name).message == unseen
    state = switch(here, name, InstigatorStatus.STOPPED)
    finding = Examined(here).one("Dagster", name)
    assert (finding.level, finding.message) == ("warn", "is stopped")
    assert finding.fix.startswith("switch it on")
    for status in (InstigatorStatus.RUNNING, InstigatorStatus.DECLARED_IN_CODE):
        here.instance.update_instigator_state(state.with_status(status))
        finding = Examined(here).one("Dagster", name)
        assert (finding.level, finding.message) == ("ok", f"is running; next tick 2026-03-02 {tick} UTC")


def test_alerts_that_are_wanted_but_stopped_are_warned_of_and_their_url_is_neither_shown_nor_asked(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soundlink_pipeline.alerts.tick.send", lambda *_: pytest.fail("a message was sent"))

    def told(url: str) -> tuple[str, str]:
        examined = Examined(here, SOUNDLINK_ALERT_URL=url)
        for finding in examined.group("Settings") + examined.group("Dagster"):
            assert "alerts.invalid" not in finding.message + finding.fix
            assert "hidden-part" not in finding.message + finding.fix
        finding = examined.one("Dagster", "alerts")
        return finding.level, finding.message

    assert told("") == ("ok", "is stopped: SOUNDLINK_ALERT_URL is not set")
    assert told(URL) == ("ok", "is on by default, no daemon has seen it yet")
    state = switch(here, "alerts", InstigatorStatus.DECLARED_IN_CODE)
    assert told("") == ("ok", "is stopped: SOUNDLINK_ALERT_URL is not set")
    assert told(URL) == ("ok", "is running")
    here.instance.update_instigator_state(state.with_status(InstigatorStatus.STOPPED))
    assert told("") == ("ok", "is stopped: SOUNDLINK_ALERT_URL is not set")
    assert told(URL) == ("warn", "is stopped: failed runs raise no alert")


def test_alerts_that_were_not_delivered_are_warned_of_until_they_are(here: Project) -> None:
    state = switch(here, "alerts", InstigatorStatus.RUNNING)

    def note(undelivered: dict[str, Undelivered]) -> list[tuple[str, str]]:
        cursor = State({kind.value: 1 for kind in _ENDS}, undelivered=undelivered).text()
        data = SensorInstigatorData(min_interval=30, cursor=cursor)
        here.instance.update_instigator_state(state.with_data(data))
        found = Examined(here, SOUNDLINK_ALERT_URL=URL).group("Dagster")
        return [(finding.level, finding.message) for finding in found if finding.what == "alert delivery"]

    assert note({}) == []
    assert note({"a": Undelivered(2.0, "Alert for run a not delivered: HTTP 404"), "b": Undelivered(1.0, "older")}) == [
        ("warn", "2 alerts not delivered; newest: Alert for run a not delivered: HTTP 404")
    ]


@pytest.mark.parametrize("name", [*SCHEDULES, "alerts"])
@pytest.mark.parametrize(
    ("status", "level", "words"),
    [
        (TickStatus.FAILURE, "warn", "failed: the ledger is gone"),
        (TickStatus.SKIPPED, "ok", "skipped: no day yet"),
        (TickStatus.SUCCESS, "ok", "requested a run"),
    ],
)
def test_last_tick_tells_its_outcome(here: Project, name: str, status: TickStatus, level: str, words: str) -> None:
    state = switch(here, name, InstigatorStatus.RUNNING)
    error = SerializableErrorInfo("the ledger is gone\n", [], "KeyError")
    here.instance.create_tick(
        TickData(
            state.instigator_origin_id,
            name,
            state.instigator_type,
            status,
            (NOW - timedelta(hours=23)).timestamp(),
            run_ids=["a-run"] if status is TickStatus.SUCCESS else [],
            skip_reason="no day yet" if status is TickStatus.SKIPPED else None,
            error=error if status is TickStatus.FAILURE else None,
            selector_id=state.selector_id,
        )
    )
    finding = Examined(here).one("Dagster", name)
    assert finding.level == level
    assert finding.message.endswith(f"last tick 2026-03-01 07:00 UTC: {words}")


def test_failed_run_is_warned_of_with_its_own_sentence(here: Project) -> None:
    here.sim.keys[KEY] = KeyInfo(expired=True)
    assert not here.refresh("2026-02-22", "2026-03-01", raise_on_error=False).success
    finding = Examined(here).one("Dagster", "last run")
    assert finding.level == "warn"
    assert "this API key has expired" in finding.message
    assert "Re-execute" in finding.fix
    here.sim.keys[KEY] = KeyInfo()
    assert here.refresh("2026-02-22", "2026-03-01").success
    assert Examined(here).one("Dagster", "last run").level == "ok"


def test_run_that_has_fallen_silent_is_warned_of(here: Project) -> None:
    run = dg.DagsterRun(job_name="daily_refresh", run_id="0b7a1f5e-1111-4222-8333-123456789abc")
    here.instance.add_run(run)
    here.instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "daily_refresh", message="started"), run.run_id
    )
    started = datetime.now(UTC)
    fresh = Examined(here, now=started + timedelta(minutes=60)).one("Dagster", "run under way")
    assert fresh.level == "ok"
    assert "0b7a1f5e" in fresh.message
    silent = Examined(here, now=started + timedelta(minutes=80)).one("Dagster", "run under way")
    assert silent.level == "warn"
    assert "no event since" in silent.message
    assert "possibly stuck" in silent.message


def test_the_last_run_is_any_that_changes_data_from_the_ui_too(here: Project) -> None:
    tags = {"dagster/asset_partition_range_start": "2026-01-01", "dagster/asset_partition_range_end": "2026-01-31"}
    for job, status, more in (
        ("daily_refresh", dg.DagsterRunStatus.FAILURE, {}),
        ("__ASSET_JOB", dg.DagsterRunStatus.SUCCESS, {"dagster/backfill": "abcdefgh"}),
        ("freshness", dg.DagsterRunStatus.FAILURE, {}),
        ("compare_totals", dg.DagsterRunStatus.FAILURE, {}),
    ):
        here.instance.add_run(dg.DagsterRun(job, status=status, tags=tags | more))
    finding = Examined(here).one("Dagster", "last run")
    assert finding.level == "ok"
    assert finding.message.endswith(": materialization, 2026-01-01 to 2026-01-31, started by UI backfill: success")
    canceled = dg.DagsterRun("rebuild_from_landing", status=dg.DagsterRunStatus.CANCELED)
    here.instance.add_run(canceled)
    assert (
        Examined(here).one("Dagster", "last run").message.endswith(": rebuild_from_landing, started by shell: canceled")
    )


def test_a_build_that_succeeds_after_a_refresh_that_failed_does_not_hide_it(here: Project) -> None:
    here.sim.faults.add(Fault("status", export=BREAKDOWN, times=None, status=404, code="campaign_not_found"))
    assert not here.refresh("2026-02-22", "2026-03-01", raise_on_error=False).success
    here.instance.add_run(dg.DagsterRun(MODELS_AND_PUBLICATION, status=dg.DagsterRunStatus.SUCCESS))
    finding = Examined(here).one("Dagster", "last run")
    assert finding.level == "warn"
    assert "daily_refresh, 2026-02-22 to 2026-03-01" in finding.message
    here.instance.add_run(dg.DagsterRun(MODELS_AND_PUBLICATION, status=dg.DagsterRunStatus.CANCELED))
    assert (
        Examined(here).one("Dagster", "last run").message.endswith("models_and_publication, started by shell: canceled")
    )


def a_chunk(here: Project, status: dg.DagsterRunStatus, start: str, end: str, **tags: str) -> str:
    run = dg.DagsterRun("__ASSET_JOB", status=status, tags={RANGE_START: start, RANGE_END: end, **tags})
    here.instance.add_run(run)
    if status is dg.DagsterRunStatus.FAILURE:
        here.instance.report_run_failed(run, "the wire was cut")
    return run.run_id


def a_backfill(here: Project, status: BulkActionStatus, error: str = "") -> dict[str, str]:
    """One from the UI; returns the tag of its runs."""
    told = SerializableErrorInfo(f"{error}\nTraceback", [], "Error") if error else None
    made = PartitionBackfill("abcdefgh", status, False, {}, utc("2026-03-01T20:00").timestamp(), told)
    here.instance.add_backfill(made)
    return {"dagster/backfill": "abcdefgh"}


def test_days_of_a_failed_chunk_are_named_until_a_later_run_has_pulled_them(here: Project) -> None:
    tag = a_backfill(here, BulkActionStatus.COMPLETED_FAILED)
    a_chunk(here, dg.DagsterRunStatus.SUCCESS, "2025-10-01", "2025-10-10", **tag)
    a_chunk(here, dg.DagsterRunStatus.FAILURE, "2025-10-12", "2025-10-20", **tag)
    a_chunk(here, dg.DagsterRunStatus.SUCCESS, "2025-10-22", "2025-10-30", **tag)
    here.instance.add_run(dg.DagsterRun(MODELS_AND_PUBLICATION, status=dg.DagsterRunStatus.SUCCESS))
    said = Examined(here)
    assert said.one("Dagster", "last run").level == "ok"
    assert said.one("Dagster", "last backfill").message == "2026-03-01 20:00 UTC: failed, 3 runs: 1 failure, 2 success"
    finding = said.one("Dagster", "earlier run")
    assert finding.level == "warn"
    assert (
        "materialization, 2025-10-12 to 2025-10-20, started by UI backfill: failed: the wire was cut" in finding.message
    )
    a_chunk(here, dg.DagsterRunStatus.SUCCESS, "2025-10-12", "2025-10-19")
    assert Examined(here).one("Dagster", "earlier run") == finding
    a_chunk(here, dg.DagsterRunStatus.SUCCESS, "2025-10-01", "2025-10-20")
    assert "earlier run" not in [finding.what for finding in Examined(here).group("Dagster")]


@pytest.mark.parametrize(
    ("status", "error", "level", "words"),
    [
        (BulkActionStatus.REQUESTED, "", "ok", "goes on, 1 run: 1 canceled"),
        (BulkActionStatus.CANCELED, "", "ok", "canceled, 1 run: 1 canceled"),
        (BulkActionStatus.COMPLETED_SUCCESS, "", "ok", "succeeded, 1 run: 1 canceled"),
        (
            BulkActionStatus.FAILED,
            "the code cannot be reached",
            "warn",
            "failed, 1 run: 1 canceled; the code cannot be reached",
        ),
    ],
)
def test_the_state_of_the_last_backfill_is_told(
    here: Project, status: BulkActionStatus, error: str, level: str, words: str
) -> None:
    a_chunk(here, dg.DagsterRunStatus.CANCELED, "2025-10-01", "2025-10-10", **a_backfill(here, status, error))
    finding = Examined(here).one("Dagster", "last backfill")
    assert (finding.level, finding.message) == (level, f"2026-03-01 20:00 UTC: {words}")


def test_of_a_backfill_whose_runs_were_deleted_no_runs_are_counted(here: Project) -> None:
    a_backfill(here, BulkActionStatus.COMPLETED_SUCCESS)
    assert Examined(here).one("Dagster", "last backfill").message == "2026-03-01 20:00 UTC: succeeded"
