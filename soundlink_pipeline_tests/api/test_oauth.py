"""Tokens of OAuth: one for each organization, only while they are good, and shown nowhere."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.api.errors import (
    AccessDenied,
    KeyRefused,
    NoToken,
    RedirectRefused,
    ScopeMissing,
    SoundlinkError,
)
from soundlink_pipeline.api.oauth import (
    TOKEN_PATH,
    TOKENS_PER_HOUR,
    TOKENS_PER_MINUTE,
    OAuthAccess,
    OAuthClient,
    Token,
    Tokens,
)
from soundlink_pipeline.api.pacing import Cancelled, Pacer
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.settings.accounts import Account
from soundlink_pipeline.simulator import CAMPAIGNS_READ, ClientInfo, SimClock, Simulator, World, running_simulator
from soundlink_pipeline_tests.api.shared import NOW, QUICK, TLS
from soundlink_pipeline_tests.api.test_authentication import everything_said
from soundlink_pipeline_tests.conftest import WaitingClock
from soundlink_pipeline_tests.support.wire import head, serving

FIRST, SECOND = World(1, campaigns=3, soundlinks=2), World(2, campaigns=4, soundlinks=3)
WEEK = DateRange(date(2026, 1, 1), date(2026, 1, 7))
A, B = FIRST.account_id, SECOND.account_id
SECRET = "cs_4f9Qx2Wv7LmN8pR1sTz"
Connect = Callable[..., SoundlinkClient]


def account(name: str = "label_b", organization: str = B, client: str = "agency") -> Account:
    return Account(
        name=name,
        client_id=client,
        client_secret_env="AGENCY_SECRET",
        organization_id=organization,
        auth="bearer",
        place="accounts.toml, line 3",
    )


@pytest.fixture(scope="module")
def served() -> Iterator[Simulator]:
    with running_simulator(
        FIRST, SimClock(NOW), organizations={B: SECOND}, clients={}, per_minute=None, per_hour=None
    ) as simulator:
        yield simulator


@pytest.fixture
def server(served: Simulator) -> Iterator[Simulator]:
    """With a client that both organizations have consented to."""
    served.oauth.clients["agency"] = ClientInfo(SECRET, consents={A, B})
    served.oauth.expires_in = 3600
    served.oauth.forget()
    yield served
    served.faults.clear()
    served.stats.reset()
    for organization in served.organizations.values():
        organization.integrations = organization.public_api = True
        organization.access_denied = False


@pytest.fixture
def tokens(clock: WaitingClock) -> Tokens:
    return Tokens(clock)


@pytest.fixture
def connect(server: Simulator, tmp_path: Path, clock: WaitingClock, tokens: Tokens) -> Iterator[Connect]:
    """Makes clients of one process, whose waits pass on a clock of their own at once."""
    with ExitStack() as stack:

        def connect(of: Account | None = None, secret: str = SECRET, **options: Any) -> SoundlinkClient:
            def pacer(file: str, *limits: int) -> Pacer:
                return stack.enter_context(Pacer(tmp_path / file, *limits, cancelled=clock, now=clock))

            access = OAuthAccess(
                client=OAuthClient(of or account(), secret),
                tokens=tokens,
                pacer=pacer("tokens.sqlite", TOKENS_PER_MINUTE, TOKENS_PER_HOUR),
            )
            if "transport" not in options:
                options["transport"] = httpx.HTTPTransport(verify=TLS)
            base_url = options.pop("base_url", server.base_url)
            options = {"backoff": 0.001, "tries": 3, **options}
            paced = pacer("requests.sqlite", 10_000, 100_000)
            return stack.enter_context(SoundlinkClient(base_url, access, paced, **options))

        yield connect


def asked_for(server: Simulator) -> int:
    """How many tokens were asked for."""
    return server.stats.count(kind="token")


def test_one_token_is_enough_for_all_requests_and_clients_of_a_process(server: Simulator, connect: Connect) -> None:
    client = connect()
    client.ping()
    assert len(client.listed(CAMPAIGN).items) == 4
    connect().ping()
    assert asked_for(server) == 1
    assert {record.scheme for record in server.stats.records if record.kind != "token"} == {"bearer"}
    assert client.scheme == "bearer"
    assert client.requests == 2  # those that the API counts


def test_each_organization_has_its_own_token(server: Simulator, connect: Connect) -> None:
    assert len(connect(account("label_a", A)).listed(CAMPAIGN).items) == 3
    assert len(connect(account("label_b", B)).listed(CAMPAIGN).items) == 4
    assert (server.stats.count(kind="token", organization=A), server.stats.count(kind="token", organization=B)) == (
        1,
        1,
    )


@pytest.mark.parametrize(("lasts", "good_for"), [(3600, 3540), (100, 90)])
def test_a_token_is_kept_until_shortly_before_it_expires(
    server: Simulator, connect: Connect, clock: WaitingClock, lasts: int, good_for: int
) -> None:
    server.oauth.expires_in = lasts
    connect().ping()
    clock.seconds += good_for - 1
    connect().ping()
    assert asked_for(server) == 1
    clock.seconds += 1
    connect().ping()
    assert asked_for(server) == 2
    assert server.stats.count(status=401) == 0


def test_a_token_that_ends_in_mid_run_is_exchanged_once_for_all_threads(server: Simulator, connect: Connect) -> None:
    client, together = connect(), threading.Barrier(4, timeout=10)
    client.ping()

    def ping() -> None:
        together.wait()
        client.ping()

    server.oauth.forget()
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(ping) for _ in range(4)]:
            done.result()
    assert asked_for(server) == 2
    assert server.stats.count(kind="ping", status=200) == 5


def test_while_one_thread_asks_for_a_token_the_others_wait(connect: Connect) -> None:
    together, asked = threading.Barrier(4, timeout=10), list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == TOKEN_PATH:
            asked.append(request.method)
            time.sleep(0.05)  # so that a thread that did not wait would be seen
            return granted()
        return httpx.Response(200, json={})

    def ping() -> None:
        together.wait()
        client.ping()

    client = mocked(connect, answer)
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(ping) for _ in range(4)]:
            done.result()
    assert asked == ["POST"]


def test_a_new_token_that_is_refused_too_ends_it(server: Simulator, connect: Connect) -> None:
    server.faults.add("status", match="/v1/ping", status=401, code="invalid_token", times=None)
    with pytest.raises(KeyRefused, match=r"token that account label_b has just been given.*invalid_token") as raised:
        connect().ping()
    assert raised.value.fatal
    assert (asked_for(server), server.stats.count(kind="ping")) == (2, 2)


def test_a_consent_that_is_taken_back_in_mid_run_is_told(server: Simulator, connect: Connect) -> None:
    client = connect()
    client.ping()
    server.oauth.clients["agency"].consents.remove(B)
    with pytest.raises(NoToken, match=f"^account label_b gets no token: organization {B} has not consented") as raised:
        client.ping()
    assert (raised.value.code, raised.value.fatal) == ("invalid_grant", True)
    connect(account("label_a", A)).ping()


# What stands against a token


@pytest.mark.parametrize(
    ("change", "code", "advice"),
    [
        (lambda sim: sim.oauth.clients["agency"].consents.clear(), "invalid_grant", "must consent"),
        (lambda sim: setattr(sim.organizations[B], "integrations", False), "invalid_grant", "integrations off"),
        (lambda sim: setattr(sim.organizations[B], "public_api", False), "invalid_grant", "must consent"),
        (lambda sim: setattr(sim.oauth.clients["agency"], "secret", "other"), "invalid_client", "and AGENCY_SECRET"),
        (lambda sim: sim.oauth.clients.clear(), "invalid_client", "check client_id"),
        (lambda sim: setattr(sim.oauth.clients["agency"], "may_use_grant", False), "unauthorized_client", "ask Sound"),
        (lambda sim: setattr(sim.oauth.clients["agency"], "scopes", frozenset()), "invalid_scope", "ask Soundlink"),
    ],
    ids=["no consent", "integrations off", "switched off", "secret", "client", "grant", "scope"],
)
def test_each_refusal_of_a_token_names_the_account_and_says_what_to_do(
    server: Simulator, connect: Connect, change: Callable[[Simulator], None], code: str, advice: str
) -> None:
    change(server)
    with pytest.raises(NoToken, match=f"^account label_b gets no token: .*{advice}.*code {code}") as raised:
        connect().ping()
    assert (raised.value.fatal, raised.value.transient) == (True, False)
    assert len(str(raised.value).splitlines()) == 1
    assert len(server.stats.records) == 1  # refusals are not asked again


@pytest.mark.parametrize(
    ("fault", "params", "words"),
    [
        ("html", {}, "answered text/html where a JSON object was due"),
        ("cut", {"after": 5}, "broke before the answer was whole"),
        (
            "body",
            {"body": b"[1]", "content_type": "application/json"},
            "answered application/json where a JSON object was",
        ),
        ("body", {"body": b'{"access_token": "a b", "token_type": "Bearer", "expires_in": 9}'}, "has no access_token"),
        ("body", {"body": b'{"access_token": "abc", "token_type": "Bearer"}'}, "has no expires_in"),
        ("body", {"body": b'{"access_token": "abc", "token_type": "Bearer", "expires_in": "x"}'}, "has no expires_in"),
        ("body", {"body": b'{"access_token": "abc", "token_type": "Bearer", "expires_in": 0}'}, "has no expires_in"),
        ("body", {"body": b'{"access_token": "abc", "token_type": "Bearer", "expires_in": NaN}'}, "has no expires_in"),
        ("body", {"body": b'{"access_token": "abc", "token_type": "mac", "expires_in": 9}'}, "not Bearer"),
        ("redirect", {"status": 307}, "redirects: refused"),
        (
            "status",
            {"status": 404, "body": "<p>nothing"},
            "refuses the request with HTTP 404; check SOUNDLINK_BASE_URL",
        ),
        ("status", {"status": 500}, "the API failed with HTTP 500"),
        ("status", {"status": 503, "retry_after": 9000}, "Retry-After is 2 hours"),
        ("encoded", {"encoding": "gzip", "header": "secret"}, "cannot be read; does a proxy change it"),
    ],
    ids=str,
)
def test_an_answer_that_is_no_token_is_a_sentence_that_names_the_account(
    server: Simulator, connect: Connect, fault: str, params: dict[str, Any], words: str
) -> None:
    server.faults.add(fault, match=TOKEN_PATH, times=None, **params)
    with pytest.raises(NoToken, match=f"^account label_b gets no token: .*{words}") as raised:
        connect().ping()
    assert raised.value.fatal
    assert len(str(raised.value).splitlines()) == 1
    assert server.stats.count(kind="ping") == 0


def test_a_token_endpoint_that_is_down_for_a_moment_is_asked_again(server: Simulator, connect: Connect) -> None:
    server.faults.add("status", match=TOKEN_PATH, status=503)
    server.faults.add("disconnect", match=TOKEN_PATH)
    told: list[str] = []
    connect(log=told.append).ping()
    assert asked_for(server) == 3
    assert [line.partition(":")[0] for line in told] == ["attempt 1 of 3 failed", "attempt 2 of 3 failed"]


def test_a_silent_token_endpoint_ends_with_the_run(server: Simulator, connect: Connect, clock: WaitingClock) -> None:
    server.faults.add("hang", match=TOKEN_PATH, times=None)
    client = connect()

    def cancel() -> None:
        while not asked_for(server):
            time.sleep(0.01)
        clock.set()
        client.abort()

    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(cancel)
        with pytest.raises((Cancelled, NoToken)):
            client.ping()
        done.result()


def test_the_token_endpoints_wish_to_wait_is_granted_and_holds_up_no_other(
    server: Simulator, connect: Connect, clock: WaitingClock
) -> None:
    other = connect(account("label_a", A))
    other.ping()
    server.faults.add(
        "status", match=TOKEN_PATH, status=429, code="temporarily_unavailable", retry_after=40, times=None
    )
    before = clock.seconds
    with pytest.raises(NoToken, match="rate limited"):
        connect().ping()
    assert clock.seconds - before > 80  # twice, between three attempts
    server.faults.clear()
    waited = clock.seconds
    other.ping()  # its token is there, and the API has asked for nothing
    assert clock.seconds == waited


def test_the_token_endpoints_own_limit_is_kept(server: Simulator, connect: Connect, clock: WaitingClock) -> None:
    client, before = connect(), clock.seconds
    for _ in range(TOKENS_PER_MINUTE + 1):
        client.ping()
        server.oauth.forget()  # so that each request needs a new one
    assert asked_for(server) == TOKENS_PER_MINUTE + 1
    assert 60 < clock.seconds - before < 70


def test_what_the_api_denies_a_token_names_the_account(server: Simulator, connect: Connect) -> None:
    server.oauth.clients["agency"].scopes = frozenset({CAMPAIGNS_READ})
    with pytest.raises(ScopeMissing, match=r"^the token of account label_b lacks a scope.*consent to it again"):
        connect().overview(SECOND.campaigns[0].path_id, WEEK)
    server.faults.add("status", match="/v1/ping", status=403, code="access_denied")
    with pytest.raises(AccessDenied, match="denies the organization of account label_b access"):
        connect().ping()


# Secret and token stay where they are


def granted(token: str = "tok-4f9Qx2Wv7LmN8pR1sTz", **fields: Any) -> httpx.Response:
    return httpx.Response(200, json={"access_token": token, "token_type": "Bearer", "expires_in": 3600, **fields})


def mocked(connect: Connect, answer: Callable[[httpx.Request], httpx.Response], **options: Any) -> SoundlinkClient:
    return connect(base_url="https://api.example", transport=httpx.MockTransport(answer), **options)


@pytest.mark.parametrize("status", [307, 308])
def test_secret_and_token_are_sent_to_the_configured_host_alone(
    server: Simulator, connect: Connect, status: int
) -> None:
    def answer(connection: socket.socket, _: str) -> bool:
        connection.sendall(head("Content-Length: 0"))
        return False

    with serving(answer) as elsewhere:
        to = f"{elsewhere.url}/v1/ping"
        # After a new token, too.
        server.faults.add("status", match="/v1/ping", status=401, code="invalid_token")
        server.faults.add("redirect", match="/v1/ping", location=to, status=status)
        with pytest.raises(RedirectRefused):
            connect().ping()
        assert asked_for(server) == 2
        server.faults.add("redirect", match=TOKEN_PATH, location=to, status=status)
        with pytest.raises(NoToken, match="the client's secret is for 127"):
            connect(account("label_a", A)).ping()
        assert elsewhere.asked == []


@pytest.mark.parametrize("says_back", ["the API", "the token endpoint", "its content type", "its code"])
def test_secret_and_token_are_shown_nowhere(
    connect: Connect,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    says_back: str,
) -> None:
    token, given = "tok-9Zx8Yw7Vu6Ts5Rq4", list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        said = f"{request.headers.get('authorization')} {request.content.decode()}"
        if request.url.path != TOKEN_PATH:
            assert request.headers["authorization"] == f"Bearer {given[-1]}"
            return httpx.Response(400, json={"error": {"code": said, "message": said}, "meta": {"requestId": said}})
        assert SECRET in request.content.decode()
        given.append(token)
        match says_back:
            case "the token endpoint":
                return httpx.Response(200, text=said, headers={"x-request-id": said})
            case "its content type":
                return httpx.Response(200, text="{", headers={"content-type": f"text/{SECRET}"})
            case "its code":
                return httpx.Response(400, json={"error": said})
        return granted(token)

    told: list[str] = []
    client = mocked(connect, answer, log=told.append, timeout=QUICK)
    with caplog.at_level(logging.DEBUG), pytest.raises(SoundlinkError) as raised:
        client.ping()
    said = [everything_said(raised.value), repr(client), str(vars(client)), caplog.text, *told, *capfd.readouterr()]
    said += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    for part in (SECRET, SECRET[3:], token):
        assert part.lower() not in "\n".join(said).lower()


@pytest.mark.parametrize("secret", ["", "  ", "s3cr\u00e9t-part", "s3cr\net-part"])
def test_a_secret_that_cannot_be_one_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(ValueError, match=r"^AGENCY_SECRET, the client's secret of account label_b, ") as refused:
        OAuthClient(account(), secret)
    assert "part" not in str(refused.value)


def test_what_holds_secrets_shows_none(tokens: Tokens) -> None:
    client, slot, token = OAuthClient(account(), SECRET), tokens.slot("x"), Token("tok-9Zx8Yw7Vu6Ts5Rq4", 9e9)
    held = slot.current(lambda: token)
    shown = " ".join(repr(one) + str(one) for one in (client, tokens, slot, token, account()))
    assert SECRET not in shown
    assert held not in shown
