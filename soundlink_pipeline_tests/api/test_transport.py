"""What passes the client's transport: every request that is sent, over the proxy that the environment names."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from soundlink_pipeline.api.auth import KeyAuth
from soundlink_pipeline.api.errors import KeyRefused, Unreachable
from soundlink_pipeline.api.key import ApiKey
from soundlink_pipeline.api.pacing import Cancelled, Pacer
from soundlink_pipeline.simulator import Simulator
from soundlink_pipeline_tests.api.shared import KEY, Connect, mocked, schemes
from soundlink_pipeline_tests.conftest import WaitingClock
from soundlink_pipeline_tests.support.wire import fall_silent, head, serving

ELSEWHERE = [
    "https://elsewhere.example/v1",
    "http://api.example/v1",
    "https://api.example:8443/v1",
    "https://a@api.example",
]


def test_each_request_that_is_sent_is_paced_and_counted(
    server: Simulator, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one of finding out how the key is sent, a redirect and a retry too."""
    acquire, acquired = Pacer.acquire, list[int]()

    def counted(pacer: Pacer) -> None:
        acquired.append(len(server.stats.records))
        acquire(pacer)

    monkeypatch.setattr(Pacer, "acquire", counted)
    server.generation = 1
    server.faults.add("redirect", location="/v1/ping")
    server.faults.add("status", status=500)
    client = connect()
    client.ping()
    assert schemes(server) == ["bearer", "x-api-key", "x-api-key", "x-api-key"]
    assert [record.status for record in server.stats.records] == [401, 302, 500, 200]
    assert acquired == [0, 1, 2, 3]
    assert client.requests == 4


def test_a_run_that_is_cancelled_does_not_send_the_key_a_second_time(connect: Connect, clock: WaitingClock) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        clock.set()
        return httpx.Response(401, json={"error": {"code": "invalid_api_key"}})

    client = mocked(connect, answer)
    with pytest.raises(Cancelled):
        client.ping()
    assert client.requests == 1


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_request_to_anywhere_else_gets_no_key(url: str) -> None:
    auth = KeyAuth(ApiKey(KEY), "auto", httpx.URL("https://api.example/base"))
    request = next(auth.sync_auth_flow(httpx.Request("GET", url)))
    assert not {"x-api-key", "authorization"} & request.headers.keys()
    request = next(auth.sync_auth_flow(httpx.Request("GET", "https://api.example/v1")))
    assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("piece", [b"", b'{"error":', b" " * 65536], ids=["nothing", "cut", "endless"])
def test_a_401_that_names_no_code_is_the_last_word_on_the_key(connect: Connect, piece: bytes) -> None:
    sent: list[int] = []

    def broken() -> Iterator[bytes]:
        while len(sent) < 1000:
            sent.append(len(piece))
            yield piece
            if len(piece) < 100:
                raise httpx.ReadError("cut")

    client = mocked(connect, lambda _: httpx.Response(401, content=broken()))
    with pytest.raises(KeyRefused, match=r"the API refuses the key$"):
        client.ping()
    assert client.requests == 1
    assert sum(sent) < 16 << 20


def test_aborting_ends_a_request_that_waits_for_a_silent_server_and_those_to_come(connect: Connect) -> None:
    def fall_silent_then_abort(connection: socket.socket, _: str) -> bool:
        client.abort()
        return fall_silent(connection)

    with serving(fall_silent_then_abort) as wire, ThreadPoolExecutor(1) as thread:
        client = connect(base_url=wire.url, tries=2)
        with pytest.raises(Unreachable, match="broke before the answer was whole"):
            thread.submit(client.ping).result(timeout=20)
        assert client.requests == 2


# Proxies


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def refuse(connection: socket.socket, _: str) -> bool:
    connection.sendall(head(status="403 Forbidden"))
    return False


@pytest.mark.usefixtures("no_proxy")
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("excepted", ["", "other.example", "[::1]", "api.invalid", "*"])
def test_https_goes_through_the_proxy_of_the_environment(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, name: str, excepted: str
) -> None:
    monkeypatch.setenv("NO_PROXY", excepted)
    with serving(refuse) as proxy:
        monkeypatch.setenv(name, proxy.url)
        client = connect(base_url="https://api.invalid", transport=None, tries=1)
        with pytest.raises(Unreachable) as raised:
            client.ping()
        by_proxy = excepted in ("", "other.example", "[::1]")
        assert proxy.asked == (["api.invalid:443"] if by_proxy else [])
        assert ("403 Forbidden" in str(raised.value)) == by_proxy


@pytest.mark.usefixtures("no_proxy")
def test_https_goes_through_a_proxy_that_is_named_without_a_scheme(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(refuse) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.removeprefix("http://"))
        with pytest.raises(Unreachable, match="403 Forbidden"):
            connect(base_url="https://api.invalid", transport=None, tries=1).ping()
        assert proxy.asked == ["api.invalid:443"]


@pytest.mark.usefixtures("no_proxy")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_reached_without_the_proxy_also_over_tls(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    with serving(refuse) as proxy, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # but nobody listens
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(Unreachable, match=rf"{host} could not be reached: .*refused"):
            connect(base_url=f"https://{host}:{taken.getsockname()[1]}", transport=None, tries=1).ping()
        assert proxy.connections == 0


@pytest.mark.usefixtures("no_proxy")
def test_a_proxy_that_cannot_be_used_is_one_sentence(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://someone:hidden@proxy.example")
    with pytest.raises(ValueError, match=r"^the setting all_proxy cannot be used: ") as raised:
        connect(base_url="https://api.invalid", transport=None)
    assert "hidden" not in str(raised.value)
