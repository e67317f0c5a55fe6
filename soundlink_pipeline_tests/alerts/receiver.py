"""A receiver of alerts, over real HTTP: it answers as told, then with 200, under a URL that is a secret."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "T0SECRET9/B1SECRET8/xoxSECRETtoken77"
TOKEN = "q-SECRET-4471"


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
