"""Alerts: one message for each run that ends badly, over real HTTP to a receiver here; the URL is shown nowhere."""

import json
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from soundlink_pipeline import alert_delivery, alert_tick
from soundlink_pipeline.alert_message import TEXT_LIMIT, Alert, FailedCheck, FailedStep, payload
from soundlink_pipeline.alert_tick import TRIES
from soundlink_pipeline.alerts import build_alerts
from soundlink_pipeline.definitions import build_definitions, settings_from
from soundlink_pipeline.settings import Settings
from soundlink_pipeline.simulator import BREAKDOWN, Fault
from soundlink_pipeline.urls import checked_alert_url, checked_ui_url
from soundlink_pipeline_tests import deployment as deployments
from soundlink_pipeline_tests.project import KEY, environment, failure_of, project

SECRET = "T0SECRET9/B1SECRET8/xoxSECRETtoken77"
TOKEN = "q-SECRET-4471"
UI = "http://dagster.example:3000"
FAILED_PULLS = (
    "2 of 16 pulls failed; the other 14 are loaded.\n"
    "campaign_country_daily of Sleep Playlist, 2026-01-03: the API failed with HTTP 503\n"
    "campaign_country_daily of Ünïcode 🎧 Anthem, 2026-01-03: rate limited"
)


# A receiver: answers as told, then with 200


class Receiver(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[dict[str, Any]] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.silent = threading.Event()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/{SECRET}?token={TOKEN}"

    def answer(self, *statuses: int, body: bytes = b"", **headers: str) -> None:
        self.answers += [(status, {k.replace("_", "-"): v for k, v in headers.items()}, body) for status in statuses]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        if self.path != f"/services/{SECRET}?token={TOKEN}":
            self.send_error(404)
            return
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        if self.server.silent.is_set():
            self.server.released.wait(30)
            return
        status, headers, body = self.server.answers.pop(0) if self.server.answers else (200, {}, b"ok")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_delivery, "_FIRST_BACKOFF_SECONDS", 0.005)


# The sensor, evaluated tick by tick with its own cursor, as the daemon does


@dataclass
class Watch:
    instance: dg.DagsterInstance
    url: str | None
    later: timedelta = timedelta()
    cursor: str | None = None
    said: list[str] = field(default_factory=list)

    def tick(self) -> Any:
        sensor = build_alerts(lambda: self.url, UI, lambda: datetime.now(UTC) + self.later)
        with dg.build_sensor_context(self.instance, self.cursor, sensor_name=sensor.name) as context:
            done = sensor.evaluate_tick(context)
        self.cursor = done.cursor
        errors = [reaction.error.message for reaction in done.dagster_run_reactions or [] if reaction.error]
        self.said = [*errors, done.skip_message or ""]
        return done

    def error(self) -> str:
        """The error of a tick that must have one."""
        *_, reaction = self.tick().dagster_run_reactions
        assert reaction.error is not None
        return str(reaction.error.message)

    def wait(self, **time: float) -> None:
        self.later += timedelta(**time)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_at(tmp_path / "instance") as made:
        yield made


def instance_at(folder: Path, **settings: Any) -> dg.DagsterInstance:
    folder.mkdir()
    return dg.DagsterInstance.local_temp(str(folder), {"telemetry": {"enabled": False}, **settings})


@pytest.fixture
def watch(instance: dg.DagsterInstance, receiver: Receiver) -> Watch:
    watch = Watch(instance, receiver.url)
    watch.tick()  # from now on
    assert watch.said == ["Runs that end from now on are told of."]
    return watch


def run_job(instance: dg.DagsterInstance, *errors: BaseException, name: str = "daily_refresh", **tags: str) -> str:
    """A run with one step per error, each of which raises it; the id of the run."""

    def step(number: int, error: BaseException) -> dg.OpDefinition:
        @dg.op(name=f"step_{number}")
        def raising() -> None:
            raise error

        return raising

    @dg.op
    def fine() -> None:
        pass

    @dg.job(name=name, executor_def=dg.in_process_executor)
    def job() -> None:
        fine()
        for number, error in enumerate(errors):
            step(number, error)()

    spoken = {key.replace("__", "/"): value for key, value in tags.items()}
    return job.execute_in_process(instance=instance, raise_on_error=False, tags=spoken).run_id


