"""Several organizations in one simulator: whose a key is, what is switched off for one, and OAuth for agencies."""

import json
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from soundlink_pipeline.simulator import (
    CAMPAIGNS_READ,
    METRICS_READ,
    SOUNDLINKS_READ,
    ClientInfo,
    KeyInfo,
    SimClock,
    Simulator,
    World,
    running_simulator,
)
from soundlink_pipeline_tests.simulator.shared import NOW, error_of

FIRST, SECOND = World(1, campaigns=3, soundlinks=2), World(2, campaigns=4, soundlinks=3)
A, B = FIRST.account_id, SECOND.account_id
KEYS = {"sk_test_a": KeyInfo(), "sk_test_b": KeyInfo(organization=B)}
TOKEN = "/api/v1/oauth/token"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    clients = {
        "agency": ClientInfo("s3cret", consents={A, B}),
        "other": ClientInfo("hidden", consents={A}, scopes=frozenset({CAMPAIGNS_READ})),
    }
    with running_simulator(
        FIRST,
        SimClock(NOW),
        keys=dict(KEYS),
        organizations={B: SECOND},
        clients=clients,
        per_minute=None,
        per_hour=None,
    ) as simulator:
        yield simulator


class Agency:
    """A client of OAuth with its secret."""

    def __init__(self, web: httpx.Client, sim: Simulator) -> None:
        self._web, self._sim = web, sim

    def ask_token(self, **fields: str | None) -> httpx.Response:
        form = {
            "grant_type": "client_credentials",
            "client_id": "agency",
            "client_secret": "s3cret",
            "organization_id": A,
            **fields,
        }
        return self._web.post(self._sim.base_url + TOKEN, data={k: v for k, v in form.items() if v is not None})

    def token(self, organization: str = A) -> str:
        answer = self.ask_token(organization_id=organization)
        assert answer.status_code == 200, answer.text
        found: str = answer.json()["access_token"]
        return found

    def get(self, bearer: str, path: str = "/v1/ping") -> httpx.Response:
        return self._web.get(self._sim.base_url + path, headers={"authorization": f"Bearer {bearer}"})


@pytest.fixture
def agency(web: httpx.Client, sim: Simulator) -> Agency:
    return Agency(web, sim)


def listed(answer: httpx.Response) -> set[str]:
    return {item["organizationId"] for item in answer.json()["data"]["items"]}


# --- organizations


@pytest.mark.parametrize("path", ["/v1/campaigns", "/v1/soundlinks"])
def test_a_key_answers_for_its_organization_alone(agency: Agency, path: str) -> None:
    assert listed(agency.get("sk_test_a", path)) == {A}
    assert listed(agency.get("sk_test_b", path)) == {B}
    rows = agency.get("sk_test_b", f"/v1/campaigns/{SECOND.campaigns[0].path_id}/metrics/breakdown/export").content
    assert {json.loads(line)["account_id"] for line in rows.splitlines()} == {B}
    foreign = agency.get("sk_test_a", f"/v1/campaigns/{SECOND.campaigns[0].path_id}/metrics/breakdown/export")
    assert error_of(foreign) == (404, "campaign_not_found")


def test_an_organization_without_access_is_refused_alone(sim: Simulator, agency: Agency) -> None:
    sim.organizations[B].access_denied = True
    for path in ("/v1/ping", "/v1/campaigns", "/v1/soundlinks"):
        assert error_of(agency.get("sk_test_b", path)) == (403, "access_denied")
        assert agency.get("sk_test_a", path).status_code == 200
    assert sim.stats.count(organization=B, status=403) == 3
    sim.organizations[B].access_denied = False
    sim.organizations[B].public_api = False
    assert error_of(agency.get("sk_test_b", "/v1/campaigns")) == (404, "not_found")
    assert agency.get("sk_test_a", "/v1/campaigns").status_code == 200


