"""What stands against a token, or against what it opens: each a sentence that names the account."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from soundlink_pipeline.api.errors import (
    AccessDenied,
    NoToken,
    ScopeMissing,
)
from soundlink_pipeline.api.oauth import (
    TOKEN_PATH,
)
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.simulator import CAMPAIGNS_READ, Simulator
from soundlink_pipeline_tests.api.oauth.shared import (
    SECOND,
    B,
    Connect,
)

WEEK = DateRange(date(2026, 1, 1), date(2026, 1, 7))


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


def test_what_the_api_denies_a_token_names_the_account(server: Simulator, connect: Connect) -> None:
    server.oauth.clients["agency"].scopes = frozenset({CAMPAIGNS_READ})
    with pytest.raises(ScopeMissing, match=r"^the token of account label_b lacks the scope.*consent to it again"):
        connect().overview(SECOND.campaigns[0].path_id, WEEK)
    server.faults.add("status", match="/v1/ping", status=403, code="access_denied")
    with pytest.raises(AccessDenied, match="denies the organization of account label_b access"):
        connect().ping()