RANGE = {
    "dagster__asset_partition_range_start": "2026-01-03",
    "dagster__asset_partition_range_end": "2026-01-10",
}


def run_check(
    instance: dg.DagsterInstance, severity: dg.AssetCheckSeverity, **result: Any
) -> dg.ExecuteInProcessResult:
    """A run that succeeds, with a check that does not (unless told)."""

    @dg.asset
    def daily() -> None:
        pass

    @dg.asset_check(asset=daily, name="data_tests")
    def data_tests() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(**{"passed": False, "severity": severity, "metadata": {"bad rows": 3}, **result})

    done = dg.materialize([daily, data_tests], instance=instance)
    assert done.success
    return done


# What is told


def test_a_failed_run_is_told_of_with_days_reason_names_and_link(watch: Watch, receiver: Receiver) -> None:
    run_id = run_job(watch.instance, dg.Failure(FAILED_PULLS), **RANGE)
    done = watch.tick()
    (body,) = receiver.bodies
    assert body["text"].splitlines() == [
        "Soundlink Pipeline: daily_refresh failed, 2026-01-03 to 2026-01-10",
        "- step_0: 2 of 16 pulls failed; the other 14 are loaded.",
        "    campaign_country_daily of Sleep Playlist, 2026-01-03: the API failed with HTTP 503",
        "    campaign_country_daily of Ünïcode 🎧 Anthem, 2026-01-03: rate limited",
        'Once that is mended, press "Re-execute from failure" in the run: what is done is not done again.',
        f"{UI}/runs/{run_id}",
    ]
    assert body["run_id"] == run_id
    assert (body["job"], body["status"]) == ("daily_refresh", "FAILURE")
    assert body["range"] == {"start": "2026-01-03", "end": "2026-01-10"}
    assert body["failures"] == [{"step": "step_0", "reason": FAILED_PULLS}]
    assert body["failed_checks"] == []
    assert body["counts"] == {"failures": 1, "failed_checks": 0}
    assert body["link"] == f"{UI}/runs/{run_id}"
    # The run's own log says that it was told of.
    (reaction,) = done.dagster_run_reactions
    assert (reaction.dagster_run.run_id, reaction.run_status, reaction.error) == (
        run_id,
        dg.DagsterRunStatus.FAILURE,
        None,
    )


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
    assert watch.said == ["No run has ended badly."]


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
        "The run succeeded. See the checks of these assets; once that is mended, materialize the assets again.",
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
    assert receiver.bodies[0]["failures"] == [{"step": "step_0", "reason": "interrupted: its process was told to end"}]


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
    assert retrying.said == ["1 runs wait for their message or their retry"]
    retrying.instance.add_run_tags(first, {"dagster/auto_retry_run_id": "the next"})  # as the daemon does
    retrying.tick()
    assert retrying.said == ["No run has ended badly."]
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
    assert watch.said == ["1 runs wait for their message or their retry"]
    for args in late:
        storage.handle_run_event(*args)
    watch.tick()
    assert len(receiver.bodies) == 1


# What the receiver does


def test_a_message_is_sent_again_after_a_passing_fault(watch: Watch, receiver: Receiver) -> None:
    receiver.answer(500)
    receiver.answer(429, retry_after="0")
    run_job(watch.instance, dg.Failure("a"))
    watch.tick()
    assert [body["failures"][0]["reason"] for body in receiver.bodies] == ["a", "a", "a"]
    assert watch.said == [""]
    watch.tick()
    assert len(receiver.bodies) == 3


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_refused_message_is_told_of_and_not_sent_again(watch: Watch, receiver: Receiver, status: int) -> None:
    receiver.answer(status, body=f"no_service {SECRET} <b>\x07".encode())
    run_id = run_job(watch.instance, dg.Failure("a"))
    error = watch.error()
    assert error == (
        f"the message on run {run_id} (daily_refresh, FAILURE) was not delivered: the receiver answered HTTP {status}:"
        " no_service [hidden]/[hidden]/[hidden] <b>; given up: it would not pass"
    )
    watch.wait(days=1)
    watch.tick()
    assert len(receiver.bodies) == 1
    assert watch.said == ["No run has ended badly."]


