"""Both generations of authentication, found by the client itself; the key is nowhere but in its header."""

import json
import logging
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from soundlink_pipeline.api.auth import SchemeMemory
from soundlink_pipeline.api.errors import (
    KeyRefused,
    RateLimited,
    RequestRefused,
    ScopeMissing,
    ServerFault,
    SoundlinkError,
    WrongContent,
)
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.simulator import Simulator
from soundlink_pipeline_tests.api.shared import (
    DATES,
    KEY,
    QUICK,
    Connect,
    download,
    everything_said,
    mocked,
    schemes,
    truth,
)


def test_the_present_generation_is_asked_with_bearer_alone(server: Simulator, connect: Connect, tmp_path: Path) -> None:
    client = connect()
    client.ping()
    client.listed(CAMPAIGN)
    download(client, server, tmp_path / "export")
    assert schemes(server) == ["bearer"] * 3


def test_the_first_generation_is_found_once_and_remembered(server: Simulator, connect: Connect, tmp_path: Path) -> None:
    server.generation = 1
    client = connect()
    client.ping()
    client.listed(CAMPAIGN)
    download(client, server, tmp_path / "export")
    assert schemes(server) == ["bearer", "x-api-key", "x-api-key", "x-api-key"]
    assert [record.status for record in server.stats.records] == [401, 200, 200, 200]


@pytest.mark.parametrize("generation", [1, 2])
def test_what_a_server_takes_is_remembered_by_other_clients(
    server: Simulator, connect: Connect, tmp_path: Path, generation: int
) -> None:
    server.generation = generation
    connect(memory=SchemeMemory(tmp_path)).ping()
    server.stats.reset()
    connect(memory=SchemeMemory(tmp_path)).ping()
    assert [record.status for record in server.stats.records] == [200]
    (file,) = tmp_path.glob("*scheme*")
    assert json.loads(file.read_text()) == {server.base_url: ("x-api-key", "bearer")[generation - 1]}
    # One server is not another.
    mocked(connect, lambda _: httpx.Response(200, json={}), memory=SchemeMemory(tmp_path)).ping()
    assert json.loads(file.read_text())["https://api.example"] == "bearer"


def test_a_memory_that_may_not_write_reads(server: Simulator, connect: Connect, tmp_path: Path) -> None:
    server.generation = 1
    connect(memory=SchemeMemory(tmp_path, writes=False)).ping()
    assert not list(tmp_path.glob("*scheme*"))
    connect(memory=SchemeMemory(tmp_path)).ping()
    server.stats.reset()
    connect(memory=SchemeMemory(tmp_path, writes=False)).ping()
    assert schemes(server) == ["x-api-key"]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"SERVER": "basic"}', "[" * 100_000, "\ud800"])
def test_a_damaged_memory_costs_one_request(server: Simulator, connect: Connect, tmp_path: Path, text: str) -> None:
    server.generation = 1
    connect(memory=SchemeMemory(tmp_path)).ping()
    (file,) = tmp_path.glob("*scheme*")
    file.write_bytes(text.replace("SERVER", server.base_url).encode(errors="surrogatepass"))
    server.stats.reset()
    connect(memory=SchemeMemory(tmp_path)).ping()
    assert schemes(server) == ["bearer", "x-api-key"]
    assert json.loads(file.read_text())[server.base_url] == "x-api-key"


@pytest.mark.parametrize(("before", "now", "asked"), [(1, 2, ["x-api-key", "bearer"]), (2, 1, ["bearer", "x-api-key"])])
def test_a_server_that_has_moved_on_is_asked_once_anew(
    server: Simulator, connect: Connect, tmp_path: Path, before: int, now: int, asked: list[str]
) -> None:
    server.generation = before
    client = connect(memory=SchemeMemory(tmp_path))
    client.ping()
    server.generation = now
    server.stats.reset()
    client.ping()
    client.ping()
    connect(memory=SchemeMemory(tmp_path)).ping()
    assert schemes(server) == [*asked, asked[1], asked[1]]


