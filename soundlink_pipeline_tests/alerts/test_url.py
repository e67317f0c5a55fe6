"""Alerts are on where there is a URL, which is shown nowhere; their link goes where the UI is."""

import logging
from pathlib import Path

import dagster as dg
import httpx
import pytest

from soundlink_pipeline.alerts.sensor import build_alerts
from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.settings.receivers import ALERT_URL, receivers_of
from soundlink_pipeline.settings.settings import Settings, settings_from
from soundlink_pipeline.settings.urls import checked_ui_url
from soundlink_pipeline_tests.alerts.receiver import SECRET, TOKEN, Receiver
from soundlink_pipeline_tests.alerts.watch import UI, Watch, run_job
from soundlink_pipeline_tests.support.instances import instance_at
from soundlink_pipeline_tests.support.sql_folder import without_models

# When it is on


def sensor_of(url: str | None) -> dg.SensorDefinition:
    settings = Settings(sql_dir=without_models())
    return build_definitions(settings, lambda _: None, read_receivers={ALERT_URL: url}.get).resolve_sensor_def("alerts")


@pytest.mark.parametrize("url", [None, "", "  "])
def test_it_is_off_unless_there_is_a_url(url: str | None, instance: dg.DagsterInstance) -> None:
    sensor = sensor_of(url)
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
    assert "Off: set SOUNDLINK_ALERT_URL" in (sensor.description or "")
    watch = Watch(instance, url)  # and if somebody switches it on
    watch.tick()
    assert watch.said == ["No alert receiver: SOUNDLINK_ALERT_URL is not set."]
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
        assert watch.said == ["Alerts start with runs that end after this tick."]
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
        shown.append(watch.undelivered())
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
    [receiver] = receivers_of(ALERT_URL, f" {url}\n")
    assert receiver.url.startswith(url)


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