def test_a_receiver_that_redirects_is_not_followed(watch: Watch, receiver: Receiver) -> None:
    with Receiver() as other:
        receiver.answer(307, location=other.url)
        run_job(watch.instance, dg.Failure("a"))
        assert "redirects (HTTP 307), which is not followed" in watch.error()
        assert (len(receiver.bodies), other.bodies) == (1, [])


def test_a_receiver_that_is_down_is_asked_again_at_growing_intervals_and_not_for_ever(
    watch: Watch, receiver: Receiver
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        watch.url = f"http://127.0.0.1:{closed.getsockname()[1]}/services/{SECRET}?token={TOKEN}"
        run_id = run_job(watch.instance, dg.Failure("a"))
        pauses = [0.5 * 2**number for number in range(TRIES - 1)]
        for number, pause in enumerate(pauses, 1):
            error = watch.error()
            assert f"the message on run {run_id}" in error
            assert "the receiver could not be reached" in error
            assert f"try {number} of {TRIES}, the next in {pause:.3g} min" in error
            watch.tick()
            assert watch.said == ["1 runs wait for their message or their retry"]  # not before its time
            watch.wait(minutes=pause)
        assert sum(pauses) == pytest.approx(17 * 60, rel=0.01)
        assert f"given up after {TRIES} of {TRIES} tries" in watch.error()
    watch.url = receiver.url
    watch.wait(hours=1)
    watch.tick()
    assert receiver.bodies == []


def test_a_message_that_fails_is_delivered_later_and_holds_up_no_other(watch: Watch, receiver: Receiver) -> None:
    receiver.answer(503, 503, 503)
    first = run_job(watch.instance, dg.Failure("a"))
    assert "HTTP 503" in watch.error()
    second = run_job(watch.instance, dg.Failure("b"))
    receiver.bodies.clear()
    watch.tick()
    assert [body["run_id"] for body in receiver.bodies] == [second]
    watch.wait(minutes=1)
    watch.tick()
    assert [body["run_id"] for body in receiver.bodies] == [second, first]


def test_one_message_that_is_refused_costs_no_other_of_its_tick(watch: Watch, receiver: Receiver) -> None:
    receiver.answer(400)
    runs = [run_job(watch.instance, dg.Failure(text)) for text in "abc"]
    done = watch.tick()
    assert [body["run_id"] for body in receiver.bodies] == runs
    sent = [reaction.dagster_run.run_id for reaction in done.dagster_run_reactions if reaction.error is None]
    assert sent == runs[1:]
    assert done.dagster_run_reactions[-1].error is not None  # last: it gives the tick its colour


def test_a_run_that_cannot_be_read_costs_no_other_its_message(
    watch: Watch, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = run_job(watch.instance, dg.Failure("a")), run_job(watch.instance, dg.Failure("b"))
    read = alert_tick.read_alert

    def broken(instance: dg.DagsterInstance, run: dg.DagsterRun, ui_url: str) -> Alert | None:
        if run.run_id == bad:
            raise RuntimeError(f"cannot read {receiver.url}")
        return read(instance, run, ui_url)

    monkeypatch.setattr(alert_tick, "read_alert", broken)
    error = watch.error()
    assert bad in error
    assert "RuntimeError: cannot read [hidden]" in error
    assert [body["run_id"] for body in receiver.bodies] == [good]


def test_a_silent_receiver_costs_a_tick_its_time_and_no_more(
    watch: Watch, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_delivery, "_TRY_SECONDS", 0.2)
    monkeypatch.setattr(alert_tick, "_TICK_SECONDS", 1.5)
    receiver.silent.set()
    runs = [run_job(watch.instance, dg.Failure(text)) for text in "abcdef"]
    begun = time.monotonic()
    assert "the receiver did not answer in time" in watch.error()
    assert time.monotonic() - begun < 10  # for eighteen tries at 10 s each
    assert {body["run_id"] for body in receiver.bodies} < set(runs)
    receiver.silent.clear()
    receiver.bodies.clear()
    monkeypatch.undo()
    watch.wait(minutes=1)
    watch.tick()
    assert {body["run_id"] for body in receiver.bodies} == set(runs)


def test_the_longest_tick_ends_before_dagster_gives_it_up() -> None:
    assert alert_tick._TICK_SECONDS + 1 < 30


# When it is on


def sensor_of(url: str | None) -> dg.SensorDefinition:
    return build_definitions(Settings(), lambda: None, read_alert_url=lambda: url).resolve_sensor_def("alerts")


@pytest.mark.parametrize("url", [None, "", "  "])
def test_it_is_off_unless_there_is_a_url(url: str | None, instance: dg.DagsterInstance) -> None:
    sensor = sensor_of(url)
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
    assert "Off: set SOUNDLINK_ALERT_URL" in (sensor.description or "")
    watch = Watch(instance, url)  # and if somebody switches it on
    watch.tick()
    assert watch.said == ["SOUNDLINK_ALERT_URL is not set: there is nobody to tell"]
    assert watch.cursor is None


def test_it_is_on_where_there_is_a_url() -> None:
    sensor = sensor_of("https://hooks.slack.com/services/T0/B0/x")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert "Off" not in (sensor.description or "")


def test_what_ended_before_it_was_switched_on_is_not_told_of(instance: dg.DagsterInstance, receiver: Receiver) -> None:
    run_job(instance, dg.Failure("before"))
    watch = Watch(instance, receiver.url)
    watch.tick()
    run_job(instance, dg.Failure("after"))
    watch.tick()
    assert [body["failures"][0]["reason"] for body in receiver.bodies] == ["after"]


def test_what_failed_while_the_daemon_was_away_is_told_of_but_not_for_months(watch: Watch, receiver: Receiver) -> None:
    run_job(watch.instance, dg.Failure("on Friday"))
    watch.wait(days=2.9)
    watch.tick()
    assert len(receiver.bodies) == 1
    run_job(watch.instance, dg.Failure("in March"))
    watch.wait(days=100)
    watch.tick()
    assert len(receiver.bodies) == 1


def test_a_cursor_that_is_not_ours_begins_anew(watch: Watch, receiver: Receiver) -> None:
    for cursor in ("nonsense", "[]", '{"after": {}}', "null"):
        watch.cursor = cursor
        run_job(watch.instance, dg.Failure("a"))
        watch.tick()
        assert watch.said == ["Runs that end from now on are told of."]
    run_job(watch.instance, dg.Failure("b"))
    watch.tick()
    assert [body["failures"][0]["reason"] for body in receiver.bodies] == ["b"]


# The URL is a secret


def test_the_url_is_in_no_file_log_error_cursor_or_repr(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "dagster"):
        caplog.set_level(logging.DEBUG, name)
    shown: list[object] = []
    with instance_at(tmp_path / "instance") as instance:
        watch = Watch(instance, receiver.url)
        watch.tick()
        for statuses in ([200], [400], [307], [500, 500, 500]):
            receiver.answer(*statuses, body=f"{receiver.url} {SECRET} {TOKEN}".encode(), location=receiver.url)
            run_job(instance, dg.Failure("a"))
            shown += [repr(watch.tick()), watch.said, watch.cursor]
        watch.url = receiver.url.replace("127.0.0.1", "127.0.0.2")  # nobody listens there
        watch.wait(hours=1)
        shown.append(watch.error())
        shown += [repr(build_alerts(lambda: receiver.url, UI)), repr(Settings()), caplog.text, *capfd.readouterr()]
    assert len(receiver.bodies) == 6
    assert "httpcore" in caplog.text  # what is logged is seen
    assert "HTTP 400" in str(shown)
    stored = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert stored
    for secret in (*SECRET.split("/"), TOKEN):
        assert secret not in str(shown)
        assert all(secret.encode() not in content for content in stored)


def test_others_still_have_what_httpx_logs(watch: Watch, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "httpx")
    run_job(watch.instance, dg.Failure("a"))
    watch.tick()
    assert "httpx" not in {record.name for record in caplog.records}
    httpx.post(receiver.url.split("/services")[0], json={})
    assert "httpx" in {record.name for record in caplog.records}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"http://hooks.example.com/{SECRET}", "is plain http"),
        (f"http://192.168.0.7/{SECRET}", "is plain http"),
        (f"ftp://hooks.example.com/{SECRET}", "must be a URL such as"),
        (f"hooks.example.com/{SECRET}", "must be a URL such as"),
        (f"https://me:{TOKEN}@hooks.example.com/{SECRET}", "must hold no user name or password"),
        (f"https://hooks.example.com:port/{SECRET}", "is not a URL"),
        (f"https://xn--\u00fc/{SECRET}", "is not a URL"),
    ],
)
def test_a_url_that_cannot_be_one_stops_dagster_with_its_name_and_is_not_shown(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^SOUNDLINK_ALERT_URL {reason}") as caught:
        sensor_of(url)
    for secret in (*SECRET.split("/"), TOKEN, "hooks.example.com"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://hooks.slack.com/services/a", "http://localhost:8080/a?b=c", "http://127.0.0.7", "http://[::1]:1/a"]
)
def test_https_and_loopback_are_good(url: str) -> None:
    assert str(checked_alert_url(f" {url}\n")).startswith(url)


# Where people find the UI


def test_the_link_goes_where_the_ui_is() -> None:
    assert settings_from({}).ui_url == "http://127.0.0.1:3000"
    assert (
        settings_from({"SOUNDLINK_UI_URL": "https://dagster.example/music/"}).ui_url == "https://dagster.example/music"
    )
    assert checked_ui_url("http://10.0.0.4:3000") == "http://10.0.0.4:3000"


@pytest.mark.parametrize("text", ["dagster.example", "ftp://x", "https://a:b@x", "https://x/?a=b", "https://x:y"])
def test_a_ui_url_that_cannot_be_one_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(ValueError, match="the setting SOUNDLINK_UI_URL cannot be read from"):
        settings_from({"SOUNDLINK_UI_URL": text})


# Texts from outside

SLACK, WEBHOOK = "hooks.slack.com", "chat.example.com"
ALERT = Alert(
    run_id="8f0c",
    job="daily_refresh",
    status="FAILURE",
    days=("2026-01-03", "2026-01-10"),
    failures=[FailedStep("exports", FAILED_PULLS)],
    failed_checks=[],
    to_do="Press.",
    link=f"{UI}/runs/8f0c",
)


def of(*reasons: str, checks: Sequence[str] = ()) -> Alert:
    return replace(
        ALERT,
        failures=[FailedStep(f"step_{number}", reason) for number, reason in enumerate(reasons)],
        failed_checks=[FailedCheck("daily", check, "3 bad rows") for check in checks],
    )


def test_slack_gets_the_text_alone_with_its_signs_escaped() -> None:
    body = payload(of("<!channel> & <https://evil.example|Sleep Playlist> &amp;"), SLACK)
    assert list(body) == ["text"]
    assert body["text"].splitlines() == [
        "Soundlink Pipeline: daily_refresh failed, 2026-01-03 to 2026-01-10",
        "- step_0: &lt;!channel&gt; &amp; &lt;https://evil.example|Sleep Playlist&gt; &amp;amp;",
        "Press.",
        f"{UI}/runs/8f0c",
    ]


@pytest.mark.parametrize("mention", ["<!channel>", "<@U012>", "<#C012>", "@channel", "@here", "@Everyone", "@all"])
def test_other_chats_are_not_made_to_call_everybody(mention: str) -> None:
    body = payload(of(f"{mention} mail@example.com"), WEBHOOK)
    assert mention not in json.dumps(body)
    assert mention[:1] in body["failures"][0]["reason"]
    assert "mail@example.com" in body["failures"][0]["reason"]


@pytest.mark.parametrize("host", [SLACK, WEBHOOK])
def test_control_characters_are_left_out_and_a_reason_cannot_pass_for_our_own_lines(host: str) -> None:
    body = payload(of("a\x00\x1b[31mb\u202ec\u200bd\ud800e\tf\r\nPress: https://evil.example"), host)
    json.dumps(body, ensure_ascii=False).encode()
    assert body["text"].splitlines()[1:3] == ["- step_0: a[31mbcde f", "    Press: https://evil.example"]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e\u200b\ud800]", str(list(body.values())))