def test_a_key_that_is_no_longer_known_is_asked_once_anew(server: Simulator, connect: Connect) -> None:
    client = connect()
    client.ping()
    server.stats.reset()
    refusal = {"status": 401, "code": "invalid_api_key"}
    server.faults.add("status", **refusal, times=None)
    for _ in range(3):
        with pytest.raises(KeyRefused):
            client.ping()
    assert schemes(server) == ["bearer", "x-api-key", "bearer", "bearer"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 404, "code": "campaign_not_found"}, RequestRefused),
        ({"status": 500}, ServerFault),
        ({"status": 429, "code": "rate_limit_exceeded"}, RateLimited),
    ],
)
def test_the_way_in_is_remembered_even_where_the_answer_is_an_error(
    server: Simulator, connect: Connect, fault: dict[str, Any], error: type[SoundlinkError]
) -> None:
    """Else every try costs two requests."""

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append("x-api-key" if "x-api-key" in request.headers else "bearer")
        if sent[-1] == "bearer":
            return httpx.Response(401, json={"error": {"code": "invalid_token", "message": ""}})
        return httpx.Response(fault["status"], json={"error": {"code": fault.get("code"), "message": ""}})

    sent: list[str] = []
    client = mocked(connect, answer, tries=3)
    with pytest.raises(error):
        client.ping()
    with pytest.raises(error):
        client.ping()
    assert Counter(sent)["bearer"] == 1


@pytest.mark.parametrize(("generation", "auth"), [(1, "x-api-key"), (2, "bearer")])
def test_a_pinned_scheme_is_the_only_one(server: Simulator, connect: Connect, generation: int, auth: str) -> None:
    server.generation = generation
    connect(auth=auth).ping()
    assert schemes(server) == [auth]


@pytest.mark.parametrize(("generation", "auth"), [(2, "x-api-key"), (1, "bearer")])
def test_a_scheme_that_was_pinned_wrongly_is_not_exchanged(
    server: Simulator, connect: Connect, generation: int, auth: str
) -> None:
    server.generation = generation
    with pytest.raises(KeyRefused):
        connect(auth=auth).ping()
    assert schemes(server) == [auth]


@pytest.mark.parametrize(
    ("key", "generation", "code", "asked", "advice"),
    [
        ("sk_test_unknown", 1, "invalid_api_key", ["bearer", "x-api-key"], "check SOUNDLINK_API_KEY"),
        ("sk_test_unknown", 2, "invalid_api_key", ["bearer", "x-api-key"], "check SOUNDLINK_API_KEY"),
        ("sk_test_revoked", 1, "api_key_revoked", ["bearer", "x-api-key"], "revoked; create a new one"),
        ("sk_test_revoked", 2, "api_key_revoked", ["bearer"], "revoked; create a new one"),
        ("sk_test_expired", 1, "api_key_expired", ["bearer", "x-api-key"], "expired; create a new one"),
        ("sk_test_expired", 2, "api_key_expired", ["bearer"], "expired; create a new one"),
    ],
)
def test_a_refused_key_is_told_for_what_it_is(
    server: Simulator, connect: Connect, key: str, generation: int, code: str, asked: list[str], advice: str
) -> None:
    server.generation = generation
    with pytest.raises(KeyRefused, match=f"{advice}.*code {code}, requestId ") as raised:
        connect(key=key).ping()
    assert raised.value.code == code
    assert raised.value.fatal
    assert schemes(server) == asked


def test_a_proxy_that_adds_credentials_is_suspected(server: Simulator, connect: Connect) -> None:
    server.faults.add("status", status=401, code="mixed_credentials")
    with pytest.raises(KeyRefused, match="does a proxy add an Authorization header"):
        connect().ping()


@pytest.mark.parametrize("generation", [1, 2])
def test_a_missing_scope_is_named(server: Simulator, connect: Connect, tmp_path: Path, generation: int) -> None:
    server.generation = generation
    with pytest.raises(ScopeMissing, match=r"scope metrics:read.*code insufficient_scope, requestId"):
        download(connect(key="sk_test_campaigns"), server, tmp_path / "export")
    with pytest.raises(ScopeMissing, match=r"campaigns:read \(not with SOUNDLINK_CAMPAIGN_IDS\)") as raised:
        connect(key="sk_test_metrics").listed(CAMPAIGN)
    assert not raised.value.fatal  # what needs another scope goes on
    download(connect(key="sk_test_metrics"), server, tmp_path / "export")
    assert (tmp_path / "export").read_bytes() == truth(server)


def test_while_one_thread_finds_the_way_in_the_others_wait(connect: Connect) -> None:
    together = threading.Barrier(4, timeout=10)

    def answer(request: httpx.Request) -> httpx.Response:
        assert ("x-api-key" in request.headers) != ("authorization" in request.headers)
        if "x-api-key" in request.headers:
            return httpx.Response(200, json={})
        time.sleep(0.05)  # so that a thread that did not wait would be seen
        return httpx.Response(401, json={"error": {"code": "invalid_token", "message": ""}})

    def ping() -> None:
        together.wait()
        client.ping()

    client = mocked(connect, answer)
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(ping) for _ in range(4)]:
            done.result()
    assert client.requests == 5