def test_a_fault_may_meet_one_organization_alone(sim: Simulator, agency: Agency) -> None:
    sim.faults.add("status", organization=B, times=None)
    assert [agency.get(key).status_code for key in KEYS] == [200, 500]


# --- tokens


def test_a_token_opens_what_its_organization_has(agency: Agency) -> None:
    answer = agency.ask_token(organization_id=B)
    granted = answer.json()
    assert list(granted) == ["access_token", "token_type", "expires_in", "scope"]
    assert (granted["token_type"], granted["expires_in"]) == ("Bearer", 3600)
    assert set(granted["scope"].split()) == {CAMPAIGNS_READ, METRICS_READ, SOUNDLINKS_READ}
    assert answer.headers["Cache-Control"] == "no-store"
    assert listed(agency.get(granted["access_token"], "/v1/campaigns")) == {B}
    assert listed(agency.get(granted["access_token"], "/v1/soundlinks")) == {B}
    assert listed(agency.get(agency.token(A), "/v1/campaigns")) == {A}
    assert agency.ask_token(organization_id=B.upper()).status_code == 200, "ids are UUIDs"


def test_a_token_has_the_scopes_that_were_asked_for(agency: Agency) -> None:
    granted = agency.ask_token(scope=f"{SOUNDLINKS_READ} {CAMPAIGNS_READ}").json()
    assert granted["scope"] == f"{CAMPAIGNS_READ} {SOUNDLINKS_READ}"
    metrics = f"/v1/campaigns/{FIRST.campaigns[0].path_id}/metrics/overview"
    assert error_of(agency.get(granted["access_token"], metrics)) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"client_secret": "wrong"}, (401, "invalid_client")),
        ({"client_id": "nobody"}, (401, "invalid_client")),
        ({"client_id": None, "client_secret": None}, (401, "invalid_client")),
        ({"grant_type": "authorization_code"}, (400, "unsupported_grant_type")),
        ({"grant_type": None}, (400, "invalid_request")),
        ({"organization_id": None}, (400, "invalid_request")),
        ({"organization_id": "7b0ff8a4-0000-4000-8000-000000000000"}, (400, "invalid_grant")),
        ({"client_id": "other", "client_secret": "hidden", "organization_id": B}, (400, "invalid_grant")),
        ({"client_id": "other", "client_secret": "hidden", "scope": METRICS_READ}, (400, "invalid_scope")),
        ({"scope": "everything"}, (400, "invalid_scope")),
        ({"scope": ""}, (400, "invalid_scope")),
    ],
)
def test_what_stands_against_a_token_is_told_flat(
    sim: Simulator, agency: Agency, fields: dict[str, str | None], expected: tuple[int, str]
) -> None:
    answer = agency.ask_token(**fields)
    assert (answer.status_code, answer.json()) == (expected[0], {"error": expected[1]})
    assert answer.headers["Date"] == "Mon, 02 Mar 2026 06:00:00 GMT"
    assert sim.stats.count(kind="token", status=expected[0]) == 1


def test_a_client_that_may_not_use_the_grant(sim: Simulator, agency: Agency) -> None:
    sim.oauth.clients["agency"].may_use_grant = False
    assert agency.ask_token().json() == {"error": "unauthorized_client"}


def test_http_basic_and_json_are_no_way_to_ask_for_a_token(web: httpx.Client, sim: Simulator) -> None:
    form = {"grant_type": "client_credentials", "organization_id": A}
    basic = {"authorization": f"Basic {b64encode(b'agency:s3cret').decode()}"}
    secret = {"client_id": "agency", "client_secret": "s3cret"}
    for answer in (
        web.post(sim.base_url + TOKEN, data=form, headers=basic),
        web.post(sim.base_url + TOKEN, json=form | secret),
        web.post(sim.base_url + TOKEN, params=form | secret),
    ):
        assert (answer.status_code, answer.json()) == (401, {"error": "invalid_client"})
    assert error_of(web.get(sim.base_url + TOKEN)) == (404, "not_found")