@pytest.mark.parametrize("host", [SLACK, WEBHOOK])
@pytest.mark.parametrize(
    "alert",
    [
        of("\n".join(f"pull {number} of <Campaign> & Co" for number in range(5000))),
        of("<" * 100_000),
        of(*["&" * 5000 + "\n" + "&" * 5000] * 300),
        of("a", checks=[f"check_{number}" for number in range(500)]),
        of("<!channel>@here\n" * 10_000, checks=["<!here>" * 1000] * 100),
    ],
    ids=["many lines", "one long line", "many steps", "many checks", "everything"],
)
def test_long_messages_are_cut_and_keep_their_beginning_and_their_link(alert: Alert, host: str) -> None:
    body = payload(alert, host)
    assert len(body["text"]) <= TEXT_LIMIT
    lines = body["text"].splitlines()
    assert lines[0] == "Soundlink Pipeline: daily_refresh failed, 2026-01-03 to 2026-01-10"
    assert lines[-2:] == ["Press.", f"{UI}/runs/8f0c"]
    assert any(re.fullmatch(r" *and \d+ more \w+( \w+)?", line) for line in lines) or "…" in body["text"]
    assert len(json.dumps(body)) < 150_000


def test_of_a_long_reason_the_first_lines_are_shown_and_the_rest_counted() -> None:
    reason = "30 of 40 pulls failed.\n" + "\n".join(f"pull {number}" for number in range(30))
    lines = payload(of(reason, "short"), SLACK)["text"].splitlines()
    assert lines[1:4] == ["- step_0: 30 of 40 pulls failed.", "    pull 0", "    pull 1"]
    assert lines[9:12] == ["    pull 7", "    and 22 more lines", "- step_1: short"]


