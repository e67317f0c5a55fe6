"""Tokens of OAuth: one for each organization, only while they are good, within the limits of their endpoint."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from soundlink_pipeline.api.errors import (
    KeyRefused,
    NoToken,
)
from soundlink_pipeline.api.oauth import (
    TOKEN_PATH,
    TOKENS_PER_MINUTE,
)
from soundlink_pipeline.api.pacing import Cancelled
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.simulator import Simulator
from soundlink_pipeline_tests.api.oauth.shared import (
    A,
    B,
    Connect,
    account,
    asked_for,
    granted,
    mocked,
)
from soundlink_pipeline_tests.conftest import WaitingClock


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
