"""Alerts, whatever the receiver does: each is delivered or reported as undelivered, and delays no other."""

import json
import socket
import time

import dagster as dg
import httpx
import pytest

from soundlink_pipeline.alerts import message, tick
from soundlink_pipeline.alerts.message import Alert
from soundlink_pipeline.alerts.tick import TRIES
from soundlink_pipeline.channels import webhook
from soundlink_pipeline.channels.receiver import NotDelivered
from soundlink_pipeline.channels.webhook import deliver
from soundlink_pipeline_tests.alerts.receiver import SECRET, TOKEN, Receiver
from soundlink_pipeline_tests.alerts.watch import Watch, run_job


def test_a_message_is_sent_again_after_a_passing_fault(watch: Watch, receiver: Receiver) -> None:
    receiver.answer(500)
    receiver.answer(429, retry_after="0")
    run_id = run_job(watch.instance, dg.Failure("a"))
    watch.tick()
    assert [body["failures"][0]["reason"] for body in receiver.bodies] == ["a", "a", "a"]
    assert watch.said == [f"Sent 1 alert: {run_id}."]
    watch.tick()
    assert len(receiver.bodies) == 3


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_refused_message_is_told_of_and_not_sent_again(watch: Watch, receiver: Receiver, status: int) -> None:
    receiver.answer(status, body=f"no_service {SECRET} <b>\x07".encode())
    run_id = run_job(watch.instance, dg.Failure("a"))
    error = watch.undelivered()
    assert error == (
        f"Alert for run {run_id} (daily_refresh, FAILURE) not delivered: the receiver answered HTTP {status}:"
        " no_service [hidden]/[hidden]/[hidden] <b>; not retried (permanent error)"
    )
    assert watch.log_of(run_id) == [error]
    watch.wait(days=1)
    watch.tick()
    assert len(receiver.bodies) == 1
    assert watch.said == ["No run ended badly."]


def test_a_receiver_that_redirects_is_not_followed(watch: Watch, receiver: Receiver) -> None:
    with Receiver() as other:
        receiver.answer(307, location=other.url)
        run_job(watch.instance, dg.Failure("a"))
        assert "redirects (HTTP 307), which is not followed" in watch.undelivered()
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
            error = watch.undelivered()
            assert f"Alert for run {run_id}" in error
            assert "the receiver could not be reached" in error
            assert f"attempt {number} of {TRIES}, retrying in {pause:.3g} min" in error
            watch.tick()
            assert watch.said == ["Waiting to alert on 1 run, or for a retry."]  # not before its time
            watch.wait(minutes=pause)
        assert sum(pauses) == pytest.approx(17 * 60, rel=0.01)
        assert f"not retried ({TRIES} attempts failed)" in watch.undelivered()
    watch.url = receiver.url
    watch.wait(hours=1)
    watch.tick()
    assert receiver.bodies == []


def test_a_message_that_fails_is_delivered_later_and_holds_up_no_other(watch: Watch, receiver: Receiver) -> None:
    receiver.answer(503, 503, 503)
    first = run_job(watch.instance, dg.Failure("a"))
    assert "HTTP 503" in watch.undelivered()
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
    assert f"Alert for run {runs[0]}" in watch.undelivered()
    assert [body["run_id"] for body in receiver.bodies] == runs
    assert watch.said[1:] == [f"Sent 2 alerts: {runs[1]}, {runs[2]}."]


def test_a_run_that_cannot_be_read_costs_no_other_its_message(
    watch: Watch, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = run_job(watch.instance, dg.Failure("a")), run_job(watch.instance, dg.Failure("b"))
    read = message.read_alert

    def broken(instance: dg.DagsterInstance, run: dg.DagsterRun, ui_url: str) -> Alert | None:
        if run.run_id == bad:
            raise RuntimeError(f"cannot read {receiver.url}")
        return read(instance, run, ui_url)

    monkeypatch.setattr(tick, "read_alert", broken)
    error = watch.undelivered()
    assert bad in error
    assert "RuntimeError: cannot read [hidden]" in error
    assert [body["run_id"] for body in receiver.bodies] == [good]


def test_a_silent_receiver_costs_a_tick_its_time_and_no_more(
    watch: Watch, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "_TRY_SECONDS", 0.2)
    monkeypatch.setattr(tick, "_TICK_SECONDS", 1.5)
    receiver.silent.set()
    runs = [run_job(watch.instance, dg.Failure(text)) for text in "abcdef"]
    begun = time.monotonic()
    assert "the receiver did not answer in time" in watch.undelivered()
    assert time.monotonic() - begun < 10  # for eighteen tries at 10 s each
    assert {body["run_id"] for body in receiver.bodies} < set(runs)
    receiver.silent.clear()
    receiver.bodies.clear()
    monkeypatch.undo()
    watch.wait(minutes=1)
    watch.tick()
    assert {body["run_id"] for body in receiver.bodies} == set(runs)


def test_the_longest_tick_ends_before_dagster_gives_it_up() -> None:
    assert tick._TICK_SECONDS + 1 < 30


def test_the_cursor_keeps_what_was_not_delivered_until_it_is_or_for_three_days(
    watch: Watch, receiver: Receiver
) -> None:
    receiver.answer(400)
    given_up = run_job(watch.instance, dg.Failure("a"))
    watch.undelivered()
    receiver.answer(503, 503, 503)
    retried = run_job(watch.instance, dg.Failure("b"))
    watch.undelivered()
    state = tick.State.read(watch.cursor)
    assert state is not None
    assert {run_id: item.message.partition(" (")[0] for run_id, item in state.undelivered.items()} == {
        given_up: f"Alert for run {given_up}",
        retried: f"Alert for run {retried}",
    }
    watch.wait(minutes=1)
    watch.tick()
    assert watch.said == [f"Sent 1 alert: {retried}."]
    state = tick.State.read(watch.cursor)
    assert state is not None
    assert list(state.undelivered) == [given_up]
    watch.wait(days=3)
    watch.tick()
    state = tick.State.read(watch.cursor)
    assert state is not None
    assert state.undelivered == {}


def test_a_cursor_of_the_version_before_is_read_with_what_it_holds(watch: Watch, receiver: Receiver) -> None:
    receiver.answer(503, 503, 503)
    run_id = run_job(watch.instance, dg.Failure("a"))
    watch.undelivered()
    cursor = json.loads(watch.cursor or "")
    del cursor["undelivered"]
    assert cursor.keys() == {"after", "held", "told"}
    del cursor["held"][run_id]["done"], cursor["held"][run_id]["receivers"]
    assert cursor["held"][run_id].keys() == {"ended", "tries", "due"}
    watch.cursor = json.dumps(cursor)
    watch.wait(minutes=1)
    watch.tick()
    assert watch.said == [f"Sent 1 alert: {run_id}."]


@pytest.mark.parametrize(
    ("proxy", "reason"),
    [
        ("socks5://someone:hidden@proxy.example:1080", "the setting https_proxy cannot be used"),
        ("http://someone:hidden@127.0.0.1:9", "could not be reached"),
    ],
)
def test_a_proxy_that_is_no_use_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, proxy: str, reason: str
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("NO_PROXY", "[::1]")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(NotDelivered, match=reason) as raised:
        deliver(httpx.URL("https://hooks.invalid/x"), {}, 10)
    assert "hidden" not in str(raised.value)
