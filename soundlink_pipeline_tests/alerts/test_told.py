"""Alerts: one message for each run that ends badly, also where Dagster tries the run again; none for any other."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from soundlink_pipeline.simulator import BREAKDOWN, Fault
from soundlink_pipeline_tests.alerts.receiver import Receiver
from soundlink_pipeline_tests.alerts.watch import FAILED_PULLS, RANGE, UI, Watch, run_check, run_job
from soundlink_pipeline_tests.support.instances import instance_at
from soundlink_pipeline_tests.support.project import failure_of, project
from soundlink_pipeline_tests.support.sql_folder import sql_folder


def test_a_failed_run_is_told_of_with_days_reason_names_and_link(watch: Watch, receiver: Receiver) -> None:
    run_id = run_job(watch.instance, dg.Failure(FAILED_PULLS), **RANGE)
    watch.tick()
    (body,) = receiver.bodies
    assert body["text"].splitlines() == [
        "Soundlink Pipeline: daily_refresh failed, 2026-01-03 to 2026-01-10",
        "- step_0: 2 of 16 pulls failed; the other 14 are loaded.",
        "    campaign_country_daily of Sleep Playlist, 2026-01-03: the API failed with HTTP 503",
        "    campaign_country_daily of Ünïcode 🎧 Anthem, 2026-01-03: rate limited",
        'Fix the cause, then press "Re-execute from failure" in the run: finished steps are not repeated.',
        f"{UI}/runs/{run_id}",
    ]
    assert body["run_id"] == run_id
    assert (body["job"], body["status"]) == ("daily_refresh", "FAILURE")
    assert body["range"] == {"start": "2026-01-03", "end": "2026-01-10"}
    assert body["failures"] == [{"step": "step_0", "reason": FAILED_PULLS}]
    assert body["failed_checks"] == []
    assert body["counts"] == {"failures": 1, "failed_checks": 0}
    assert body["link"] == f"{UI}/runs/{run_id}"
    assert watch.said == [f"Sent 1 alert: {run_id}."]
    assert watch.log_of(run_id) == ['The sensor "alerts" sent an alert for this run (FAILURE).']


def test_a_pull_that_the_api_refuses_is_told_of_as_the_operator_reads_it(tmp_path: Path, receiver: Receiver) -> None:
    with project(tmp_path) as here:
        watch = Watch(here.instance, receiver.url)
        watch.tick()
        bad = here.sim.world.campaigns[0]
        here.sim.faults.add(Fault("status", export=BREAKDOWN, campaign=bad.uuid, times=None, status=403, code="denied"))
        result = here.refresh("2026-01-03", "2026-01-04")
        watch.tick()
    (body,) = receiver.bodies
    assert body["failures"] == [{"step": "exports", "reason": failure_of(result)}]
    assert bad.path_id in body["text"] or bad.uuid in body["text"]
    assert "HTTP 403" in body["text"]
    assert body["range"] == {"start": "2026-01-03", "end": "2026-01-04"}


def test_models_that_cannot_be_built_are_named_with_file_line_and_reason(tmp_path: Path, receiver: Receiver) -> None:
    changes: dict[str, str | None] = {
        "models/empty.sql": "",
        "models/wrong.sql": "select 1 as a\nfrom {{ ref('none') }}",
    }
    with project(tmp_path, sql_dir=sql_folder(tmp_path / "models", changes)) as here:
        watch = Watch(here.instance, receiver.url)
        watch.tick()
        here.refresh("2026-01-03", "2026-01-04")
        watch.tick()
    (body,) = receiver.bodies
    assert {failure["reason"] for failure in body["failures"]} == {
        f"{tmp_path}/models/models/empty.sql: is empty: there is no query in it",
        f"{tmp_path}/models/models/wrong.sql, line 2: there is no model 'none' to ref",
    }


def test_two_failures_in_one_run_are_one_message(watch: Watch, receiver: Receiver) -> None:
    run_job(watch.instance, dg.Failure("the first"), ValueError("the second"))
    watch.tick()
    (body,) = receiver.bodies
    assert body["failures"] == [
        {"step": "step_0", "reason": "the first"},
        {"step": "step_1", "reason": "ValueError: the second"},
    ]
    assert body["range"] is None
    watch.tick()
    assert len(receiver.bodies) == 1
    assert watch.said == ["No run ended badly."]


def test_a_run_that_is_marked_as_failed_twice_is_told_of_once(watch: Watch, receiver: Receiver) -> None:
    run_id = run_job(watch.instance, dg.Failure("once"))
    watch.tick()
    run = watch.instance.get_run_by_id(run_id)
    assert run is not None
    watch.instance.report_run_failed(run, "and once more")
    watch.tick()
    assert len(receiver.bodies) == 1


def test_every_job_is_told_of_also_backfills_and_the_rebuild(watch: Watch, receiver: Receiver) -> None:
    run_job(watch.instance, dg.Failure("a"), name="rebuild_from_landing")
    run_job(
        watch.instance, dg.Failure("b"), name="__ASSET_JOB", dagster__backfill="kqzv", dagster__partition="2026-01-03"
    )
    run_job(watch.instance, dg.Failure("c"), name="__ASSET_JOB")
    watch.tick()
    assert [body["text"].splitlines()[0] for body in receiver.bodies] == [
        "Soundlink Pipeline: rebuild_from_landing failed",
        "Soundlink Pipeline: backfill kqzv failed, 2026-01-03",
        "Soundlink Pipeline: materialization of selected assets failed",
    ]


def test_a_run_whose_process_was_lost_says_what_dagster_says(watch: Watch, receiver: Receiver) -> None:
    run = watch.instance.create_run_for_job(empty_job(), tags={})
    watch.instance.report_run_failed(run, "Detected run worker status UNKNOWN. Marking run as failed.")
    watch.tick()
    assert receiver.bodies[0]["text"].splitlines()[1:3] == [
        "- Detected run worker status UNKNOWN. Marking run as failed.",
        'No step had begun. Press "Re-execute all" in the run.',
    ]


def test_a_run_that_exceeds_its_time_is_told_of_though_it_ends_as_cancelled(watch: Watch, receiver: Receiver) -> None:
    run = watch.instance.create_run_for_job(empty_job(), tags={})
    watch.instance.report_run_canceling(run)
    watch.instance.report_run_failed(run, "Exceeded maximum runtime of 21600 seconds.")
    watch.instance.report_run_canceled(run)
    watch.tick()
    (body,) = receiver.bodies
    assert "Exceeded maximum runtime of 21600 seconds." in body["text"]


def empty_job() -> dg.JobDefinition:
    @dg.job(name="daily_refresh")
    def job() -> None:
        pass

    return job


def test_a_failed_error_check_is_told_of_though_the_run_succeeded(watch: Watch, receiver: Receiver) -> None:
    run = run_check(watch.instance, dg.AssetCheckSeverity.ERROR, description="keys come twice")
    watch.tick()
    (body,) = receiver.bodies
    assert body["status"] == "SUCCESS"
    assert body["failures"] == []
    assert body["failed_checks"] == [{"asset": "daily", "check": "data_tests", "reason": "3 bad rows, keys come twice"}]
    assert body["text"].splitlines() == [
        "Soundlink Pipeline: materialization of selected assets succeeded, but checks failed",
        "Failed checks: 1",
        "- daily, check data_tests: 3 bad rows, keys come twice",
        "The run succeeded. See the checks of these assets; fix the cause, then materialize the assets again.",
        f"{UI}/runs/{run.run_id}",
    ]


@pytest.mark.parametrize(
    ("severity", "passed"),
    [(dg.AssetCheckSeverity.WARN, False), (dg.AssetCheckSeverity.ERROR, True), (dg.AssetCheckSeverity.WARN, True)],
)
def test_warnings_and_passed_checks_are_not_told_of(
    watch: Watch, receiver: Receiver, severity: dg.AssetCheckSeverity, passed: bool
) -> None:
    run_check(watch.instance, severity, passed=passed)
    watch.tick()
    run_check(watch.instance, dg.AssetCheckSeverity.ERROR)  # the receiver does hear what it should
    watch.tick()
    assert len(receiver.bodies) == 1


def test_a_run_that_was_cancelled_is_not_told_of(watch: Watch, receiver: Receiver) -> None:
    @dg.op
    def stopped(context: dg.OpExecutionContext) -> None:
        watch.instance.report_run_canceling(context.run)  # what the UI's button does first
        raise DagsterExecutionInterruptedError

    @dg.job(executor_def=dg.in_process_executor)
    def job() -> None:
        stopped()

    run_id = job.execute_in_process(instance=watch.instance, raise_on_error=False).run_id
    run = watch.instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.CANCELED
    watch.tick()
    assert receiver.bodies == []


def test_a_run_that_was_interrupted_by_nobody_in_the_ui_is_told_of(watch: Watch, receiver: Receiver) -> None:
    run_job(watch.instance, DagsterExecutionInterruptedError())
    watch.tick()
    assert receiver.bodies[0]["failures"] == [
        {"step": "step_0", "reason": "interrupted: its process received a signal to end"}
    ]


# A run that Dagster tries again


@pytest.fixture
def retrying(tmp_path: Path, receiver: Receiver) -> Iterator[Watch]:
    """An instance that tries failed runs again, whatever they failed with."""
    retries = {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": True}
    with instance_at(tmp_path / "instance", run_retries=retries) as instance:
        watch = Watch(instance, receiver.url)
        watch.tick()
        yield watch


def test_a_run_that_will_be_tried_again_is_not_told_of_but_its_last_retry_is(
    retrying: Watch, receiver: Receiver
) -> None:
    first = run_job(retrying.instance, dg.Failure("lost"))
    assert tag(retrying.instance, first, "dagster/will_retry") == "true"
    retrying.tick()
    assert retrying.said == ["Waiting to alert on 1 run, or for a retry."]
    retrying.instance.add_run_tags(first, {"dagster/auto_retry_run_id": "the next"})  # as the daemon does
    retrying.tick()
    assert retrying.said == ["No run ended badly."]
    retrying.wait(hours=2)
    retrying.tick()
    assert receiver.bodies == []
    last = run_job(retrying.instance, dg.Failure("lost again"), dagster__will_retry="false", dagster__max_retries="0")
    assert tag(retrying.instance, last, "dagster/will_retry") == "false"
    retrying.tick()
    assert [body["run_id"] for body in receiver.bodies] == [last]


def test_a_retry_that_never_comes_is_told_of(retrying: Watch, receiver: Receiver) -> None:
    given_up, forgotten = run_job(retrying.instance, dg.Failure("a")), run_job(retrying.instance, dg.Failure("b"))
    retrying.tick()
    assert receiver.bodies == []
    retrying.instance.add_run_tags(given_up, {"dagster/will_retry": "false"})  # the daemon could not launch it
    retrying.tick()
    assert [body["run_id"] for body in receiver.bodies] == [given_up]
    retrying.wait(minutes=61)
    retrying.tick()
    assert [body["run_id"] for body in receiver.bodies] == [given_up, forgotten]


def test_what_dagster_stores_a_moment_later_is_waited_for(
    retrying: Watch, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as between:  # the event is there, whether the run will be tried again is not
        between.setattr(retrying.instance, "add_run_tags", lambda *_: None)
        run_id = run_job(retrying.instance, dg.Failure("a"))
    assert tag(retrying.instance, run_id, "dagster/will_retry") is None
    retrying.tick()
    assert receiver.bodies == []
    retrying.wait(seconds=61)
    retrying.tick()
    assert [body["run_id"] for body in receiver.bodies] == [run_id]


def tag(instance: dg.DagsterInstance, run_id: str, name: str) -> str | None:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.tags.get(name)


def test_a_success_whose_status_is_not_stored_yet_is_looked_at_again(
    watch: Watch, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, late = watch.instance.run_storage, []
    with monkeypatch.context() as between:  # the event is there, the run's status is not
        handle = storage.handle_run_event
        between.setattr(
            storage,
            "handle_run_event",
            lambda *args: late.append(args) if args[1].is_job_success else handle(*args),
        )
        with pytest.raises(AssertionError):
            run_check(watch.instance, dg.AssetCheckSeverity.ERROR)
    watch.tick()
    assert watch.said == ["Waiting to alert on 1 run, or for a retry."]
    for args in late:
        storage.handle_run_event(*args)
    watch.tick()
    assert len(receiver.bodies) == 1