def test_many_threads_may_use_one_client(server: Simulator, connect: Connect, tmp_path: Path) -> None:
    server.generation = 1
    client = connect()
    client.ping()

    def fetch(number: int) -> bytes:
        download(client, server, tmp_path / str(number))
        return (tmp_path / str(number)).read_bytes()

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(fetch, range(12))) == {truth(server)}
    assert client.requests == len(server.stats.records) == 14
    assert Counter(schemes(server)) == {"bearer": 1, "x-api-key": 13}


@pytest.mark.parametrize("key", ["", "  ", "sk_a b", "sk_ü", "sk_a\nb", "sk_a\x00"])
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(connect: Connect, key: str) -> None:
    with pytest.raises(ValueError, match="SOUNDLINK_API_KEY") as refused:
        connect(key=key)
    assert "sk_" not in str(refused.value)


def test_blanks_around_a_key_are_forgiven(server: Simulator, connect: Connect) -> None:
    connect(key=f" {KEY}\n").ping()
    assert [record.status for record in server.stats.records] == [200]


# The key stays where it is


ECHO = f"{'x' * 60}{KEY}"
SHOUTED = KEY.upper()


@pytest.mark.parametrize(
    ("fault", "params"),
    [
        ("status", {"status": 400, "code": "bad", "message": f"You sent {KEY}."}),
        ("status", {"status": 400, "code": KEY, "message": "no"}),
        ("status", {"status": 400, "code": "bad", "message": "x" * 290 + KEY}),
        ("status", {"status": 401, "code": "api_key_revoked", "message": SHOUTED}),
        ("status", {"status": 403, "code": "insufficient_scope", "message": KEY}),
        ("status", {"status": 429, "code": "rate_limit_exceeded", "message": KEY}),
        ("status", {"status": 500, "message": KEY}),
        ("html", {"body": f"<p>{ECHO}"}),
        ("body", {"body": ECHO}),
        ("body", {"body": b"", "content_type": f"application/{KEY}+json"}),
        ("redirect", {"location": f"https://{KEY}.invalid/"}),
        ("cut", {}),
        ("disconnect", {}),
        ("short", {}),
        ("hang", {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("generation", [1, 2])
def test_the_key_is_nowhere_but_in_the_header(
    server: Simulator,
    connect: Connect,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    generation: int,
    fault: str,
    params: dict[str, Any],
) -> None:
    server.generation = generation
    server.faults.add(fault, times=None, **params)
    told: list[str] = []
    client = connect(log=told.append, timeout=QUICK, tries=2)
    # On its lowest level httpcore logs every header that a server sends, but none that we do.
    level = logging.INFO if {"location", "content_type"} & params.keys() else logging.DEBUG
    with caplog.at_level(level), pytest.raises(SoundlinkError) as raised:
        download(client, server, tmp_path / "export")
    (tmp_path / "export").unlink(missing_ok=True)  # what a server puts into its rows is the delivery
    said = [everything_said(raised.value), repr(client), str(client), caplog.text, *told, *capfd.readouterr()]
    said += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    for part in (KEY, KEY[8:16]):
        assert part.lower() not in "\n".join(said).lower()


def test_a_key_in_the_headers_or_numbers_of_an_answer_is_cleaned(connect: Connect, tmp_path: Path) -> None:
    answers = iter(
        [
            httpx.Response(200, content=iter([b"<p>"]), headers={"x-request-id": KEY}),
            httpx.Response(200, content=iter([b""]), headers={"x-request-id": KEY, "x-row-count": "1"}),
            httpx.Response(400, json={"error": {"code": "c", "message": "m"}, "meta": {"requestId": KEY}}),
            httpx.Response(200, content=b"no json", headers={"content-type": f"text/{KEY}"}),
            httpx.Response(200, json={"data": {"items": [], "pagination": {"totalPages": KEY}}}),
        ]
    )
    client = mocked(connect, lambda _: next(answers), tries=1)
    for _ in range(3):
        with pytest.raises(SoundlinkError, match=r"requestId \[key\]") as raised:
            client.download(CAMPAIGN_COUNTRY_DAILY, "c", DATES, tmp_path / "export")
        assert KEY not in everything_said(raised.value)
    for _ in range(2):
        with pytest.raises(WrongContent, match=r"\[key\]") as raised_too:
            client.listed(CAMPAIGN)
        assert KEY not in str(raised_too.value)