@pytest.mark.parametrize("how", ["the simulated clock", "a real one"])
def test_a_token_ends_when_its_time_is_over(sim: Simulator, agency: Agency, how: str) -> None:
    if how == "a real one":
        sim.oauth.expires_in = 0
        token = agency.token()
        sim.clock.advance(timedelta(hours=-1))
    else:
        token = agency.token()
        sim.clock.advance(timedelta(seconds=3599))
        assert agency.get(token).status_code == 200
        sim.clock.advance(timedelta(seconds=1))
    assert error_of(agency.get(token)) == (401, "invalid_token")
    sim.oauth.expires_in = 60
    assert agency.ask_token().json()["expires_in"] == 60
    assert agency.get(agency.token()).status_code == 200


@pytest.mark.parametrize("how", ["consent revoked", "integrations off", "access denied"])
def test_a_token_ends_with_what_it_was_given_for(sim: Simulator, agency: Agency, how: str) -> None:
    tokens = {organization: agency.token(organization) for organization in (A, B)}
    if how == "consent revoked":
        sim.oauth.clients["agency"].consents.discard(B)
    elif how == "integrations off":
        sim.organizations[B].integrations = False
    else:
        sim.organizations[B].access_denied = True
    assert error_of(agency.get(tokens[B])) == (401, "invalid_token")
    assert agency.ask_token(organization_id=B).json() == {"error": "invalid_grant"}
    assert agency.get(tokens[A]).status_code == 200
    if how == "integrations off":
        assert agency.get("sk_test_b").status_code == 200, "keys are no integration"


def test_a_client_asks_for_thirty_tokens_a_minute(sim: Simulator, agency: Agency) -> None:
    assert {agency.ask_token().status_code for _ in range(30)} == {200}
    refused = agency.ask_token()
    assert (refused.status_code, refused.json()) == (429, {"error": "temporarily_unavailable"})
    assert 30 <= int(refused.headers["Retry-After"]) <= 60
    others = agency.ask_token(client_id="other", client_secret="hidden", scope=CAMPAIGNS_READ)
    assert others.status_code == 200, "limits are per client"
    sim.oauth.forget()
    assert agency.ask_token().status_code == 200


def test_requests_are_counted_for_the_client_and_not_for_its_tokens(sim: Simulator, agency: Agency) -> None:
    sim.access.per_minute = 3
    tokens = [agency.token(A), agency.token(B), agency.token(A)]
    assert [agency.get(token).status_code for token in tokens] == [200] * 3
    assert error_of(agency.get(agency.token(B))) == (429, "rate_limit_exceeded")
    assert [agency.get(key).status_code for key in KEYS] == [200, 200], "and for each key"


def test_the_endpoints_are_named(web: httpx.Client, sim: Simulator) -> None:
    found: dict[str, Any] = web.get(f"{sim.base_url}/.well-known/oauth-authorization-server").json()
    assert found["token_endpoint"] == sim.base_url + TOKEN
    assert found["issuer"] == sim.base_url
    assert found["grant_types_supported"] == ["client_credentials"]


def test_faults_meet_the_token_endpoint_and_nothing_secret_is_recorded(sim: Simulator, agency: Agency) -> None:
    sim.faults.add("html", match="/oauth/token")
    sim.faults.add("hang", match="/oauth/token", organization=B, seconds=0.05)
    assert agency.ask_token().headers["Content-Type"].startswith("text/html")
    started = time.monotonic()
    token = agency.token(B)
    assert time.monotonic() - started >= 0.05
    agency.get(token)
    assert [(record.kind, record.organization) for record in sim.stats.records] == [
        ("token", A),
        ("token", B),
        ("ping", B),
    ]
    assert not any(secret in repr(sim.stats.records) for secret in ("s3cret", token))
