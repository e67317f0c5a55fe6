"""Servers of tests that answer in a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar


class _Server(Protocol):
    released: threading.Event  # what hangs until it is set

    def serve_forever(self, poll_interval: float) -> None: ...
    def shutdown(self) -> None: ...
    def server_close(self) -> None: ...


ServerT = TypeVar("ServerT", bound=_Server)


@contextmanager
def answering(server: ServerT) -> Iterator[ServerT]:
    """The server, which answers for the block; what it keeps hanging ends with that."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
