"""Services that Apprise knows, over real HTTP on loopback: what arrives, and that no URL is shown whatever they do."""

from __future__ import annotations

import base64
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from soundlink_pipeline.channels.receiver import File, Message, NotDelivered
from soundlink_pipeline.channels.send import send
from soundlink_pipeline.channels.services import problem_of_service
from soundlink_pipeline.settings.receivers import Receiver
from soundlink_pipeline_tests.support.loopback import answering

USER, PASSWORD, TOKEN = "somebody-SECRET1", "word-SECRET2", "token-SECRET3"
_SECRETS = ("SECRET", USER, PASSWORD, TOKEN)
MESSAGE = Message(
    title="daily_refresh failed",
    text="- exports: <b>Größe</b> & so on",
    slack="",
    files=(File("report.html", "text/html", b"<h1>page</h1>"),),
)


class Service(ThreadingHTTPServer):
    """Takes what Apprise's json:// sends. `status` is its answer; `drips`: one byte of it every tenth of a second."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[dict[str, Any]] = []
        self.status = 200
        self.drips = False
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"json://{USER}:{PASSWORD}@127.0.0.1:{self.server_port}/hooks/{TOKEN}"

    def handle_error(self, *_: object) -> None:
        pass


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        echo = f"{self.path} {self.headers['authorization']} {USER} {PASSWORD}".encode()
        self.send_response(self.server.status, PASSWORD)
        self.send_header("content-length", str(len(echo)))
        self.end_headers()
        for byte in echo if self.server.drips else b"":
            self.wfile.write(bytes([byte]))
            if self.server.released.wait(0.1):
                return
        if not self.server.drips:
            self.wfile.write(echo)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with answering(Service()) as server:
        yield server


def sent(url: str, seconds: float = 20) -> str:
    return send(Receiver(url, "SOUNDLINK_ALERT_URL"), MESSAGE, seconds)


def refusal(url: str, seconds: float = 20) -> NotDelivered:
    with pytest.raises(NotDelivered) as raised:
        sent(url, seconds)
    assert raised.value.__cause__ is None
    for secret in _SECRETS:
        assert secret not in str(raised.value)
    return raised.value


def test_a_service_gets_title_text_and_the_page(service: Service) -> None:
    assert sent(service.url) == ""
    [body] = service.bodies
    assert (body["title"], body["message"]) == (MESSAGE.title, MESSAGE.text)
    [attached] = body["attachments"]
    assert attached["filename"] == "report.html"
    assert base64.b64decode(attached["base64"]) == b"<h1>page</h1>"


@pytest.mark.parametrize(("status", "passing"), [(500, True), (503, True), (429, True), (401, False), (404, False)])
def test_an_answer_that_refuses_is_told_by_its_status_alone(service: Service, status: int, passing: bool) -> None:
    service.status = status
    found = refusal(service.url)
    assert (str(found), found.passing) == (f"the service answered HTTP {status}", passing)
    assert len(service.bodies) == 1


def test_a_service_that_nobody_answers_for_is_a_passing_fault() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        found = refusal(f"json://{USER}:{PASSWORD}@127.0.0.1:{closed.getsockname()[1]}/{TOKEN}")
    assert (str(found), found.passing) == ("the service could not be reached", True)


def test_a_service_that_drips_its_answer_costs_the_given_time_and_no_more(service: Service) -> None:
    service.drips = True
    begun = time.monotonic()
    found = refusal(service.url, seconds=3)
    assert time.monotonic() - begun < 30
    assert (str(found), found.passing) == ("the receiver did not answer in time", True)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (f"nosuchservice://{TOKEN}", "the URL is none that Apprise knows"),
        (f"ftp://{USER}:{PASSWORD}@example.com/{TOKEN}", "the URL is none that Apprise knows"),
        (f"slack://{TOKEN}", "the URL is none that Apprise knows"),
        (f"json://{USER}:{PASSWORD}@example.com/{TOKEN}", "would travel in clear"),
        (f"mailto://{USER}:{PASSWORD}@example.com", "would travel in clear"),
        (f"jsons://{USER}:{PASSWORD}@example.com/{TOKEN}", ""),
        (f"mailtos://{USER}:{PASSWORD}@example.com?to=anna@example.com", ""),
        ("tgram://123456789:abcdefg_hijklmnop-qrstuvwxyzabcdef/12345/", ""),
        ("ntfys://some-topic", ""),
    ],
)
def test_a_url_is_checked_without_sending_anything(url: str, problem: str) -> None:
    found = problem_of_service(url)
    assert problem in found
    assert bool(found) == bool(problem)
    for secret in _SECRETS:
        assert secret not in found


def test_nothing_is_shown_with_logging_at_debug(
    service: Service, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for status in (200, 500, 404):
        service.status = status
        try:
            sent(service.url)
        except NotDelivered as problem:
            caplog.handler.stream.write(repr(problem))
    shown = [caplog.text, *capfd.readouterr()]
    assert "HTTP 500" in shown[0]
    assert not [secret for secret in _SECRETS for text in shown if secret in text]


def test_the_process_that_sends_shows_only_its_answer_whatever_it_is_given(service: Service) -> None:
    service.status = 500
    message = {"title": "a", "text": "b", "html": "", "pictures": [], "files": []}
    for order in (
        {"url": service.url, "seconds": 5, "message": message},
        {"url": f"json://{PASSWORD}@[::", "seconds": 5, "message": message},
        {"url": service.url, "seconds": PASSWORD, "message": message},
        {"url": service.url, "seconds": 5, "message": {"title": PASSWORD}},
    ):
        command = [sys.executable, "-P", "-m", "soundlink_pipeline.channels.service_process"]
        done = subprocess.run(command, input=json.dumps(order).encode(), capture_output=True, check=False)
        assert json.loads(done.stdout)["problem"]
        assert not [secret for secret in _SECRETS if secret.encode() in done.stdout]


def test_definitions_load_without_apprise_also_where_a_receiver_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDLINK_ALERT_URL", "mailtos://someone:word@example.com")
    code = (
        "import sys, soundlink_pipeline.definitions as d; d.defs().get_repository_def();print('apprise' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