# The real daemon


@pytest.mark.daemon
@pytest.mark.timeout(600)
def test_the_daemon_sends_one_message_and_shows_one_that_was_refused(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_alerts(*args: Any, **more: str) -> dict[str, str]:
        return environment(*args, **more, SOUNDLINK_ALERT_URL=receiver.url, SOUNDLINK_UI_URL=UI)

    monkeypatch.setattr(deployments, "environment", with_alerts)
    first = deployments.FIRST_DAY
    with deployments.deployment(tmp_path / "project") as here:

        def ticks(status: str) -> list[dict[str, Any]]:
            (repository,) = here.graphql(
                "{repositoriesOrError {... on RepositoryConnection {nodes {sensors {name sensorState {ticks"
                " {status skipReason error {message}}}}}}}}"
            )["repositoriesOrError"]["nodes"]
            (sensor,) = repository["sensors"]
            assert sensor["name"] == "alerts"
            return [tick for tick in sensor["sensorState"]["ticks"] if tick["status"] == status]

        deployments.until(lambda: ticks("SKIPPED"), "the sensor has begun", 120)
        receiver.answer(400, body=SECRET.encode())
        refused = here.launch(first + timedelta(days=1), first)
        (tick,) = deployments.until(lambda: ticks("FAILURE"), "the tick that could not deliver", 180)
        assert f"the message on run {refused}" in tick["error"]["message"]
        assert "HTTP 400" in tick["error"]["message"]
        told = here.launch(first + timedelta(days=2), first)
        deployments.until(lambda: ticks("SUCCESS"), "the tick that delivered", 180)
        skipped = len(ticks("SKIPPED"))
        deployments.until(lambda: len(ticks("SKIPPED")) > skipped, "one more tick", 120)
        assert [body["run_id"] for body in receiver.bodies] == [refused, told]
        body = receiver.bodies[1]
        assert body["link"] == f"{UI}/runs/{told}"
        assert body["range"] == {"start": str(first + timedelta(days=2)), "end": str(first)}
        assert "is reversed: it ends before it starts" in body["text"]
        assert any('Sensor "alerts" acted on run status FAILURE' in message for message in here.messages(told))
        stored = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for secret in (*SECRET.split("/"), TOKEN, KEY):
        assert [path for path, content in stored.items() if secret.encode() in content] == []
