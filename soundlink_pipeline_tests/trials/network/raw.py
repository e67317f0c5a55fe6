"""A client that is answered raw bytes, and such answers."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.simulator.content_encoding import encode
from soundlink_pipeline_tests.conftest import WaitingClock
from soundlink_pipeline_tests.support.project import KEY
from soundlink_pipeline_tests.support.wire import Answer
from soundlink_pipeline_tests.trials.network.account import DATES, QUICK, TLS

ROWS = b'{"a":"\xc3\xbc\xe2\x80\xa8"}\n{"b":2}\n'
GZIP = gzip.compress(ROWS, mtime=0)
MEMBERS, FRAMES = encode(ROWS, "gzip", members=2), encode(ROWS, "zstd", members=2)
COUNT, ZIPPED, CHUNKED = "X-Row-Count: 2", "Content-Encoding: gzip", "Transfer-Encoding: chunked"


def chunks(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def length(body: bytes) -> str:
    return f"Content-Length: {len(body)}"


@dataclass
class Asking:
    """A client that is answered raw bytes, and how long that took it by its own clock."""

    client: SoundlinkClient
    pacer: Pacer
    clock: WaitingClock
    to: Path
    log: list[str]

    def rows(self) -> bytes:
        self.client.download(CAMPAIGN_COUNTRY_DAILY, "c", DATES, self.to)
        return self.to.read_bytes()


@contextmanager
def asking(url: str, folder: Path, **options: Any) -> Iterator[Asking]:
    clock, log = WaitingClock(), list[str]()
    options = {"timeout": QUICK, "transport": httpx.HTTPTransport(verify=TLS), "log": log.append, **options}
    with (
        Pacer(folder / "requests.sqlite", 10_000, 100_000, cancelled=clock, now=clock) as pacer,
        SoundlinkClient(url, KEY, pacer, **options) as client,
    ):
        yield Asking(client, pacer, clock, folder / "export", log)


def sends(*pieces: bytes, then: Callable[[socket.socket], bool] = lambda _: False) -> Answer:
    def answer(connection: socket.socket, _: str) -> bool:
        for piece in pieces:
            connection.sendall(piece)
        return then(connection)

    return answer
