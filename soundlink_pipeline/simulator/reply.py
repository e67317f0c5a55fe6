"""An answer and the way its bytes travel: whole, in pieces, slowly, or not to the end."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

from starlette.types import Receive, Scope, Send

from soundlink_pipeline.simulator.access import ApiError
from soundlink_pipeline.simulator.encoding import dumps

NDJSON = "application/x-ndjson"
JSON = "application/json"
CHUNK = 512 * 1024


@dataclass
class Wire:
    """How the answer misbehaves on its way; the defaults are good behaviour."""

    chunked: bool = False  # no Content-Length: chunked transfer encoding
    chunk_size: int = CHUNK
    pause: float = 0.0  # seconds after each piece
    stall: float = 0.0  # seconds of silence …
    stall_after: int | None = None  # … after so many bytes of body; None: before the headers
    cut_after: int | None = None  # the connection ends after so many bytes of body
    reset: bool = False  # the end is a TCP reset, not an orderly close
    disconnect: bool = False  # the connection ends before the first byte


@dataclass
class Reply:
    """An ASGI application that sends one answer. A ``Path`` as body is streamed from disk."""

    body: bytes | Path
    status: int = 200
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    wire: Wire = field(default_factory=Wire)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wire = self.wire
        if wire.stall and wire.stall_after is None:
            await _silence(receive, wire.stall)
        if wire.disconnect:
            await _hang_up(scope, receive, reset=wire.reset)
            return
        await send({"type": "http.response.start", "status": self.status, "headers": self._raw_headers()})
        sent = 0
        for piece in self._pieces():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            sent += len(piece)
            if wire.pause:
                await _silence(receive, wire.pause)
            if wire.stall and sent == wire.stall_after:
                await _silence(receive, wire.stall)
            if sent == wire.cut_after:
                await _hang_up(scope, receive, reset=wire.reset)
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _raw_headers(self) -> list[tuple[bytes, bytes]]:
        headers = {"Content-Type": self.content_type, **self.headers}
        if not self.wire.chunked:
            headers["Content-Length"] = str(self.size())
        return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]

    def size(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else self.body.stat().st_size

    def _pieces(self) -> Iterator[bytes]:
        """The body in pieces, with a seam wherever something is to happen (an empty piece when that is at 0)."""
        size = self.size()
        stops = {stop for stop in (self.wire.stall_after, self.wire.cut_after) if stop is not None and stop < size}
        position = 0
        if 0 in stops:
            yield b""
        with BytesIO(self.body) if isinstance(self.body, bytes) else self.body.open("rb") as source:
            while position < size:
                seam = min((stop for stop in stops if stop > position), default=size)
                piece = source.read(min(self.wire.chunk_size, seam - position))
                position += len(piece)
                yield piece


def data_reply(data: Any) -> Reply:
    """200 with the JSON envelope."""
    return json_reply({"data": data, "meta": {"requestId": str(uuid4())}})


def error_reply(error: ApiError) -> Reply:
    return json_reply(error.content(), status=error.status, headers=error.headers)


def json_reply(content: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    return Reply(dumps(content).encode(), status=status, headers=dict(headers or {}))


async def _silence(receive: Receive, seconds: float) -> None:
    """Wait, but not longer than the client does: a stalled answer never delays the server's end."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(_gone(receive), seconds)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _hang_up(scope: Scope, receive: Receive, *, reset: bool) -> None:
    """Close the connection under the answer. The server puts its transport into the scope for this."""
    transport: asyncio.Transport = scope["state"]["transport"]
    if reset:
        # Lingering for no time makes the kernel send RST in place of FIN (socket(7), SO_LINGER).
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.close()
    await _gone(receive)
