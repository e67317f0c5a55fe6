"""How requests leave: each waits for its turn, is counted, and can be cut off.

Redirects, retries and a second way of sending the key are requests like any other: all of them pass here.
"""

from __future__ import annotations

import socket
import ssl
import threading
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx

from soundlink_pipeline.api.content_encoding import DecodedStream
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.settings.proxies import proxy_for

# An export may take the server a while to begin; once it flows, a silence this long means it is dead.
TIMEOUT = httpx.Timeout(connect=10.0, read=120.0, write=30.0, pool=None)
# An error is a few hundred bytes of JSON. httpx reads the one that an auth flow looks at whole, so it must end.
_LARGEST_ERROR_BYTES = 1 << 20


class PacedTransport(httpx.BaseTransport):
    """Sends each request over `inner` when `pacer` allows it. Thread-safe; `requests` counts those sent.

    Raises Cancelled, besides what `inner` raises.
    """

    def __init__(self, inner: httpx.BaseTransport, pacer: Pacer) -> None:
        self._inner = inner
        self._pacer = pacer
        self._lock = threading.Lock()
        self.requests = 0
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._aborted = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._pacer.acquire()
        with self._lock:
            self.requests += 1
        request.extensions["trace"] = self._trace
        response = _without_encoding(self._inner.handle_request(request))
        if response.status_code != 200 and isinstance(response.stream, httpx.SyncByteStream):
            response.stream = _Bounded(response.stream)
        return response

    def close(self) -> None:
        self._inner.close()

    def abort(self) -> None:
        """Shut every connection down, so that a request that waits for a silent server fails now."""
        self._aborted = True
        for connection in list(self._sockets):
            _shut_down(connection)

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        """httpx's trace hook: records each socket for `abort`, since closing a client does not wake a blocked read."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            connection = info["return_value"].get_extra_info("socket")
            self._sockets.add(connection)
            if self._aborted:
                _shut_down(connection)


def direct_transport(base_url: httpx.URL) -> httpx.BaseTransport:
    """A transport to one host, over the proxy that the environment names for it.

    Plain http is for loopback and needs none of the certificates that httpx takes long to load. Raises ValueError for a
    proxy that cannot be used.
    """
    if base_url.scheme == "http":
        return httpx.HTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), trust_env=False)
    return httpx.HTTPTransport(proxy=proxy_for(base_url))


def transport_message(fault: httpx.TransportError, host: str) -> str:
    """Why no whole answer came, in words. It may show what came from outside."""
    if isinstance(fault, httpx.ConnectTimeout):
        return f"{host} could not be reached: no connection in time"
    if isinstance(fault, httpx.TimeoutException):
        return f"{host} fell silent: no byte in time"
    if isinstance(fault, httpx.ConnectError):
        return f"{host} could not be reached: {fault}"
    return f"the connection to {host} broke before the answer was whole: {fault}"


def _without_encoding(response: httpx.Response) -> httpx.Response:
    """The answer with its body decoded here, and not by httpx, which it tells of no encoding."""
    encoding = response.headers.get("content-encoding")
    if encoding is None or not isinstance(response.stream, httpx.SyncByteStream):
        return response
    headers = [(name, value) for name, value in response.headers.raw if name.lower() != b"content-encoding"]
    return httpx.Response(
        response.status_code,
        headers=headers,
        stream=DecodedStream(response.stream, encoding),
        extensions=response.extensions,
    )


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # closed already
        connection.shutdown(socket.SHUT_RDWR)


class _Bounded(httpx.SyncByteStream):
    """The body of an error answer, as long as one may be."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._stream:
            size += len(chunk)
            if size > _LARGEST_ERROR_BYTES:
                raise httpx.ReadError(f"an error answer of more than {_LARGEST_ERROR_BYTES >> 10} KiB")
            yield chunk

    def close(self) -> None:
        self._stream.close()
