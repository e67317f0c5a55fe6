"""The simulator is held to docs/soundlink-openapi.yaml: valid questions get what it says, invalid ones its errors."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case as GenericCase
from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.routing import Route

from soundlink_pipeline.commands.contract_docs import openapi
from soundlink_pipeline.simulator import (
    ClientInfo,
    KeyInfo,
    Oddities,
    SimClock,
    Simulator,
    World,
    running_simulator,
)

Case = GenericCase[Any]
DOCUMENT = Path(__file__).parents[2] / "docs" / "soundlink-openapi.yaml"
# Parameters that no document names are neither valid nor invalid: the API passes over them.
CONFIG = {"generation": {"allow-extra-parameters": False, "with-security-parameters": False}}
SCHEMA = schemathesis.openapi.from_path(DOCUMENT, config=schemathesis.Config.from_dict(CONFIG))
OPERATIONS = {result.ok().label: result.ok() for result in SCHEMA.get_all_operations() if isinstance(result, Ok)}
OF_THINGS = [label for label in OPERATIONS if label.startswith("GET /v1/")]
PAGED: dict[str, int] = {
    label: size.definition["schema"]["maximum"]
    for label in OF_THINGS
    if (size := OPERATIONS[label].query.get("pageSize"))
}
TOKEN = "POST /api/v1/oauth/token"
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
# The few countries and tracks keep the answers short, the oddities make them as odd as they come.
WORLD = World(
    campaigns=4,
    soundlinks=6,
    duration_days=90,
    countries_per_campaign=3,
    tracks_per_campaign=2,
    oddities=Oddities.every(),
    newest_fields=True,
    soundlink_aliases=True,
)
ORGANIZATION = WORLD.account_id
# No shrinking: over HTTP it takes minutes, and six examples are soon read.
FEW = settings(
    max_examples=6,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@schemathesis.deserializer("application/x-ndjson")
def rows_of_lines(context: Any, response: Any) -> list[Any]:
    return [json.loads(line) for line in response.content.split(b"\n") if line]


@pytest.fixture(scope="module")
def server() -> Iterator[Simulator]:
    clients = {"agency": ClientInfo("s3cret", consents={ORGANIZATION})}
    keys = {"sk_test_all": KeyInfo(), "sk_test_nothing": KeyInfo(frozenset())}
    with running_simulator(
        WORLD, SimClock(NOW), keys=keys, clients=clients, per_minute=None, per_hour=None
    ) as simulator:
        simulator.oauth.per_minute = None
        yield simulator


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


class Asked:
    """A simulator that is asked as the document has it, each answer being held to it."""

    def __init__(self, sim: Simulator, session: requests.Session) -> None:
        self._sim, self._session = sim, session

    def __call__(self, case: Case, **headers: str) -> Any:
        given = headers or {"Authorization": f"Bearer {self._sim.key}"}
        answer = case.call(base_url=self._sim.base_url, session=self._session, headers=given)
        case.validate_response(answer, checks=CHECKS)
        return answer


@pytest.fixture
def ask(sim: Simulator, session: requests.Session) -> Asked:
    sim.oauth.per_minute = None
    return Asked(sim, session)


IDS = {
    "campaignId": cycle(sorted(known for campaign in WORLD.campaigns for known in campaign.ids)),
    "soundlinkId": cycle(sorted(known for soundlink in WORLD.soundlinks for known in soundlink.ids)),
}
HALF = date(2026, 1, 31)
DATES = {
    "startDate": st.dates(date(2026, 1, 1), HALF).map(str),
    "endDate": st.dates(HALF, NOW.date() + timedelta(days=7)).map(str),
}


def real_ids(case: Case) -> None:
    case.path_parameters = {name: next(IDS[name]) for name in case.path_parameters or {}}


def test_the_document_is_of_the_simulator_s_addresses(server: Simulator) -> None:
    served = {route.path.replace("{thing}", "{}") for route in server.api.app.routes if isinstance(route, Route)}
    written = {re.sub(r"\{\w+\}", "{}", path) for path in yaml.safe_load(DOCUMENT.read_text())["paths"]}
    assert served - {"/{rest:path}"} == written


def test_whatever_it_refers_to_is_there() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    components = yaml.safe_load(text)["components"]
    referred = re.findall(r"#/components/(\w+)/([\w-]+)", text)
    assert len(referred) > 100
    assert [found for found in referred if found[1] not in components[found[0]]] == []


def test_its_rows_are_made_from_the_contracts() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert openapi(document) == document
    with pytest.raises(ValueError, match="has no line"):
        openapi("openapi: 3.1.0\n")


@pytest.mark.parametrize("label", OF_THINGS)
def test_a_valid_question_gets_a_valid_answer(label: str, ask: Asked) -> None:
    @given(OPERATIONS[label].as_strategy(generation_mode=GenerationMode.POSITIVE), st.fixed_dictionaries(DATES))
    @FEW
    def asked(case: Case, dates: dict[str, str]) -> None:
        real_ids(case)
        # What a schema cannot say: dates are in order, and the range is not too long.
        case.query = {name: dates.get(name, value) for name, value in (case.query or {}).items()}
        assert ask(case).status_code == 200

    asked()


@pytest.mark.parametrize("label", [label for label in OF_THINGS if OPERATIONS[label].query])
def test_an_invalid_parameter_gets_the_documented_error(label: str, ask: Asked) -> None:
    refused: set[str] = set()

    @given(OPERATIONS[label].as_strategy(generation_mode=GenerationMode.NEGATIVE).filter(is_of_plain_values))
    @FEW
    def asked(case: Case) -> None:
        real_ids(case)
        answer = ask(case)
        assert answer.status_code == 400
        refused.add(answer.json()["error"]["code"])

    asked()
    assert "invalid_query_parameter" in refused


@pytest.mark.parametrize("label", PAGED)
def test_the_largest_page_is_the_documented_one(label: str, ask: Asked) -> None:
    answers = []
    for size in (PAGED[label], PAGED[label] + 1):
        case = OPERATIONS[label].Case(query={"pageSize": size}, path_parameters={n: next(i) for n, i in IDS.items()})
        answers.append(ask(case))
    assert answers[0].json()["data"]["pagination"]["pageSize"] == PAGED[label]
    assert answers[1].json()["error"]["code"] == "page_size_exceeded"


def is_of_plain_values(case: Case) -> bool:
    """Whether the query is invalid on the wire, too, where lists and objects become something else or nothing."""
    assert case.meta is not None
    is_invalid = case.meta.components[ParameterLocation.QUERY].mode == GenerationMode.NEGATIVE
    return is_invalid and not any(isinstance(value, list | dict) for value in case.query.values())


def test_a_valid_form_gets_a_token_and_an_invalid_one_none(ask: Asked) -> None:
    @given(OPERATIONS[TOKEN].as_strategy(generation_mode=GenerationMode.POSITIVE))
    @FEW
    def valid(case: Case) -> None:
        client = {"client_id": "agency", "client_secret": "s3cret", "organization_id": ORGANIZATION}
        assert isinstance(case.body, dict)
        form: dict[str, Any] = {name: case.body[name] for name in ("grant_type", "scope") if name in case.body}
        case.body = form | client
        assert ask(case).status_code == 200

    @given(OPERATIONS[TOKEN].as_strategy(generation_mode=GenerationMode.NEGATIVE))
    @FEW
    def invalid(case: Case) -> None:
        assert ask(case).status_code in (400, 401)

    valid()
    invalid()


def test_the_oauth_endpoints_are_named_as_documented(ask: Asked) -> None:
    assert ask(OPERATIONS["GET /.well-known/oauth-authorization-server"].Case()).status_code == 200


def switched(**switches: Any) -> Callable[[Simulator], None]:
    def switch(sim: Simulator) -> None:
        for name, value in switches.items():
            setattr(sim.access if name == "per_minute" else sim.organizations[ORGANIZATION], name, value)

    return switch


@pytest.mark.parametrize(
    ("switch", "key", "expected"),
    [
        (switched(), "sk_test_unknown", (401, "invalid_api_key")),
        (switched(), "expired-token", (401, "invalid_token")),
        (switched(), "sk_test_nothing", (403, "insufficient_scope")),
        (switched(access_denied=True), "sk_test_all", (403, "access_denied")),
        (switched(public_api=False), "sk_test_all", (404, "not_found")),
        (switched(per_minute=0), "sk_test_all", (429, "rate_limit_exceeded")),
    ],
)
def test_every_address_refuses_as_documented(
    sim: Simulator, ask: Asked, switch: Callable[[Simulator], None], key: str, expected: tuple[int, str]
) -> None:
    switch(sim)
    found = set()
    try:
        for label in OF_THINGS:
            case = OPERATIONS[label].Case()
            case.path_parameters = {name: next(ids) for name, ids in IDS.items() if f"{{{name}}}" in label}
            answer = ask(case, Authorization=f"Bearer {key}")
            if (label, key) != ("GET /v1/ping", "sk_test_nothing"):  # a ping takes any valid key
                found.add((answer.status_code, answer.json()["error"]["code"]))
    finally:
        switched(access_denied=False, public_api=True, per_minute=None)(sim)
    assert found == {expected}


def test_what_is_not_there_is_not_found_as_documented(ask: Asked) -> None:
    for label in OF_THINGS:
        if "{" in label:
            answer = ask(OPERATIONS[label].Case(path_parameters=dict.fromkeys(IDS, "nothing")))
            assert answer.json()["error"]["code"] == ("campaign_not_found" if "campaign" in label else "not_found")
