"""Alerts by mail and to several receivers: each gets a message once, and no part of a URL is kept anywhere."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest

from soundlink_pipeline_tests.alerts.receiver import SECRET, TOKEN, Receiver
from soundlink_pipeline_tests.alerts.watch import Watch, run_job
from soundlink_pipeline_tests.support.instances import instance_at
from soundlink_pipeline_tests.support.mail_server import PASSWORD, USER, mail_server


def mail_url(port: int) -> str:
    return f"mailto://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/?from=a@example.com&to=b@example.com"


def test_a_failed_run_is_told_by_mail(watch: Watch) -> None:
    with mail_server() as server:
        watch.url = mail_url(server.port)
        run_id = run_job(watch.instance, dg.Failure("it broke"))
        watch.tick()
    assert watch.said == [f"Sent 1 alert: {run_id}."]
    mail = server.arrived[0].mail
    assert mail["Subject"] == "Soundlink Pipeline: daily_refresh failed"
    assert mail.get_content().splitlines()[0] == "- step_0: it broke"
    assert run_id in mail.get_content()


def test_only_the_receiver_that_did_not_take_it_is_tried_again(watch: Watch, receiver: Receiver) -> None:
    with mail_server() as server:
        watch.url = f"{mail_url(server.port)}  {receiver.url}"
        server.answers["MAIL"] = "451 later"
        run_id = run_job(watch.instance, dg.Failure("a"))
        problem = watch.undelivered()
        assert "not delivered: receiver 1 of 2: the mail server refused the sender (SMTP 451)" in problem
        assert [body["run_id"] for body in receiver.bodies] == [run_id]
        del server.answers["MAIL"]
        watch.wait(minutes=1)
        watch.tick()
    assert watch.said == [f"Sent 1 alert: {run_id}."]
    assert (len(server.arrived), len(receiver.bodies)) == (1, 1)


def test_a_receiver_that_refuses_for_good_costs_no_other_its_message(watch: Watch, receiver: Receiver) -> None:
    with mail_server() as server:
        watch.url = f"{mail_url(server.port)} {receiver.url} nosuchservice://{SECRET}"
        server.answers["AUTH"] = "535 no"
        receiver.answer(503, 503, 503)
        run_job(watch.instance, dg.Failure("a"))
        problem = watch.undelivered()
        assert "receiver 1 of 3: the mail server refused the login (SMTP 535); receiver 2 of 3: " in problem
        assert "receiver 3 of 3: the URL is none that Apprise knows" in problem
        assert "attempt 1 of 12" in problem
        receiver.bodies.clear()
        watch.wait(minutes=1)
        watch.tick()
        assert (len(server.arrived), server.connections, len(receiver.bodies)) == (0, 1, 1)


def test_no_url_of_any_kind_is_in_a_file_log_error_cursor_or_repr(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[object] = []
    with instance_at(tmp_path / "instance") as instance, mail_server() as server:
        watch = Watch(instance, f"{mail_url(server.port)} nosuchservice://{TOKEN}")
        watch.tick()
        for answer in (None, f"535 {USER} {PASSWORD}"):
            if answer:
                server.answers["AUTH"] = answer
            run_job(instance, dg.Failure("a"))
            shown += [repr(watch.tick()), watch.said, watch.cursor]
        shown += [caplog.text, *capfd.readouterr()]
    assert len(server.arrived) == 1
    assert "SMTP 535" in str(shown)
    stored = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert stored
    for secret in (USER, PASSWORD, quote(PASSWORD, safe=""), TOKEN, "b@example.com"):
        assert secret not in str(shown)
        assert all(secret.encode() not in content for content in stored)
