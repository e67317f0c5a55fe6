"""A server of raw bytes on loopback, for answers that no HTTP library would send."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

# Answers one request on its connection, given the path and query; says whether the connection stays open.
Answer = Callable[[socket.socket, str], bool]


class Wire:
    """Where the server is, and what it was asked: the path and query of each request, in order."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None) -> None:
        self._answer, self._tls = answer, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = {self._listener}
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.asked: list[str] = []
        self.connections = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"

    def stop(self) -> None:
        """End every connection and every thread."""
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()  # first, for it begins the others
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # told to stop
                return
            self.connections += 1
            self._open.add(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, plain: socket.socket) -> None:
        connection = plain
        with suppress(OSError):  # the other side went away, which is for it to explain
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                connection = self._tls.wrap_socket(plain, server_side=True)
                self._open.add(connection)
            while path := _request(connection):
                self.asked.append(path)
                if not self._answer(connection, path):
                    break
        self._open -= {plain, connection}
        connection.close()


@contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Wire]:
    wire = Wire(answer, tls)
    try:
        yield wire
    finally:
        wire.stop()


def reset(connection: socket.socket) -> bool:
    """End with a TCP reset in place of an orderly close: lingering for no time does that (socket(7), SO_LINGER)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def fall_silent(connection: socket.socket) -> bool:
    """Say nothing more for as long as the other side stays."""
    connection.recv(1)
    return False


def head(*headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/x-ndjson", *headers]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def _request(connection: socket.socket) -> str:
    """The path and query of the next request; empty when there is none."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        more = connection.recv(65536)
        if not more:
            return ""
        received += more
    return received.split(b" ")[1].decode()
